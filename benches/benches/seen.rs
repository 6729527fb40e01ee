//! What it costs to be seen: acquires of a pool with tracing compiled in and somebody who looks at it, beside the same pool without; and those of a full pool whose metrics are
//! read a hundred times a second. `-- --help` lists the options, docs/performance.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod args;
#[cfg(not(feature = "loom"))]
#[path = "seen"]
mod seen {
    mod programs;
    mod summary;

    pub(crate) use self::summary::{choices, summarize};
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Measures a pool that is seen beside one that is not, each a program of its own (benches/seen), in turns, and prints a table.
  cargo bench -p pool-benches --bench seen -- [OPTIONS]
    --check        fail if a claim of docs/performance.md does not hold
    --rounds N     how often each has a turn (default 5, with --check 31)
    --quick        turns of 100 ms instead of 500 ms: for a look, not for a judgement
    --only WHAT    this alone: claims, waits, scraped, busy; more than once for several";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &seen::choices(), &["rounds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| seen::summarize(&args))
}
