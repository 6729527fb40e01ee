//! What proves the pool.
//!
//! * [`books`]: what callers were told of operations, beside what was done.
//! * [`cancel`]: futures dropped after every number of polls.
//! * [`fake`]: a driver that fails exactly as it is told, and a ledger of what the pool did with it.
//! * [`simulation`]: everything that may happen to a pool, drawn from a seed and checked after every step.
//! * [`postgres`]: a real PostgreSQL for tests, started from cargo alone.
//! * [`proxy`]: what stands between a client and a server and does to their connections what networks do.
//! * [`secrets`]: passwords that are found wherever they are told.
//! * [`spans`]: a subscriber that keeps the spans that it is told of.
//! * [`tools`]: Prometheus, Alertmanager and a browser, for what operators see.
//! * `tests/loom`: models of the lock-free layer; `cargo test --features loom` runs them.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(not(feature = "loom"))]
pub mod books;
#[cfg(not(feature = "loom"))]
pub mod cancel;
#[cfg(not(feature = "loom"))]
pub mod fake;
#[cfg(not(feature = "loom"))]
pub mod postgres;
#[cfg(not(feature = "loom"))]
pub mod proxy;
#[cfg(not(feature = "loom"))]
pub mod random;
#[cfg(not(feature = "loom"))]
pub mod secrets;
#[cfg(not(feature = "loom"))]
pub mod simulation;
#[cfg(not(feature = "loom"))]
pub mod spans;
#[cfg(not(feature = "loom"))]
pub mod tools;
