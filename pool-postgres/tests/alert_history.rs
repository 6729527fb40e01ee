//! The example service, end to end: over HTTP, against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[allow(dead_code)] // its `main` is not called here
#[path = "../examples/alert_history/main.rs"]
mod example;

#[path = "alert_history/away.rs"]
mod away;
#[path = "alert_history/common.rs"]
mod common;
#[path = "alert_history/guard.rs"]
mod guard;
#[path = "alert_history/history.rs"]
mod history;
#[path = "alert_history/outage.rs"]
mod outage;
#[path = "alert_history/pool.rs"]
mod pool;
#[path = "alert_history/process.rs"]
mod process;
#[path = "alert_history/webhook.rs"]
mod webhook;
