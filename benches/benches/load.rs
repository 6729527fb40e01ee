//! The pool on a real server under far more tasks than it has connections, with faults in one operation of a hundred and callers who give up. `-- --help` lists the options,
//! docs/resilience.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod args;
#[cfg(not(feature = "loom"))]
mod claim;
#[cfg(not(feature = "loom"))]
mod database;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
mod number;
#[cfg(not(feature = "loom"))]
#[path = "load"]
mod load {
    mod callers;
    mod fault;
    mod figures;
    mod memory;
    mod phase;
    mod rest;
    mod site;
    mod summary;
    mod tally;
    mod watcher;
    mod work;

    pub(crate) use self::phase::choices;
    pub(crate) use self::summary::summarize;
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Loads a pool on a PostgreSQL of its own, behind a proxy that cuts, resets and holds, prints a table, and writes figures to target/report/.
  cargo bench -p pool-benches --bench load -- [OPTIONS]
    --check        fail if a claim of docs/resilience.md does not hold
    --seconds N    how long all of it takes, shared by the phases (default 10, with --check 60)
    --quick        two seconds: for a look, not for a judgement
    --only PHASE   this one alone";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &load::choices(), &["seconds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| load::summarize(&args))
}
