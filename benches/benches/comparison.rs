//! What other pools get wrong, each shown on the other pool and on this one in the same way. `-- --help` lists the options, docs/comparison.md has the output.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
#[path = "comparison"]
mod comparison {
    mod backend;
    mod engines;
    mod managers;
    mod sessions;
    mod sqlx;
    mod table;

    pub(crate) use self::table::print;
}

#[cfg(not(feature = "loom"))]
mod sqlx_peer;

#[cfg(not(feature = "loom"))]
const USAGE: &str = "\
Shows defects of other pools on them and on this one, prints a table, and fails if this one has any of them. sqlx is built for it in benches/sqlx.
  cargo bench -p pool-benches --bench comparison";

/// The models take the engine apart, so there is nothing to compare.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> std::process::ExitCode {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    if has("--help") || has("--no-run") {
        println!("{USAGE}");
        return std::process::ExitCode::SUCCESS;
    }
    comparison::print()
}
