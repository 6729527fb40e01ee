//! Warnings of what may happen very often: some are logged, and the rest are counted.

use std::task::Waker;
use std::time::Duration;

use super::Engine;
use super::panics::{caught, report};
use crate::counters::Throttle;
use crate::driver::Driver;

/// What is warned of, or told as an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Warning {
    SlowAcquire,
    SelfWait,
    /// A ping or a reset that takes too long, or a hook that has failed: the connection is closed.
    Unfit,
    /// Closing one takes too long, or its hook has failed.
    SlowClose,
    Breaker,
    // Foreign code that has panicked, by what it was asked. It may do so as often as connections are handed out.
    Waker,
    Inspect,
    LookAfter,
    Close,
    Aborter,
    Classify,
    Host,
    Session,
    Describe,
    Predicate,
    Another,
    Approve,
    // Those that name a place: a few of them are told.
    Leak,
    Reclaim,
    Uncollected,
}

/// From one warning of a kind to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// So many may come at once of those that name a place.
const PLACES: u32 = 10;

/// One throttle for each kind.
#[derive(Debug)]
pub(super) struct Warnings([Throttle; Warning::Uncollected as usize + 1]);

impl Default for Warnings {
    fn default() -> Self {
        let at_once = |kind| if kind >= Warning::Leak as usize { PLACES } else { 1 };
        Self(std::array::from_fn(|kind| Throttle::new(INTERVAL, at_once(kind))))
    }
}

impl<D: Driver> Engine<D> {
    /// Logs a warning, unless there have been too many of its kind. It is told how many were left out since the last one, if any were.
    pub(crate) fn warn(&self, what: Warning, log: impl FnOnce(Option<u64>)) {
        if let Some(left_out) = self.warnings.0[what as usize].ask(self.clock.running_for()) {
            report(|| log((left_out > 0).then_some(left_out)));
        }
    }

    /// Tells that foreign code has panicked: an error, but as a warning in how often.
    #[cold]
    pub(super) fn panicked(&self, what: Warning, message: &str, text: &str) {
        self.warn(what, |suppressed| tracing::error!(panic = message, suppressed, "{text}"));
    }

    /// Wakes a task. A waker is foreign code, and this runs inside `Drop`.
    pub(super) fn wake(&self, waker: Waker) {
        self.call_waker(|| waker.wake());
    }

    /// As `wake`, for one that somebody else keeps.
    pub(crate) fn call_waker(&self, wake: impl FnOnce()) {
        if let Err(message) = caught(wake) {
            self.panicked(Warning::Waker, &message, "a waker panicked");
        }
    }
}
