//! The spans of a pool: what is asked of it, and what it does because of that.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::field::{Empty, display};
use tracing::{Level, Span};

use super::clock::{Clock, nanos};
use super::open::Purpose;
use super::panics::caught;
use super::warnings::Warning;
use super::{Conn, Engine};
use crate::connection::ConnectionId;
use crate::driver::{Driver, ErrorClass};
use crate::error::AcquireError;
use crate::failure::OpenFailure;
use crate::slot::Claim;
use crate::trace::{Traced, may_be_wanted};

/// One who asks for a connection, if somebody wants to see that. Dropped before it has been told what has come of it, it was given up.
pub(crate) struct Asking {
    span: Arc<Traced>,
    began: Instant,
    has_ended: bool,
    /// Among the causes, for one for whom the pool may have to do something.
    cause: Option<(Arc<Causes>, u64)>,
}

/// Those who wait, and for whom the pool may have to do something and does not yet. However many there are, whoever comes, goes or is next is found at once.
#[derive(Default)]
pub(super) struct Causes(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    /// How many have come.
    came: u64,
    /// By their numbers, in the order in which they came.
    untaken: BTreeMap<u64, Arc<Traced>>,
}

impl Causes {
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more waits. Its number.
    fn add(&self, span: &Arc<Traced>) -> u64 {
        let mut waiters = self.waiters();
        waiters.came += 1;
        let number = waiters.came;
        waiters.untaken.insert(number, Arc::clone(span));
        number
    }

    /// The one who has waited for longest of those for whom there is no attempt.
    fn next(&self) -> Option<Arc<Traced>> {
        self.waiters().untaken.pop_first().map(|(_, span)| span)
    }

    fn remove(&self, number: u64) -> Option<Arc<Traced>> {
        self.waiters().untaken.remove(&number)
    }
}

/// What has come of asking for a connection, as the statistics count it.
fn outcome_of(error: &AcquireError) -> &'static str {
    match error {
        AcquireError::Timeout { .. } => "timeout",
        AcquireError::Shed { .. } | AcquireError::Unavailable { .. } => "shed",
        AcquireError::Closed | AcquireError::NoRuntime { .. } | AcquireError::SelfWait { .. } => "refused",
        _ => "failed",
    }
}

const GIVEN_UP: &str = "cancelled";

impl Asking {
    fn new(span: Traced) -> Option<Box<Self>> {
        // Somebody may listen, and not to this: that costs neither an allocation nor a look at the clock.
        span.is_wanted()
            .then(|| Box::new(Self { span: Arc::new(span), began: Instant::now(), has_ended: false, cause: None }))
    }

    /// Begins to ask.
    #[inline]
    pub(crate) fn begin<D: Driver>(engine: &Engine<D>, place: &'static Location<'static>) -> Option<Box<Self>> {
        if may_be_wanted() { Self::begin_seen(engine, place) } else { None }
    }

    #[cold]
    fn begin_seen<D: Driver>(engine: &Engine<D>, place: &'static Location<'static>) -> Option<Box<Self>> {
        let mut asking = Self::new(Traced::new(|| acquire_span(engine.core.table.id(), place)))?;
        asking.cause = Some((Arc::clone(&engine.causes), engine.causes.add(&asking.span)));
        Some(asking)
    }

    /// Begins to wait in front of the pool.
    pub(crate) fn begin_in_line<D: Driver>(engine: &Engine<D>, place: &'static Location<'static>) -> Option<Box<Self>> {
        let pool = engine.core.table.id();
        let span = || {
            tracing::span!(target: "pool_core::span", Level::DEBUG, "pool.schedule",
                pool, %place, outcome = Empty, wait_us = Empty, "otel.status_code" = Empty)
        };
        if may_be_wanted() { Self::new(Traced::new(span)) } else { None }
    }

    /// It has a connection.
    pub(crate) fn served(&mut self, connection: ConnectionId, has_waited: bool) {
        let outcome = if has_waited { "waited" } else { "immediate" };
        self.end(outcome, |span| {
            span.record("connection", display(connection));
        });
    }

    /// Its turn has come.
    pub(crate) fn admitted(&mut self) {
        self.end("admitted", |_| {});
    }

    /// It has none.
    pub(crate) fn failed(&mut self, error: &AcquireError) {
        self.end(outcome_of(error), |span| {
            span.record("otel.status_code", "ERROR");
        });
    }

    fn end(&mut self, outcome: &'static str, more: impl FnOnce(&Span)) {
        self.has_ended = true;
        let wait = micros(nanos(self.began.elapsed()));
        self.span.tell(|span| {
            span.record("outcome", outcome).record("wait_us", wait);
            more(span);
        });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(GIVEN_UP, |_| {});
        }
        if let Some((causes, number)) = self.cause.take() {
            // Dropped outside of the lock: its subscriber is foreign.
            drop(causes.remove(number));
        }
    }
}

fn micros(nanos: u64) -> u64 {
    nanos / 1000
}

fn acquire_span(pool: u64, place: &'static Location<'static>) -> Span {
    tracing::span!(target: "pool_core::span", Level::DEBUG, "pool.acquire",
        pool, %place, outcome = Empty, wait_us = Empty, connection = Empty, "otel.status_code" = Empty)
}

