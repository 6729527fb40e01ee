//! The pool on a real PostgreSQL behind a proxy that does to its connections what networks do. Tests are named after the faults in `docs/faults.md`, and each ends with
//! the checker in `chaos/invariants.rs`.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "chaos/asking.rs"]
mod asking;
#[path = "chaos/common.rs"]
mod common;
#[path = "chaos/invariants.rs"]
mod invariants;
#[path = "chaos/users.rs"]
mod users;
#[path = "chaos/watch.rs"]
mod watch;

#[path = "chaos/corrupt.rs"]
mod corrupt;
#[path = "chaos/errors.rs"]
mod errors;
#[path = "chaos/established.rs"]
mod established;
#[path = "chaos/exchange.rs"]
mod exchange;
#[path = "chaos/foreign.rs"]
mod foreign;
#[path = "chaos/frames.rs"]
mod frames;
#[path = "chaos/handshake.rs"]
mod handshake;
#[path = "chaos/lifecycle.rs"]
mod lifecycle;
#[path = "chaos/load.rs"]
mod load;
#[path = "chaos/login.rs"]
mod login;
#[path = "chaos/network.rs"]
mod network;
#[path = "chaos/recovery.rs"]
mod recovery;
#[path = "chaos/retries.rs"]
mod retries;
#[path = "chaos/scripted.rs"]
mod scripted;
#[path = "chaos/servers.rs"]
mod servers;
#[path = "chaos/settings.rs"]
mod settings;
