//! Notifications, from a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
mod common;
#[path = "listen/stage.rs"]
mod stage;

#[path = "listen/bouncer.rs"]
mod bouncer;
#[path = "listen/channels.rs"]
mod channels;
#[path = "listen/dropped.rs"]
mod dropped;
#[path = "listen/operator.rs"]
mod operator;
#[path = "listen/outages.rs"]
mod outages;
#[path = "listen/refused.rs"]
mod refused;
#[path = "listen/room.rs"]
mod room;
#[path = "listen/servers.rs"]
mod servers;
#[path = "listen/subscribers.rs"]
mod subscribers;
