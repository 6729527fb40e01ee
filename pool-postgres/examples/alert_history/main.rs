//! An alert history service: it stores what a Prometheus Alertmanager posts to its webhook, and lists it again.
//!
//! `cargo run --release --example alert_history` starts it, with a PostgreSQL of its own unless `DATABASE_URL` names one; `--help` says
//! the rest.
#![cfg_attr(feature = "loom", allow(unused))]

#[cfg(not(feature = "loom"))]
pub(crate) mod app;
#[cfg(not(feature = "loom"))]
mod cli;
#[cfg(not(feature = "loom"))]
mod failure;
#[cfg(not(feature = "loom"))]
pub(crate) mod http;
#[cfg(not(feature = "loom"))]
mod load;
#[cfg(not(feature = "loom"))]
mod logging;
#[cfg(not(feature = "loom"))]
mod metrics;
#[cfg(not(feature = "loom"))]
mod payload;
#[cfg(not(feature = "loom"))]
mod service;
#[cfg(not(feature = "loom"))]
mod store;
#[cfg(not(feature = "loom"))]
mod warnings;

#[cfg(not(feature = "loom"))]
fn main() -> std::process::ExitCode {
    service::main()
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() -> std::process::ExitCode {
    eprintln!("alert_history: with the feature loom there are only models; build it without");
    std::process::ExitCode::FAILURE
}
