//! A deterministic simulation: everything that users, operators, backends and clocks may do to a pool, drawn from a seed, on one thread and on a clock that stands
//! still until everybody waits. After every step the pool is compared with a model of it and with the backend's ledger.
//!
//! The same seed always does the same. A scenario that fails is made smaller until no step can be left out.
//!
//! ```
//! use pool_testkit::simulation;
//!
//! simulation::run(7).unwrap_or_else(|problem| panic!("{problem}\n{}", simulation::smallest(7)));
//! ```

mod breaker;
mod callers;
mod clock;
mod connection;
mod demand;
mod lending;
mod minima;
mod model;
mod play;
mod policies;
mod rest;
mod scenario;
mod settings;
mod signal;
mod watchers;
mod world;

pub use play::{replay, run, run_bytes, smallest};

/// Returns an error with this text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use ensure;
