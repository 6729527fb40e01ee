//! TLS with real servers: what is verified, beside what libpq verifies; files that change; other libraries; requests to cancel.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "alone/again.rs"]
mod again;
#[path = "tls/binding.rs"]
mod binding;
#[path = "tls/cancel.rs"]
mod cancel;
#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/direct.rs"]
mod direct;
#[path = "tls/eighteen.rs"]
mod eighteen;
#[path = "tls/files.rs"]
mod files;
#[path = "tls/home.rs"]
mod home;
#[path = "tls/judge.rs"]
mod judge;
#[path = "libpq/library.rs"]
mod library;
#[path = "tls/lists.rs"]
mod lists;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/paper.rs"]
mod paper;
#[path = "tls/plug.rs"]
mod plug;
#[path = "tls/sessions.rs"]
mod sessions;
#[path = "tls/table.rs"]
mod table;
#[path = "tls/world.rs"]
mod world;

/// Where libpq is kept.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");
