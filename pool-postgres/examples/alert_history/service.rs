//! From start to drain.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pool_testkit::postgres::{EphemeralError, EphemeralPostgres};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::app::App;
use super::cli::{HELP, Options, parse};
use super::{http, load, logging};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long requests in flight, and after them the pool, may take to finish.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => run(&options),
        Err(problem) => {
            eprintln!("alert_history: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    logging::init(options);
    match serve(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("alert_history: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> Result<ExitCode, Error> {
    // The server of our own outlives the runtime and everything on it, and goes away when this returns.
    let given = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let own = if given.is_none() { Some(start_own()?) } else { None };
    let url = given.or_else(|| own.as_ref().map(EphemeralPostgres::url)).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_with(options, &url, own.is_some()))
}

/// A PostgreSQL for a table that grows from nothing within seconds: without fresh statistics it would be planned for as a small one.
fn start_own() -> Result<EphemeralPostgres, EphemeralError> {
    EphemeralPostgres::builder().setting("autovacuum", "on").setting("autovacuum_naptime", "1s").start()
}

async fn serve_with(options: &Options, url: &str, own: bool) -> Result<ExitCode, Error> {
    let stop = Stop::on_signals()?;
    let token = std::env::var("CONTROL_TOKEN").ok().filter(|token| !token.is_empty());
    let Some(app) = stop.clone().or(App::start(url, token.as_deref(), options.hosts())).await else {
        return Ok(ExitCode::FAILURE);
    };
    let app = Arc::new(app?);
    let (listener, address) = listen(options.listen).await?;
    let database = if own { "a PostgreSQL of its own" } else { "DATABASE_URL" };
    println!("alert_history listens on http://{address}, on {database}; Ctrl-C ends it");
    let server = tokio::spawn(serve_until(listener, Arc::clone(&app), stop.clone()));
    let code = match options.load {
        Some(load) => {
            let verdict = stop.clone().or(load::run(&app, address, load)).await;
            stop.now();
            verdict.unwrap_or(Ok(ExitCode::FAILURE))
        }
        None => Ok(ExitCode::SUCCESS),
    };
    server.await??;
    drain(&app).await;
    code
}

async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(wanted).await.map_err(|error| format!("--listen {wanted}: {error}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until it is told to stop, and then until the requests in flight have been answered.
async fn serve_until(listener: TcpListener, app: Arc<App>, stop: Stop) -> Result<(), Error> {
    let (status, stopped) = (app.status.clone(), stop.clone().wait());
    let stopped = async move {
        stopped.await;
        // Whoever watches would do so for ever.
        status.end_events();
    };
    let serving = axum::serve(listener, http::router(app)).with_graceful_shutdown(stopped);
    let mut serving = std::pin::pin!(serving.into_future());
    if let Some(ended) = stop.or(&mut serving).await {
        return Ok(ended?);
    }
    if let Ok(ended) = timeout(DRAIN_LIMIT, serving).await {
        return Ok(ended?);
    }
    tracing::warn!(limit = ?DRAIN_LIMIT, "some requests were still in flight");
    Ok(())
}

async fn drain(app: &App) {
    tracing::info!("closing the pool");
    let cut_off = app.pool.close_within(DRAIN_LIMIT).await;
    if cut_off > 0 {
        tracing::warn!(cut_off, "some connections were still in use");
    }
}

/// Whether to stop, told by a signal or by the program itself.
#[derive(Clone)]
struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on.
    fn on_signals() -> Result<Self, Error> {
        let stop = Self(Arc::new(watch::Sender::new(false)));
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let (mut signals, stop) = (signal(kind)?, stop.clone());
            tokio::spawn(async move {
                signals.recv().await;
                tracing::info!("draining");
                stop.now();
                // Whoever asks twice does not want to wait. A PostgreSQL of our own notices and goes away.
                signals.recv().await;
                std::process::exit(130);
            });
        }
        Ok(stop)
    }

    fn now(&self) {
        self.0.send_replace(true);
    }

    async fn wait(self) {
        // The sender is part of `self`, so this ends when the value is set and not before.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }

    /// The output of a future, unless it is time to stop before.
    async fn or<T>(self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            output = future => Some(output),
            () = self.wait() => None,
        }
    }
}
