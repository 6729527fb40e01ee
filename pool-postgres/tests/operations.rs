//! What docs/operations gives to operators, and the programs that they use, with the example service.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[allow(dead_code)] // its `main` is not called here
#[path = "../examples/alert_history/main.rs"]
mod example;

#[allow(dead_code)] // what other tests use
#[path = "alert_history/common.rs"]
mod common;

#[path = "operations/alertmanager.rs"]
mod alertmanager;
#[path = "operations/alerts.rs"]
mod alerts;
#[path = "operations/openmetrics.rs"]
mod openmetrics;
#[path = "operations/pack.rs"]
mod pack;
#[path = "operations/runbook.rs"]
mod runbook;
#[path = "operations/sizing.rs"]
mod sizing;
#[path = "operations/watch.rs"]
mod watch;
