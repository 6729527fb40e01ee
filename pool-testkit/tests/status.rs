//! What is shown of a pool over HTTP, and what may be done to it there: the router, mostly asked without a server, on virtual time.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "status/common.rs"]
mod common;

#[path = "status/answers.rs"]
mod answers;
#[path = "status/controls.rs"]
mod controls;
#[path = "status/crowd.rs"]
mod crowd;
#[path = "status/events.rs"]
mod events;
#[path = "status/health.rs"]
mod health;
#[path = "status/refusals.rs"]
mod refusals;
#[path = "status/shutdown.rs"]
mod shutdown;
#[path = "status/weight.rs"]
mod weight;
