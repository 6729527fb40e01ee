//! Rows, cursors and COPY, a little at a time, against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "alone/again.rs"]
mod again;
#[path = "real/common.rs"]
mod common;

#[path = "results/copy_in.rs"]
mod copy_in;
#[path = "results/copy_in_rows.rs"]
mod copy_in_rows;
#[path = "results/copy_out.rs"]
mod copy_out;
#[path = "results/cursors.rs"]
mod cursors;
#[path = "results/memory.rs"]
mod memory;
#[path = "results/protocol.rs"]
mod protocol;
#[path = "results/refused.rs"]
mod refused;
#[path = "results/rows.rs"]
mod rows;
#[path = "results/setting.rs"]
mod setting;
