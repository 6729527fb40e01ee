//! One table of the pool beside its peers, with plots, and the claims that are made from it. `-- --help` lists the options,
//! docs/performance.md says how to read it.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod contenders;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
mod polled_once;
#[cfg(not(feature = "loom"))]
#[path = "report"]
mod report {
    pub(crate) mod args;
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
}

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    report::args::Args::parse()?.map_or(Ok(std::process::ExitCode::SUCCESS), |args| report::report(&args))
}
