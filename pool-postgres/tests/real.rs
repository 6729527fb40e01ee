//! The driver and the pool against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "chaos/authority.rs"]
mod authority;
#[path = "real/common.rs"]
mod common;

#[path = "real/bouncer.rs"]
mod bouncer;
#[path = "real/connecting.rs"]
mod connecting;
#[path = "real/control.rs"]
mod control;
#[path = "real/credentials.rs"]
mod credentials;
#[path = "real/entries.rs"]
mod entries;
#[path = "real/executions.rs"]
mod executions;
#[path = "real/health.rs"]
mod health;
#[path = "tls/judge.rs"]
mod judge;
#[path = "libpq/library.rs"]
mod library;
#[path = "real/outage.rs"]
mod outage;
#[path = "real/policies.rs"]
mod policies;
#[path = "real/retries.rs"]
mod retries;
#[path = "real/retry_limits.rs"]
mod retry_limits;
#[path = "real/roles.rs"]
mod roles;
#[path = "real/search.rs"]
mod search;
#[path = "real/secrets.rs"]
mod secrets;
#[path = "real/servers.rs"]
mod servers;
#[path = "real/sessions.rs"]
mod sessions;
#[path = "real/shutdown.rs"]
mod shutdown;
#[path = "real/tags.rs"]
mod tags;
#[path = "real/tls.rs"]
mod tls;

/// Where libpq is kept.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");
