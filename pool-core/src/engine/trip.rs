//! The breaker at work: callers are spared a wait while nothing can be opened.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Engine;
use super::panics::tell_watchers;
use crate::attempt::{Progress, Step};
use crate::counters::Figure;
use crate::driver::{Driver, ErrorClass};
use crate::error::AcquireError;
use crate::failure::OpenFailure;
use crate::foreign::drop_quietly;
use crate::handoff::{Denial, Denied};
use crate::situation::Situation;
use crate::stats::BreakerState;

/// Where the breaker stands, for those who do not move it: the janitor does.
#[derive(Debug, Default)]
pub(super) struct Trip {
    /// As a number, so that nobody who looks takes a lock.
    stands: Figure,
    shown: watch::Sender<BreakerState>,
    /// Until when the last failure stands, which waiting does not cure: the moment of the next attempt. 0 if there was none.
    known_until: Figure,
}

const CLOSED: u64 = 0;
const HALF_OPEN: u64 = 1;

impl<D: Driver> Engine<D> {
    /// Where the breaker stands now.
    pub(crate) fn breaker(&self) -> BreakerState {
        match self.trip.stands.get() {
            CLOSED => BreakerState::Closed,
            HALF_OPEN => BreakerState::HalfOpen,
            probe => BreakerState::Open { next_probe: self.clock.moment(probe) },
        }
    }

    /// Tells where the breaker stands.
    pub(super) fn show_breaker(&self, state: BreakerState) {
        let before = self.breaker();
        if before == state {
            return;
        }
        if before.is_open() != state.is_open() {
            self.write_down(
                "breaker",
                &if state.is_open() { "the breaker has opened" } else { "the breaker has closed" },
            );
        }
        // First of all: whoever is sent away finds it open.
        self.trip.stands.set(match state {
            BreakerState::Closed => CLOSED,
            BreakerState::HalfOpen => HALF_OPEN,
            BreakerState::Open { next_probe } => self.clock.at(next_probe),
        });
        tell_watchers(|| self.trip.shown.send_replace(state));
        self.tell();
    }

    /// To be told wherever the breaker stands from now on.
    pub(crate) fn watch_breaker(&self) -> watch::Receiver<BreakerState> {
        self.trip.shown.subscribe()
    }

    /// Whether one who joins now would wait for a backend that cannot be reached, as far as anybody knows. One who joins in the very moment when the breaker opens is told by the
    /// next attempt that fails.
    pub(super) fn spares_a_wait(&self) -> bool {
        let is_known = self.trip.stands.get() != CLOSED || self.knows_better();
        is_known && !self.is_out_of_service() && self.nobody_returns() && self.denial.load().is_some()
    }

    /// Whether nothing can be opened before the next attempt, which has a time.
    fn knows_better(&self) -> bool {
        let until = self.trip.known_until.get();
        until > 0 && self.clock.now() < until
    }

    /// Nothing can be opened before this moment, when somebody tries again; or nobody knows.
    pub(super) fn know_until(&self, moment: Option<Instant>) {
        self.trip.known_until.set(moment.map_or(0, |moment| self.clock.at(moment)));
    }

    /// Whether there is no connection that somebody could give back.
    pub(super) fn nobody_returns(&self) -> bool {
        // One that is leased may be counted as leaving while its replacement is being opened, and stays if that fails.
        self.core.capacity.read().live() == 0 && self.core.table.leased().next().is_none()
    }

    /// Notes what those are told who are denied a connection from now on.
    pub(super) fn note_denial(&self, failure: &Arc<OpenFailure>) {
        drop_quietly(self.denial.swap(Some(Arc::clone(failure))));
    }

    /// Tells everybody who waits now that there is no connection, instead of letting each find out by its timeout.
    pub(super) fn deny_waiters(&self) {
        for _ in 0..self.core.gate().glance().waiting() {
            match self.core.deny(Denial::Failed) {
                Denied::Told(waker) => waker.into_iter().for_each(|waker| self.wake(waker)),
                Denied::Nobody => break,
            }
        }
        self.admit();
    }

    /// What one is told who has been denied a connection, after so many nanoseconds.
    #[cold]
    pub(super) fn denied(&self, failure: Arc<OpenFailure>, waited: u64) -> AcquireError {
        let situation = self.situation(waited);
        match failure.class() {
            ErrorClass::Permanent => AcquireError::OpenFailed { situation, failure },
            ErrorClass::Transient | ErrorClass::Full => AcquireError::BreakerOpen { situation, failure },
        }
    }

    /// What one is told whose time is over after so many nanoseconds.
    #[cold]
    pub(crate) fn timed_out(&self, waited: u64) -> AcquireError {
        AcquireError::Timeout { situation: self.situation(waited), failure: self.last_failure.load_full() }
    }

    /// What there is to be told about a wait that came to nothing.
    #[cold]
    pub(crate) fn situation(&self, waited: u64) -> Box<Situation> {
        let state = self.state();
        let of = |step| Progress { step, doing: "".into() };
        let checking = (state.checking > 0).then(|| of(Step::Check));
        let progress = checking.or_else(|| self.attempts.oldest()).unwrap_or_else(|| of(Step::Queued));
        let (waited, oldest_lease) = (Duration::from_nanos(waited), self.oldest_lease());
        Box::new(Situation { waited, progress, state, oldest_lease })
    }
}
