//! Statements that are sent together, against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "chaos/authority.rs"]
mod authority;
#[path = "real/common.rs"]
#[allow(dead_code)] // not everything is used here
mod common;

#[path = "batch/again.rs"]
mod again;
#[path = "batch/as_one.rs"]
mod as_one;
#[path = "batch/connections.rs"]
mod connections;
#[path = "batch/dropped.rs"]
mod dropped;
#[path = "batch/lost.rs"]
mod lost;
#[path = "batch/many.rs"]
mod many;
#[path = "batch/one_by_one.rs"]
mod one_by_one;
#[path = "batch/speed.rs"]
mod speed;
