//! What callers get who give up all the time, and those who wait out an outage: this project's pool beside bb8 and deadpool. `-- --help` lists the options,
//! docs/performance.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod args;
#[cfg(not(feature = "loom"))]
mod claim;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
mod number;
#[cfg(not(feature = "loom"))]
#[path = "storms"]
mod storms {
    mod backend;
    mod bb8;
    mod cancel;
    mod deadpool;
    mod ours;
    mod outage;
    mod pool;
    mod summary;

    pub(crate) use self::summary::{choices, summarize};
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Has callers of three pools give up in a storm, and wait out an outage of the backend, prints tables, and writes figures to target/report/.
  cargo bench -p pool-benches --bench storms -- [OPTIONS]
    --check        more rounds, and fail if a claim of docs/performance.md does not hold
    --rounds N     how often each pool has a turn (default 3, with --check 20)
    --quick        one round: for a look, not for a judgement
    --only STORM   this one alone";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &storms::choices(), &["rounds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| storms::summarize(&args))
}
