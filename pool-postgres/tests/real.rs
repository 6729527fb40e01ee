//! The driver and the pool against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "chaos/authority.rs"]
mod authority;
#[path = "real/common.rs"]
mod common;

#[path = "real/connecting.rs"]
mod connecting;
#[path = "real/control.rs"]
mod control;
#[path = "real/executions.rs"]
mod executions;
#[path = "real/health.rs"]
mod health;
#[path = "real/outage.rs"]
mod outage;
#[path = "real/policies.rs"]
mod policies;
#[path = "real/retries.rs"]
mod retries;
#[path = "real/retry_limits.rs"]
mod retry_limits;
#[path = "real/secrets.rs"]
mod secrets;
#[path = "real/sessions.rs"]
mod sessions;
#[path = "real/shutdown.rs"]
mod shutdown;
#[path = "real/tags.rs"]
mod tags;
#[path = "real/tls.rs"]
mod tls;
