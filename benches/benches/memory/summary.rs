//! The table, the file, and the verdict.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use serde::Serialize;

use super::footprint::{Waiter, per_connection, per_waiter, per_waiter_elsewhere};
use crate::contenders::{Bb8, Contender, Deadpool, DeadpoolTimeouts, Mobc, Ours, QueueOnly, SemaphoreQueue};
use crate::folder::report_folder;

/// What this project's pool may need, in bytes.
const MOST_PER_CONNECTION: f64 = 256.0;
const MOST_PER_WAITER: f64 = 128.0;

/// In bytes. Nothing for those who cannot wait.
#[derive(Serialize)]
struct Footprint {
    per_idle_connection: f64,
    per_waiter_beside_its_future: Option<f64>,
    future: Option<usize>,
}

impl Footprint {
    fn of<C: Contender>() -> (&'static str, Self) {
        (C::NAME, Self::new(per_connection::<C>(), C::WAITS.then(per_waiter::<C>)))
    }

    fn new(per_idle_connection: f64, waiter: Option<Waiter>) -> Self {
        let per_waiter_beside_its_future = waiter.map(|waiter| waiter.beside_it);
        Self { per_idle_connection, per_waiter_beside_its_future, future: waiter.map(|waiter| waiter.future) }
    }

    fn row(&self, contender: &str) -> String {
        let known = |bytes: Option<String>| bytes.unwrap_or_else(|| "-".to_owned());
        let beside = known(self.per_waiter_beside_its_future.map(|bytes| format!("{bytes:.1}")));
        let future = known(self.future.map(|bytes| bytes.to_string()));
        format!("| {contender} | {:.1} | {beside} | {future} |", self.per_idle_connection)
    }

    fn is_within_limits(&self) -> bool {
        let beside = self.per_waiter_beside_its_future;
        self.per_idle_connection <= MOST_PER_CONNECTION && beside.is_none_or(|bytes| bytes <= MOST_PER_WAITER)
    }
}

/// Measures, prints, writes, and fails in the sense of the operating system if this project's pool needs too much.
pub(crate) fn summarize() -> Result<ExitCode, Box<dyn Error>> {
    let all = [
        Footprint::of::<Ours>(),
        ("ours, on another runtime", Footprint::new(per_connection::<Ours>(), Some(per_waiter_elsewhere::<Ours>()))),
        Footprint::of::<QueueOnly>(),
        Footprint::of::<SemaphoreQueue>(),
        Footprint::of::<Deadpool>(),
        Footprint::of::<DeadpoolTimeouts>(),
        Footprint::of::<Bb8>(),
        Footprint::of::<Mobc>(),
    ];
    println!("| contender | bytes per idle connection | per waiter, beside its future | the future |");
    println!("| --- | --: | --: | --: |");
    for (contender, footprint) in &all {
        println!("{}", footprint.row(contender));
    }
    let within_limits = all[0].1.is_within_limits();
    let figures: BTreeMap<_, _> = all.into_iter().collect();
    fs::write(report_folder()?.join("memory.json"), serde_json::to_string_pretty(&figures)?)?;
    let verdict = if within_limits { "holds " } else { "BROKEN" };
    println!("\n{verdict}  ours: at most {MOST_PER_CONNECTION} per idle connection, {MOST_PER_WAITER} per waiter");
    Ok(if within_limits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
