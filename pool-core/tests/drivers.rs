//! The drivers among the examples, each against a real server: nothing in `Driver` knows of SQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "drivers/common.rs"]
mod common;
#[path = "drivers/http.rs"]
mod http;
#[path = "drivers/redis.rs"]
mod redis;
