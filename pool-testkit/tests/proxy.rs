//! The proxy does to connections what it says, and nothing else.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "proxy/common.rs"]
mod common;

#[path = "proxy/admission.rs"]
mod admission;
#[path = "proxy/ends.rs"]
mod ends;
#[path = "proxy/frames.rs"]
mod frames;
#[path = "proxy/pace.rs"]
mod pace;
#[path = "proxy/script.rs"]
mod script;
