//! One table of the pool beside its peers, with plots, and the claims that are made from it. `-- --help` lists the options,
//! docs/performance.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod args;
#[cfg(not(feature = "loom"))]
mod claim;
#[cfg(not(feature = "loom"))]
mod contenders;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
mod number;
#[cfg(not(feature = "loom"))]
mod polled_once;
#[cfg(not(feature = "loom"))]
#[path = "report"]
mod report {
    mod claims;
    mod figures;
    mod latency;
    mod output;
    mod plots;
    mod rounds;
    mod table;
    mod window;
    mod work;
    mod workload;

    pub(crate) use self::output::report;
    pub(crate) use self::rounds::choices;
}

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Measures the pool beside its peers, prints a table, and writes plots and figures to target/report/.
  cargo bench -p pool-benches --bench report -- [OPTIONS]
    --rounds N          how often all take turns (default 19, quick 3)
    --quick             short turns: for a look, not for a judgement
    --only WORKLOAD     this one alone; more than once for several
    --contender NAME    the same for contenders
    --check             fail if a claim of docs/performance.md does not hold";

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = args::Args::parse(USAGE, &report::choices(), &["rounds"])?;
    args.map_or(Ok(std::process::ExitCode::SUCCESS), |args| report::report(&args))
}
