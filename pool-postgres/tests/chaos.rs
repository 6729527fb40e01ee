//! The pool on a real PostgreSQL behind a proxy that does to its connections what networks do. Tests are named after the faults in `docs/faults.md`, and each ends with
//! the checker in `chaos/invariants.rs`.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[cfg(target_os = "linux")]
#[path = "alone/again.rs"]
mod again;
#[path = "chaos/asking.rs"]
mod asking;
#[path = "chaos/authority.rs"]
mod authority;
#[path = "chaos/common.rs"]
mod common;
#[path = "chaos/invariants.rs"]
mod invariants;
#[path = "next_borrower/leftovers.rs"]
mod leftovers;
#[path = "chaos/users.rs"]
mod users;
#[path = "chaos/watch.rs"]
mod watch;

#[path = "chaos/abandoned.rs"]
mod abandoned;
#[path = "chaos/corrupt.rs"]
mod corrupt;
#[path = "chaos/dropped.rs"]
mod dropped;
#[path = "chaos/dropped_batch.rs"]
mod dropped_batch;
#[path = "chaos/dropped_listen.rs"]
mod dropped_listen;
#[path = "chaos/dropped_multiplexed.rs"]
mod dropped_multiplexed;
#[path = "chaos/dropped_queries.rs"]
mod dropped_queries;
#[path = "chaos/dropped_results.rs"]
mod dropped_results;
#[path = "chaos/dropped_transactions.rs"]
mod dropped_transactions;
#[path = "chaos/ends.rs"]
mod ends;
#[path = "chaos/errors.rs"]
mod errors;
#[path = "chaos/established.rs"]
mod established;
#[path = "chaos/exchange.rs"]
mod exchange;
#[path = "chaos/failover.rs"]
mod failover;
#[path = "chaos/foreign.rs"]
mod foreign;
#[path = "chaos/frames.rs"]
mod frames;
#[path = "chaos/given_up.rs"]
mod given_up;
#[path = "chaos/handshake.rs"]
mod handshake;
#[path = "chaos/late.rs"]
mod late;
#[path = "chaos/left_behind.rs"]
mod left_behind;
#[path = "chaos/left_open.rs"]
mod left_open;
#[path = "chaos/lifecycle.rs"]
mod lifecycle;
#[path = "chaos/load.rs"]
mod load;
#[path = "chaos/login.rs"]
mod login;
#[path = "chaos/network.rs"]
mod network;
#[path = "chaos/panics.rs"]
mod panics;
#[path = "chaos/permissions.rs"]
mod permissions;
#[path = "chaos/polls.rs"]
mod polls;
#[path = "chaos/pooler.rs"]
mod pooler;
#[path = "chaos/recovery.rs"]
mod recovery;
#[path = "chaos/refusals.rs"]
mod refusals;
#[path = "chaos/retries.rs"]
mod retries;
#[path = "chaos/runtimes.rs"]
mod runtimes;
#[path = "chaos/scripted.rs"]
mod scripted;
#[path = "chaos/servers.rs"]
mod servers;
#[path = "chaos/settings.rs"]
mod settings;
#[path = "chaos/shutdowns.rs"]
mod shutdowns;
#[path = "chaos/standby.rs"]
mod standby;
#[path = "chaos/statements.rs"]
mod statements;
#[path = "chaos/switch.rs"]
mod switch;
#[path = "chaos/tls.rs"]
mod tls;
#[path = "chaos/unix.rs"]
mod unix;
