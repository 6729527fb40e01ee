//! For how long somebody waits.

use std::time::Duration;

use super::Engine;
use super::clock::nanos;
use crate::driver::Driver;

/// For how long somebody waits. One number, so that it costs those nothing who do not wait.
#[derive(Clone, Copy)]
pub(crate) struct Limit(u64);

impl Limit {
    /// The pool's acquire timeout.
    pub(crate) const POOLS: Self = Self(u64::MAX);

    pub(crate) fn new(limit: Duration) -> Self {
        Self(nanos(limit))
    }

    /// In nanoseconds.
    pub(super) fn of<D: Driver>(self, engine: &Engine<D>) -> u64 {
        if self.0 == Self::POOLS.0 { engine.acquire_timeout.get() } else { self.0 }
    }
}
