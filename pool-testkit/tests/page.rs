//! The status page in a real browser. Pictures of it are written to `target/screenshots`.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "page/common.rs"]
mod common;

#[path = "page/access.rs"]
mod access;
#[path = "page/live.rs"]
mod live;
#[path = "page/many.rs"]
mod many;
#[path = "page/safety.rs"]
mod safety;