impl<D: Driver> Engine<D> {
    /// Tells of a claim that was had at once.
    #[cold]
    #[inline(never)] // as `look_at_lease`: on the fast path there is only the question whether anybody wants to know
    pub(crate) fn tell_at_once(&self, claim: Claim<Conn<D>>, place: &'static Location<'static>) -> Claim<Conn<D>> {
        self.tell_place_at_once(self.id(&claim), place);
        claim
    }

    #[cold]
    pub(crate) fn tell_place_at_once(&self, connection: ConnectionId, place: &'static Location<'static>) {
        Traced::new(|| acquire_span(self.core.table.id(), place)).tell(|span| {
            span.record("outcome", "immediate").record("wait_us", 0).record("connection", display(connection));
        });
    }

    /// Tells of one who did not want to wait.
    #[cold]
    pub(crate) fn tell_refused(&self, error: &AcquireError, place: &'static Location<'static>) {
        if may_be_wanted() {
            Traced::new(|| acquire_span(self.core.table.id(), place)).tell(|span| {
                span.record("outcome", outcome_of(error)).record("wait_us", 0).record("otel.status_code", "ERROR");
            });
        }
    }

    /// Counts an acquire that was slow, and tells of it. In nanoseconds.
    #[cold]
    pub(super) fn note_slow(&self, waited: u64, place: &'static Location<'static>, outcome: &'static str) {
        if waited < self.slow_acquire.get() {
            return;
        }
        self.events.slow_acquires.add(1);
        self.warn(Warning::SlowAcquire, |suppressed| {
            let (waited_ms, state) = (waited / 1_000_000, self.state());
            tracing::warn!(%place, waited_ms, outcome, pool = %state, suppressed, "an acquire was slow");
        });
    }

    /// As [`note_slow`](Self::note_slow), by what has come of it.
    pub(crate) fn note_slow_end<T>(
        &self,
        waited: u64,
        place: &'static Location<'static>,
        outcome: Option<&Result<T, AcquireError>>,
    ) {
        let outcome = outcome.map_or(GIVEN_UP, |outcome| outcome.as_ref().map_or_else(outcome_of, |_| "waited"));
        self.note_slow(waited, place, outcome);
    }

    /// Whether a wait that has begun then may be a slow one, by the pool's clock. That may be as late as a round.
    #[inline]
    pub(super) fn may_be_slow(&self, started: u64) -> bool {
        let now = Clock::of_epoch(self.epoch.get()).saturating_add(ROUND);
        now.saturating_sub(started) >= self.slow_acquire.get()
    }

    /// The span of an attempt to open a connection, after so many that have failed.
    pub(super) fn begin_opening(&self, purpose: Purpose, failures: u32) -> Traced {
        if !may_be_wanted() {
            return Traced::none();
        }
        let (pool, is_wanted, purpose) = (self.core.table.id(), purpose == Purpose::Demand, purpose.label());
        let attempt = u64::from(failures) + 1;
        let span = || {
            tracing::span!(target: "pool_core::span", parent: None, Level::DEBUG, "pool.open",
                pool, purpose, attempt, outcome = Empty, class = Empty, host = Empty, connection = Empty,
                took_us = Empty, "otel.status_code" = Empty)
        };
        // Who waits is a cause, and who replaces an old one needs none.
        let cause = if is_wanted { self.causes.next() } else { None };
        cause.map_or_else(|| Traced::new(span), |cause| cause.followed_by(span))
    }

    /// Tells of a connection that was opened.
    pub(super) fn tell_opened(&self, opening: &Traced, claim: &Claim<Conn<D>>, took: u64) {
        if opening.is_wanted() {
            let connection = self.id(claim);
            let host = caught(|| self.driver.host(self.core.table.get(claim)).map(str::to_owned)).ok().flatten();
            opening.tell(|span| {
                span.record("outcome", "opened")
                    .record("took_us", micros(took))
                    .record("connection", display(connection));
                span.record("host", host.as_deref());
            });
        }
    }
}

/// Tells of an attempt that has failed. Not why, in words: those are a driver's.
pub(super) fn tell_unopened(opening: &Traced, failure: &OpenFailure, took: u64) {
    opening.tell(|span| {
        span.record("outcome", failure_label(failure)).record("took_us", micros(took));
        span.record("class", class_label(failure.class())).record("otel.status_code", "ERROR");
    });
}

/// How late the clock of the pool may be, in nanoseconds.
const ROUND: u64 = 1_000_000_000;

fn failure_label(failure: &OpenFailure) -> &'static str {
    match failure {
        OpenFailure::Driver { .. } => "failed",
        OpenFailure::Hook(_) => "hook",
        OpenFailure::TimedOut { .. } => "timeout",
        OpenFailure::Panicked { .. } => "panicked",
        OpenFailure::Abandoned => "abandoned",
    }
}

pub(super) fn class_label(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Permanent => "permanent",
        ErrorClass::Full => "full",
        ErrorClass::Transient => "transient",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_cause_is_the_one_that_has_waited_for_longest_and_has_not_gone() {
        let causes = Causes::default();
        let spans: Vec<_> = (0..4).map(|_| Arc::new(Traced::none())).collect();
        let numbers: Vec<_> = spans.iter().map(|span| causes.add(span)).collect();
        let is_next = |place: usize| causes.next().is_some_and(|span| Arc::ptr_eq(&span, &spans[place]));
        assert!(is_next(0) && causes.remove(numbers[0]).is_none(), "it has been taken");
        assert!(causes.remove(numbers[2]).is_some() && causes.remove(numbers[2]).is_none());
        assert!(is_next(1) && is_next(3) && causes.next().is_none());
    }
}
