//! For how long the backend could be reached, and for how long it could not: what an objective of service is measured by.
//!
//! Time is counted and not attempts. A backend that is well is asked now and then, and one that is gone is asked again and again: a share of attempts would say how busily the pool retries.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Engine;
use super::clock::nanos;
use crate::attempt::Step;
use crate::driver::{Driver, ErrorClass};
use crate::failure::OpenFailure;

/// For so long an answer says that the backend can be reached, and a failure that it cannot, in nanoseconds. Nobody may ask again: a pool without a monitor opens nothing unless somebody wants it, and neither
/// the one nor the other of the night before says anything about the morning.
const KNOWN_FOR: u64 = 60_000_000_000;

/// As long as that, for who asks at this interval: twice that, if it is longer.
fn known_for(interval: Duration) -> u64 {
    nanos(interval.saturating_mul(2)).max(KNOWN_FOR)
}

/// Looked at by those who open, ping and check, once they have, and by those who read it.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Known>);

/// In nanoseconds of the engine's clock.
#[derive(Debug, Default)]
struct Known {
    state: State,
    /// Until then it is known to be in that state.
    until: u64,
    /// Up to here it is counted, or never will be.
    settled: u64,
    /// Attempts to open a connection that are under way: what came of the time since they began is not known before.
    opening: usize,
    reached: u64,
    missed: u64,
    /// When somebody looked last for what connections had been used for.
    looked: u64,
    /// How often that had gone well then, or when an attempt failed last.
    used: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing has come of an attempt yet.
    #[default]
    Unknown,
    Reached,
    Missed,
}

impl Known {
    /// Counts the time up to this moment as what it is now, as far as that is known.
    fn settle(&mut self, to: u64) {
        let over = to.min(self.until).saturating_sub(self.settled);
        match self.state {
            State::Unknown => {}
            State::Reached => self.reached += over,
            State::Missed => self.missed += over,
        }
        self.settled = self.settled.max(to);
    }

    /// From where it is settled on it is in this state.
    fn hear(&mut self, state: State, until: u64) {
        self.until = if self.state == state { self.until.max(until) } else { until };
        self.state = state;
    }

    fn succeeded(&mut self, now: u64, known_for: u64) {
        self.settle(now);
        self.hear(State::Reached, now.saturating_add(known_for));
    }

    /// All of the time that this attempt took, unless others have said otherwise meanwhile. Connections had been used so often without a failure when it ended.
    fn failed(&mut self, began: u64, now: u64, known_for: u64, used: u64) {
        self.settle(began);
        self.hear(State::Missed, now.saturating_add(known_for));
        self.settle(now);
        self.used = used;
    }

    /// As far as it is known. What goes on while it cannot be reached does so until an attempt succeeds.
    fn look(&mut self, now: u64) {
        if self.opening == 0 || self.is(State::Missed, now) {
            self.settle(now);
        }
    }

    fn is(&self, state: State, at: u64) -> bool {
        self.state == state && at <= self.until
    }

    /// Connections have been used so often without a failure. If that is more than at the last look, it has answered since then, nobody knows when.
    ///
    /// If that is more than when an attempt failed, it was that attempt which failed and not the backend; unless somebody lacks a connection: for him it cannot be reached, whoever has one.
    fn see_used(&mut self, now: u64, used: u64, is_lacking: bool) {
        if used > self.used && !(is_lacking && self.is(State::Missed, now)) {
            if self.state == State::Missed && !is_lacking {
                self.state = State::Unknown;
            }
            let is_known = self.is(State::Reached, self.looked);
            let heard = if is_known { self.looked } else { now };
            if !is_known {
                self.settle(now);
            }
            self.hear(State::Reached, heard.saturating_add(KNOWN_FOR));
        }
        (self.looked, self.used) = (now, used);
    }

    /// Nothing is known from now on.
    fn forget(&mut self, now: u64, used: u64) {
        self.look(now);
        self.state = State::Unknown;
        self.settle(now);
        (self.looked, self.used) = (now, used);
    }
}

impl Reach {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt to open a connection says about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answer,
    NoAnswer,
    Nothing,
}

impl Heard {
    /// From an attempt that failed in this step: nothing, unless the backend was asked and did not let anybody in. One that is full has answered.
    pub(super) fn of(failure: &OpenFailure, step: Step) -> Self {
        let was_asked = match failure {
            OpenFailure::Driver { class, .. } => *class != ErrorClass::Full,
            OpenFailure::TimedOut { .. } | OpenFailure::Panicked { .. } => true,
            OpenFailure::Hook(_) | OpenFailure::Abandoned => false,
        };
        if was_asked && step != Step::Preparing { Self::NoAnswer } else { Self::Nothing }
    }
}

impl<D: Driver> Engine<D> {
    /// The backend is asked for a connection, from now on.
    pub(super) fn begin_to_reach(&self) -> u64 {
        let now = self.clock.now();
        let mut known = self.reach.known();
        known.look(now);
        known.opening += 1;
        now
    }

    /// It has been asked since then, and is not any more.
    pub(super) fn end_to_reach(&self, began: u64, heard: Heard) {
        let now = self.clock.now();
        let mut known = self.reach.known();
        known.opening = known.opening.saturating_sub(1);
        // In a pool that has been closed it was cut short, or nobody waits for it any more.
        if self.is_out_of_service() {
            return;
        }
        match heard {
            Heard::Answer => known.succeeded(now, KNOWN_FOR),
            Heard::NoAnswer => known.failed(began, now, KNOWN_FOR, self.measures.execution.done()),
            Heard::Nothing => {}
        }
    }

