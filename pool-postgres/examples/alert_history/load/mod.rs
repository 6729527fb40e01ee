//! `--load`: drives the service over HTTP, as many Alertmanagers and readers would, and judges it.

mod client;
mod payloads;
mod report;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

use super::app::App;
use super::cli::Load;
use super::store;
use client::Tally;
use report::Report;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Marks the alerts of a run, so that they can be counted afterwards.
const RUN_LABEL: &str = "load_run";

/// Runs the load and prints what it found; succeeds if the service kept its promises.
pub(super) async fn run(app: &Arc<App>, address: SocketAddr, load: Load) -> Result<ExitCode, Error> {
    let run = run_name();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let mut clients = Vec::with_capacity(load.clients);
    for number in 0..load.clients {
        clients.push(tokio::spawn(client::run(address, run.clone(), number, Tally::new()?, Arc::clone(&stop))));
    }
    let utilisation = watch(app, load.time).await;
    stop.store(true, Ordering::Relaxed);
    let mut tally = Tally::new()?;
    for client in clients {
        tally.add(client.await?)?;
    }
    let took = started.elapsed();
    let found = count(app, &run).await?;
    let report = Report { tally, took, utilisation, found, stats: app.pool.stats() };
    println!("{report}");
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many alerts of a run are stored.
async fn count(app: &App, run: &str) -> Result<u64, Error> {
    Ok(store::count_with_label(&app.pool, RUN_LABEL, run).await?)
}

fn run_name() -> String {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", since_epoch.as_micros(), std::process::id())
}

/// Shows progress while the clients work, and samples how much of the pool is in use.
async fn watch(app: &App, time: Duration) -> Vec<usize> {
    let bar = ProgressBar::new(time.as_secs() * 10);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {elapsed}/{msg}") {
        bar.set_style(style);
    }
    let (started, mut ticks, mut samples) = (Instant::now(), interval(Duration::from_millis(100)), Vec::new());
    while started.elapsed() < time {
        ticks.tick().await;
        let state = app.pool.state();
        samples.push(state.leased);
        bar.set_position(samples.len() as u64);
        bar.set_message(format!(
            "{}s  {} of {} connections leased, {} waiting",
            time.as_secs(),
            state.leased,
            state.max_size,
            state.waiting
        ));
        // Without a terminal the bar is hidden: a plain line each second instead.
        if bar.is_hidden() && samples.len() % 10 == 0 {
            eprintln!("load: {}/{}s, {state}", started.elapsed().as_secs(), time.as_secs());
        }
    }
    bar.finish_and_clear();
    samples
}
