//! Many callers on few connections.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
#[allow(dead_code)] // not everything is used here
mod common;

#[path = "multiplexed/many.rs"]
mod many;
