//! For how long the backend could be reached, and for how long it could not: what an objective of service is measured by.
//!
//! Time is counted and not attempts. A backend that is well is asked now and then, and one that is gone is asked again and again: a share of attempts would say how busily the pool retries.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Engine;
use crate::driver::{Driver, ErrorClass};
use crate::failure::OpenFailure;

/// For so long after the last attempt that failed it is known that the backend cannot be reached, in nanoseconds. Nobody may ask again: a pool without a monitor opens nothing unless
/// somebody wants it, and a failure from the night before says nothing about the morning.
const DOUBTED: u64 = 60_000_000_000;

/// Looked at by those who open, ping and check, once they have, and by those who read it.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Known>);

/// In nanoseconds of the engine's clock.
#[derive(Debug, Default)]
struct Known {
    state: State,
    /// Up to here it is counted, or never will be.
    settled: u64,
    /// Attempts to open a connection that are under way: what came of the time since they began is not known before.
    opening: usize,
    reached: u64,
    missed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing has come of an attempt yet.
    #[default]
    Unknown,
    Reached,
    /// The last attempt has failed, then.
    Missed {
        at: u64,
    },
}

impl Known {
    /// Counts the time up to this moment as what it is now.
    fn settle(&mut self, to: u64) {
        let over = to.saturating_sub(self.settled);
        match self.state {
            State::Unknown => {}
            State::Reached => self.reached += over,
            State::Missed { at } => self.missed += to.min(at.saturating_add(DOUBTED)).saturating_sub(self.settled),
        }
        self.settled = self.settled.max(to);
    }

    fn succeeded(&mut self, now: u64) {
        self.settle(now);
        self.state = State::Reached;
    }

    /// All of the time that this attempt took, unless others have said otherwise meanwhile.
    fn failed(&mut self, began: u64, now: u64) {
        self.settle(began);
        self.state = State::Missed { at: now };
        self.settle(now);
    }

    /// As far as it is known. What goes on while it cannot be reached does so until an attempt succeeds.
    fn look(&mut self, now: u64) {
        if self.opening == 0 || matches!(self.state, State::Missed { .. }) {
            self.settle(now);
        }
    }
}

impl Reach {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt to open a connection says about the backend, if it failed: nothing, unless it was asked and did not let anybody in. One that is full has answered.
fn is_out_of_reach(failure: &OpenFailure) -> bool {
    match failure {
        OpenFailure::Driver { class, .. } => *class != ErrorClass::Full,
        OpenFailure::TimedOut { .. } | OpenFailure::Panicked { .. } => true,
        OpenFailure::Hook(_) | OpenFailure::Abandoned => false,
    }
}

impl<D: Driver> Engine<D> {
    /// An attempt to open a connection begins, now.
    pub(super) fn begin_to_reach(&self) -> u64 {
        let now = self.clock.now();
        let mut known = self.reach.known();
        known.look(now);
        known.opening += 1;
        now
    }

    /// An attempt to open one, which began then, has ended; or it was not made after all.
    pub(super) fn end_to_reach(&self, began: Option<u64>, failure: Option<&OpenFailure>) {
        let Some(began) = began else { return };
        let now = self.clock.now();
        let mut known = self.reach.known();
        known.opening = known.opening.saturating_sub(1);
        match failure {
            None => known.succeeded(now),
            // In a pool that has been closed it was cut short, or nobody waits for it any more.
            Some(failure) if is_out_of_reach(failure) && !self.is_closed() => known.failed(began, now),
            Some(_) => {}
        }
    }

    /// A ping was answered. One that is not is no more than the end of a session: whether there can be another one is for others to say.
    pub(super) fn was_answered(&self) {
        self.events.answered.add(1);
        self.reach.known().succeeded(self.clock.now());
    }

    /// A check that began then was not answered, and so many before it that the pool is unhealthy.
    pub(crate) fn was_missed(&self, began: u64) {
        self.reach.known().failed(began, self.clock.now());
    }

    /// For how long the backend could be reached, and for how long not; as long as the pool was not closed.
    pub(crate) fn reach(&self) -> (Duration, Duration) {
        let mut known = self.reach.known();
        if !self.is_closed() {
            known.look(self.clock.now());
        }
        (Duration::from_nanos(known.reached), Duration::from_nanos(known.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn told(known: &Known) -> (u64, u64) {
        (known.reached / SECOND, known.missed / SECOND)
    }

    #[test]
    fn time_before_the_first_attempt_is_not_counted() {
        let mut known = Known::default();
        known.look(10 * SECOND);
        known.succeeded(20 * SECOND);
        known.look(50 * SECOND);
        assert_eq!(told(&known), (30, 0));
    }

    #[test]
    fn an_attempt_that_fails_has_failed_since_it_began_unless_others_say_otherwise() {
        let mut known = Known::default();
        known.succeeded(0);
        known.look(10 * SECOND);
        known.opening = 1;
        known.look(14 * SECOND);
        assert_eq!(told(&known), (10, 0), "nobody knows what will come of it");
        known.opening = 0;
        known.failed(10 * SECOND, 15 * SECOND);
        assert_eq!(told(&known), (10, 5));
        known.failed(14 * SECOND, 17 * SECOND);
        known.succeeded(18 * SECOND);
        known.failed(17 * SECOND, 19 * SECOND);
        assert_eq!(told(&known), (10, 9));
        known.succeeded(20 * SECOND);
        known.look(30 * SECOND);
        assert_eq!(told(&known), (20, 10));
    }

    #[test]
    fn a_failure_that_nobody_follows_up_counts_for_a_minute() {
        let mut known = Known::default();
        known.succeeded(0);
        known.failed(10 * SECOND, 12 * SECOND);
        for now in [40, 100, 1000] {
            known.look(now * SECOND);
        }
        assert_eq!(told(&known), (10, 62));
        known.succeeded(2000 * SECOND);
        known.look(2010 * SECOND);
        assert_eq!(told(&known), (20, 62), "what is not known is not counted");
    }
}