    /// A ping was answered. One that is not is no more than the end of a session: whether there can be another one is for others to say.
    pub(super) fn was_answered(&self) {
        self.was_answered_to(Duration::ZERO);
    }

    /// The same, of somebody who asks at this interval.
    pub(super) fn was_answered_to(&self, interval: Duration) {
        self.events.answered.add(1);
        let mut known = self.reach.known();
        if !self.is_out_of_service() {
            known.succeeded(self.clock.now(), known_for(interval));
        }
    }

    /// A check that began then was not answered, and so many before it that the pool is unhealthy; one is made at this interval.
    pub(crate) fn was_missed(&self, began: u64, interval: Duration) {
        let mut known = self.reach.known();
        if !self.is_out_of_service() {
            known.failed(began, self.clock.now(), known_for(interval), self.measures.execution.done());
        }
    }

    /// The pool is paused now, or is about to be resumed: nobody asks in between, and nobody knows what the backend is like before somebody has asked again.
    pub(super) fn lose_sight(&self) {
        let used = self.measures.execution.done();
        self.reach.known().forget(self.clock.now(), used);
    }

    /// For how long the backend could be reached, and for how long not; as long as the pool was not closed, nor paused.
    pub(crate) fn reach(&self) -> (Duration, Duration) {
        let used = self.measures.execution.done();
        let is_lacking = self.core.gate().glance().waiting() > 0 || self.breaker().is_open();
        let mut known = self.reach.known();
        // Looked for with the lock: whoever pauses takes it afterwards.
        if !self.is_out_of_service() {
            let now = self.clock.now();
            known.see_used(now, used, is_lacking);
            known.look(now);
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
        known.succeeded(20 * SECOND, KNOWN_FOR);
        known.look(50 * SECOND);
        assert_eq!(told(&known), (30, 0));
    }

    #[test]
    fn an_attempt_that_fails_has_failed_since_it_began_unless_others_say_otherwise() {
        let mut known = Known::default();
        known.succeeded(0, KNOWN_FOR);
        known.look(10 * SECOND);
        known.opening = 1;
        known.look(14 * SECOND);
        assert_eq!(told(&known), (10, 0), "nobody knows what will come of it");
        known.opening = 0;
        known.failed(10 * SECOND, 15 * SECOND, KNOWN_FOR, 0);
        assert_eq!(told(&known), (10, 5));
        known.failed(14 * SECOND, 17 * SECOND, KNOWN_FOR, 0);
        known.succeeded(18 * SECOND, KNOWN_FOR);
        known.failed(17 * SECOND, 19 * SECOND, KNOWN_FOR, 0);
        assert_eq!(told(&known), (10, 9));
        known.succeeded(20 * SECOND, KNOWN_FOR);
        known.look(30 * SECOND);
        assert_eq!(told(&known), (20, 10));
    }

    #[test]
    fn what_was_used_well_has_answered_since_the_last_look() {
        let mut known = Known::default();
        let mut look = |now, used| {
            known.see_used(now * SECOND, used, false);
            known.look(now * SECOND);
            told(&known)
        };
        assert_eq!(look(10, 1), (0, 0));
        assert_eq!(look(20, 1), (10, 0));
        assert_eq!(look(65, 9), (55, 0));
        assert_eq!(look(75, 9), (65, 0));
        assert_eq!(look(300, 9), (70, 0), "known for a minute after the look before it was seen");
        assert_eq!(look(310, 10), (70, 0), "nobody knows how it was before");
        assert_eq!(look(320, 10), (80, 0));
    }

    #[test]
    fn what_was_used_well_after_a_failure_outdoes_it_unless_somebody_lacks_a_connection() {
        let mut known = Known::default();
        known.succeeded(0, KNOWN_FOR);
        known.failed(10 * SECOND, 20 * SECOND, KNOWN_FOR, 10);
        let mut look = |now, used, is_lacking| {
            known.see_used(now * SECOND, used, is_lacking);
            known.look(now * SECOND);
            told(&known)
        };
        assert_eq!(look(30, 10, false), (10, 20), "that was before");
        assert_eq!(look(40, 11, true), (10, 30), "others get no new connection all the same");
        assert_eq!(look(50, 11, false), (10, 40));
        assert_eq!(look(60, 12, false), (10, 40), "nobody knows since when");
        assert_eq!(look(70, 12, false), (20, 40));
        known.failed(80 * SECOND, 80 * SECOND, KNOWN_FOR, 12);
        known.see_used(900 * SECOND, 13, false);
        known.look(900 * SECOND);
        assert_eq!(told(&known), (30, 40), "however late somebody looks");
    }

    #[test]
    fn what_is_forgotten_is_settled_before() {
        let mut known = Known::default();
        known.succeeded(0, KNOWN_FOR);
        known.forget(10 * SECOND, 0);
        known.forget(20 * SECOND, 5);
        known.see_used(25 * SECOND, 5, false);
        known.look(30 * SECOND);
        assert_eq!(told(&known), (10, 0));
        known.failed(5 * SECOND, 32 * SECOND, KNOWN_FOR, 5);
        assert_eq!(told(&known), (10, 2), "not what was before");
    }

    #[test]
    fn a_failure_that_nobody_follows_up_counts_for_a_minute() {
        let mut known = Known::default();
        known.succeeded(0, KNOWN_FOR);
        known.failed(10 * SECOND, 12 * SECOND, KNOWN_FOR, 0);
        for now in [40, 100, 1000] {
            known.look(now * SECOND);
        }
        assert_eq!(told(&known), (10, 62));
        known.succeeded(2000 * SECOND, KNOWN_FOR);
        known.look(2010 * SECOND);
        assert_eq!(told(&known), (20, 62), "what is not known is not counted");
    }
}
