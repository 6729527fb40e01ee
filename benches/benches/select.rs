//! A statement that is prepared, through the pool, beside the client without a pool and beside another pool. `-- --help` lists the options, docs/performance.md says how to read it.
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
mod processor;
#[cfg(not(feature = "loom"))]
mod sqlx_peer;
#[cfg(not(feature = "loom"))]
#[path = "select"]
mod select {
    mod contenders;
    mod rounds;
    mod sqlx;
    mod summary;

    pub(crate) use self::contenders::choices;
    pub(crate) use self::summary::summarize;
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Has a PostgreSQL of its own answer one prepared statement again and again, by contenders that take turns, prints a table, and writes figures to target/report/.
  cargo bench -p pool-benches --bench select -- [OPTIONS]
    --check          fail if a claim of docs/performance.md does not hold
    --rounds N       how often all take turns (default 45, quick 3)
    --connections N  how many each has, with a task for each (default 8)
    --only CONTENDER this one alone; more than once for several
    --with-sqlx      sqlx as well, in a process of its own, which is built in benches/sqlx
    --quick          short turns: for a look, not for a judgement";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &select::choices(), &["rounds", "connections"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| select::summarize(&args))
}
