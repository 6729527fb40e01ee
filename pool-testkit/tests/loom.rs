//! Models of the lock-free layer: loom runs each of them in every interleaving, and in every order of memory effects the
//! orderings in the code allow. `cargo test --features loom` runs them.
//!
//! They drive the code that the pool runs (`pool_core::internals`), on loom's atomics. A lost wake-up shows as a deadlock, a second
//! user of a connection as a data race on its cell.
#![cfg(feature = "loom")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a model fails by panicking

#[path = "loom/common.rs"]
mod common;

#[path = "loom/bell.rs"]
mod bell;
#[path = "loom/capacity.rs"]
mod capacity;
#[path = "loom/close.rs"]
mod close;
#[path = "loom/collect.rs"]
mod collect;
#[path = "loom/handoff.rs"]
mod handoff;
#[path = "loom/pause.rs"]
mod pause;
#[path = "loom/queue.rs"]
mod queue;
#[path = "loom/shared.rs"]
mod shared;
#[path = "loom/sharing.rs"]
mod sharing;
#[path = "loom/slots.rs"]
mod slots;
#[path = "loom/throttle.rs"]
mod throttle;
#[path = "loom/time.rs"]
mod time;
#[path = "loom/vitess.rs"]
mod vitess;
