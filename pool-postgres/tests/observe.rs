//! What a pool tells of itself to those who run it, against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[allow(dead_code)] // not all of it is used here
#[path = "real/common.rs"]
mod common;

#[path = "observe/browser.rs"]
mod browser;
#[path = "observe/errors.rs"]
mod errors;
#[path = "observe/page.rs"]
mod page;
#[path = "observe/place.rs"]
mod place;
#[path = "observe/queries.rs"]
mod queries;
#[path = "observe/servers.rs"]
mod servers;
#[path = "observe/sessions.rs"]
mod sessions;
#[path = "observe/stage.rs"]
mod stage;
