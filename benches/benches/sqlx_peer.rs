//! sqlx's pool, in a program of its own: its core turns a feature of `tracing` on for everything that is built with it.

use std::env;
use std::process::Command;

/// Builds it, and tells so. The error says what is to be done.
pub(crate) fn build() -> Result<(), String> {
    eprintln!("sqlx is built in benches/sqlx, which takes some minutes the first time");
    match cargo("build").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "`cargo build --release --manifest-path benches/sqlx/Cargo.toml` has failed ({status}), for the reason above; \
             the first time it needs crates.io, or what cargo has fetched from there"
        )),
        Err(error) => Err(format!("cargo cannot be started to build benches/sqlx: {error}")),
    }
}

/// The program, to be run on the server of this URL.
pub(crate) fn program(url: &str, words: &[&str]) -> Command {
    let mut cargo = cargo("run");
    cargo.args(["--quiet", "--", url]).args(words);
    cargo
}

fn cargo(what: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/sqlx/Cargo.toml");
    cargo.args([what, "--release", "--locked", "--manifest-path", manifest]);
    cargo
}
