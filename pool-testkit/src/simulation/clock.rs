//! Moments and the order of things.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pool_core::Config;
use tokio::time::Instant;

/// Numbers in the order in which things happen: finer than time, which stands still while much does.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// The number of what happens now, from 1.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Milliseconds since the simulation began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn starting_now() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    pub(super) fn at(self, moment: Instant) -> u64 {
        millis(moment - self.0)
    }
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How often the pool looks after its connections, at the least: every second, or four times within its shortest limit, and more often when lives are short.
pub(super) fn interval_of(config: &Config) -> u64 {
    let life = config.max_lifetime.map(|life| life / 5);
    let limits = [config.idle_timeout, config.health_check_interval, config.check_after_idle, life];
    let shortest = limits.into_iter().flatten().map(millis).min().unwrap_or(u64::MAX);
    // A timer may be a millisecond late.
    (shortest / 4).clamp(5, 1000) + 2
}
