//! How a pool on a real server fails while that is away, and how soon it serves again. `-- --help` lists the options, docs/resilience.md says how to read it.
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
#[path = "recovery"]
mod recovery {
    mod breaker;
    mod busy;
    mod loss;
    mod outage;
    mod part;
    mod password;
    mod server;
    mod summary;

    pub(crate) use self::summary::{choices, summarize};
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Takes a PostgreSQL away from a pool in several ways, prints what that does to callers, and writes figures to target/report/.
  cargo bench -p pool-benches --bench recovery -- [OPTIONS]
    --check        fail if a claim of docs/resilience.md does not hold
    --rounds N     how often the server is killed, restarted, and ends all sessions (default 1, with --check 5)
    --quick        shorter outages: for a look, not for a judgement
    --only PART    this one alone; more than once for several";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &recovery::choices(), &["rounds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| recovery::summarize(&args))
}
