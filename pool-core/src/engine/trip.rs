//! The breaker at work: callers are spared a wait while nothing can be opened.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Engine;
use super::panics::{tell_watchers, wake};
use crate::attempt::{Progress, Step};
use crate::counters::Flag;
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
    is_open: Flag,
    shown: watch::Sender<BreakerState>,
}

impl Trip {
    /// Where it stands now.
    pub(super) fn state(&self) -> BreakerState {
        *self.shown.borrow()
    }
}

impl<D: Driver> Engine<D> {
    /// Tells where the breaker stands.
    pub(super) fn show_breaker(&self, state: BreakerState) {
        if self.trip.state() == state {
            return;
        }
        // In this order: whoever is sent away finds it open.
        if !state.is_open() {
            self.trip.is_open.lower();
        }
        tell_watchers(|| self.trip.shown.send_replace(state));
        if state.is_open() {
            self.trip.is_open.raise();
        }
        self.tell();
    }

    /// Where the breaker stands.
    pub(crate) fn breaker(&self) -> BreakerState {
        self.trip.state()
    }

    /// To be told wherever the breaker stands from now on.
    pub(crate) fn watch_breaker(&self) -> watch::Receiver<BreakerState> {
        self.trip.shown.subscribe()
    }

    /// Whether one who joins now would wait for a backend that cannot be reached, as far as anybody knows. One who joins in the very moment when the breaker opens is told by the
    /// next attempt that fails.
    pub(super) fn spares_a_wait(&self) -> bool {
        let sight = self.core.gate().glance();
        let expects_one = self.trip.is_open.is_up() && !sight.is_paused() && !sight.is_closed();
        expects_one && self.nobody_returns() && self.denial.load().is_some()
    }

    /// Whether there is no connection that somebody could give back.
    pub(super) fn nobody_returns(&self) -> bool {
        self.core.capacity.read().live() == 0
    }

    /// Notes what those are told who are denied a connection from now on.
    pub(super) fn note_denial(&self, failure: &Arc<OpenFailure>) {
        drop_quietly(self.denial.swap(Some(Arc::clone(failure))));
    }

    /// Tells everybody who waits now that there is no connection, instead of letting each find out by its timeout.
    pub(super) fn deny_waiters(&self) {
        for _ in 0..self.core.gate().glance().waiting() {
            match self.core.deny(Denial::Failed) {
                Denied::Told(waker) => waker.into_iter().for_each(wake),
                Denied::Nobody => return,
            }
        }
    }

    /// What one is told who has been denied a connection, after so many nanoseconds.
    #[cold]
    pub(super) fn denied(&self, failure: Arc<OpenFailure>, waited: u64) -> AcquireError {
        let situation = self.situation(waited);
        match failure.class() {
            ErrorClass::Permanent => AcquireError::OpenFailed { situation, failure },
            ErrorClass::Transient => AcquireError::BreakerOpen { situation, failure },
        }
    }

    /// What there is to be told about a wait that came to nothing.
    #[cold]
    pub(super) fn situation(&self, waited: u64) -> Box<Situation> {
        let state = self.state();
        let of = |step| Progress { step, doing: "".into() };
        let checking = (state.checking > 0).then(|| of(Step::Check));
        let progress = checking.or_else(|| self.attempts.oldest()).unwrap_or_else(|| of(Step::Queued));
        let (waited, oldest_lease) = (Duration::from_nanos(waited), self.oldest_lease());
        Box::new(Situation { waited, progress, state, oldest_lease })
    }
}
