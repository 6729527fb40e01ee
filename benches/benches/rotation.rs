//! What callers notice of rotation: how long they wait for a connection of a pool whose connections live for a second, beside a pool whose connections
//! live on. `-- --help` lists the options, docs/performance.md says how to read it.
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
#[path = "report/window.rs"]
mod window;
#[cfg(not(feature = "loom"))]
#[path = "rotation"]
mod rotation {
    mod figures;
    mod load;
    mod pools;
    mod rounds;
    mod summary;

    pub(crate) use self::load::choices;
    pub(crate) use self::summary::summarize;
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Measures acquires of a pool whose connections are replaced beside one whose connections are not, prints a table, and writes figures to target/report/.
  cargo bench -p pool-benches --bench rotation -- [OPTIONS]
    --check        for 30 s each, and fail if a claim of docs/performance.md does not hold
    --rounds N     how often each pool has a turn of 3 s (default 1, with --check 10)
    --quick        turns of half a second: for a look, not for a judgement
    --only LOAD    this one alone; more than once for several";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &rotation::choices(), &["rounds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| rotation::summarize(&args))
}
