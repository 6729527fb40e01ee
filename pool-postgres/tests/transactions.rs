//! Transactions, on a real PostgreSQL: what is committed is there, what is not is not, and nobody is told otherwise.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
mod common;
#[path = "transactions/stage.rs"]
mod stage;

#[path = "transactions/begin.rs"]
mod begin;
#[path = "transactions/commit.rs"]
mod commit;
#[path = "transactions/copying.rs"]
mod copying;
#[path = "transactions/dropped.rs"]
mod dropped;
#[path = "transactions/ended_by_work.rs"]
mod ended_by_work;
#[path = "transactions/late.rs"]
mod late;
#[path = "transactions/lost.rs"]
mod lost;
#[path = "transactions/procedures.rs"]
mod procedures;
#[path = "transactions/retried.rs"]
mod retried;
#[path = "transactions/runner.rs"]
mod runner;
#[path = "transactions/savepoints.rs"]
mod savepoints;
#[path = "transactions/status.rs"]
mod status;
