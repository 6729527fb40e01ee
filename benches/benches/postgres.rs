//! Many callers on few connections of a real server: this pool, with a connection to each caller and with callers that share, beside the client without a pool and beside other
//! pools. `-- --help` lists the options, docs/performance.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod args;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
mod number;
#[cfg(not(feature = "loom"))]
mod processor;
#[cfg(not(feature = "loom"))]
mod sqlx_peer;
#[cfg(not(feature = "loom"))]
#[path = "postgres"]
mod postgres {
    mod caller;
    mod contenders;
    mod figures;
    mod musts;
    mod peers;
    mod rounds;
    mod site;
    mod sqlx;
    mod summary;
    mod workload;

    pub(crate) use self::summary::{choices, summarize};
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Has callers ask a PostgreSQL of its own one prepared statement again and again, by contenders that take turns, prints tables, and writes figures to target/report/postgres.json.
sqlx takes its turns in a process of its own, which is built in benches/sqlx.
  cargo bench -p pool-benches --bench postgres -- [OPTIONS]
    --check           fail if a ratio is not what it must be
    --rounds N        how often all take turns (default 9, quick 1)
    --millis N        for how long a turn counts, on a network without delay (default 400, quick 100)
    --only WORKLOAD   this one alone; more than once for several
    --contender NAME  this one alone; more than once for several
    --without-sqlx    nothing is built, and there are no figures of sqlx
    --quick           for a look, not for a judgement";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &postgres::choices(), &["rounds", "millis"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| postgres::summarize(&args))
}
