//! Many callers on few connections.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking
#![allow(clippy::similar_names)] // a stage has a state

#[path = "chaos/authority.rs"]
#[allow(dead_code)] // others need more of it
mod authority;
#[path = "real/common.rs"]
#[allow(dead_code)] // not everything is used here
mod common;
#[path = "multiplexed/stage.rs"]
mod stage;

#[path = "multiplexed/adaptive.rs"]
mod adaptive;
#[path = "multiplexed/apart.rs"]
mod apart;
#[path = "multiplexed/dropped.rs"]
mod dropped;
#[path = "multiplexed/errors.rs"]
mod errors;
#[path = "multiplexed/failures.rs"]
mod failures;
#[path = "multiplexed/many.rs"]
mod many;
#[path = "multiplexed/places.rs"]
mod places;
#[path = "multiplexed/refused.rs"]
mod refused;
#[path = "multiplexed/session.rs"]
mod session;
#[path = "multiplexed/statements.rs"]
mod statements;
#[path = "multiplexed/timeouts.rs"]
mod timeouts;
#[path = "multiplexed/writes.rs"]
mod writes;
