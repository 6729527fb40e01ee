//! What a pool remembers for an idle connection, over the connection itself, and for a waiter, over its future. Fails above the limits.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod contenders;
#[cfg(not(feature = "loom"))]
mod folder;
#[cfg(not(feature = "loom"))]
#[path = "memory/footprint.rs"]
mod footprint;
#[cfg(not(feature = "loom"))]
#[path = "memory/summary.rs"]
mod summary;

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    summary::summarize()
}
