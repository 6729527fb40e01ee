//! What happens to a process as a whole: it has no descriptors left, it stands still, it has had very many pools. Each test runs once more in a process of its own (`alone/again.rs`), and ends with the checker in
//! `chaos/invariants.rs` if it has a server.
#![cfg(all(not(feature = "loom"), target_os = "linux"))] // what they look at is in /proc
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "alone/again.rs"]
mod again;
#[path = "chaos/asking.rs"]
mod asking;
#[path = "alone/common.rs"]
mod common;
#[path = "chaos/invariants.rs"]
mod invariants;
#[path = "chaos/users.rs"]
mod users;
#[path = "sealed/watch.rs"]
mod watch;

#[path = "alone/descriptors.rs"]
mod descriptors;
#[path = "alone/memory.rs"]
mod memory;
#[path = "alone/pools.rs"]
mod pools;
#[path = "alone/secrets.rs"]
mod secrets;
#[path = "alone/stopped.rs"]
mod stopped;
