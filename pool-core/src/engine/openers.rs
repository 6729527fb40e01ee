//! The janitor's part in opening connections: when to start attempts, and what to do about those that fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::open::Opener;
use super::panics::{report, wake};
use crate::backoff::{Backoff, Pauses};
use crate::driver::{Driver, ErrorClass};
use crate::error::OpenFailure;
use crate::foreign::drop_quietly;
use crate::handoff::{Denial, Denied};

pub(super) struct Openers {
    backoff: Backoff,
    /// Since when attempts to open a connection have failed.
    failing_since: Option<Instant>,
    /// No attempt starts before, because others have failed.
    not_before: Instant,
    /// The same while somebody waits.
    not_before_awaited: Instant,
    /// When the last one started.
    last: Option<Instant>,
    /// When one may start that may not now, to keep a distance.
    held_until: Option<Instant>,
    /// How often it was said that an attempt need not wait because others have failed.
    fresh_starts: u64,
}

impl Openers {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            backoff: Backoff::default(),
            failing_since: None,
            not_before: now,
            not_before_awaited: now,
            last: None,
            held_until: None,
            fresh_starts: 0,
        }
    }

    fn pause_until(&mut self, patient: Instant, awaited: Instant) {
        (self.not_before, self.not_before_awaited) = (patient, awaited);
    }

    /// When the next attempt may start, by the backoff.
    fn not_before<D: Driver>(&self, engine: &Engine<D>) -> Instant {
        if engine.core.gate().glance().to_be_served() > 0 { self.not_before_awaited } else { self.not_before }
    }

    /// Hears whether the next attempt may begin although others have failed. `true` if so.
    pub(super) fn hear<D: Driver>(&mut self, engine: &Engine<D>) -> bool {
        let said = engine.fresh_starts.get();
        if said == self.fresh_starts {
            return false;
        }
        self.fresh_starts = said;
        self.pause_until(Instant::now(), Instant::now());
        true
    }

    pub(super) fn recovered(&mut self) {
        let failures = self.backoff.failures();
        if failures > 0 {
            report(|| tracing::info!(failures, "connections can be opened again"));
        }
        self.backoff.succeeded();
        self.failing_since = None;
        self.pause_until(Instant::now(), Instant::now());
    }

    pub(super) fn failed<D: Driver>(&mut self, engine: &Engine<D>, failure: &Arc<OpenFailure>) {
        let now = Instant::now();
        let failing_for = now.saturating_duration_since(*self.failing_since.get_or_insert(now));
        let Pauses { patient, awaited } = self.backoff.failed(&engine.config.load(), failing_for, engine.random.next());
        self.pause_until(now + patient, now + awaited);
        if self.backoff.is_notable() {
            let failures = self.backoff.failures();
            report(|| tracing::warn!(error = %failure, failures, ?patient, ?awaited, "could not open a connection"));
        }
        let nobody_returns = engine.core.capacity.read().live() == 0;
        // In a pause nobody expects a backend; after it the next attempt tells.
        let paused = engine.core.gate().glance().is_paused();
        if failure.class() == ErrorClass::Permanent && nobody_returns && !paused {
            deny_waiters(engine, failure);
        }
    }

    /// Starts those attempts that are wanted and may start now.
    pub(super) fn start<D: Driver>(&mut self, engine: &Arc<Engine<D>>) {
        self.held_until = None;
        let at_once = self.at_once(engine);
        // No more than may be under way at once: a runtime that is ending drops what it is given, and the next one would be wanted at once, for ever.
        for _ in 0..at_once {
            let now = Instant::now();
            if !self.may_start(engine, now) {
                return;
            }
            let Some(opener) = engine.reserve_opener(at_once, engine.warm_ups.wanted(now)) else { break };
            engine.warm_ups.count(now, engine.core.capacity.read().open - 1);
            self.run(opener);
        }
        self.held_until = engine.warm_ups.next(Instant::now());
    }

    /// Starts one attempt.
    pub(super) fn run<D: Driver>(&mut self, opener: Opener<D>) {
        self.last = Some(Instant::now());
        let engine = opener.engine();
        engine.tasks.spawn(opener.run());
    }

    /// How many attempts there may be at the same time.
    pub(super) fn at_once<D: Driver>(&self, engine: &Engine<D>) -> usize {
        self.backoff.openers(&engine.config.load())
    }

    /// Whether an attempt may start now, by the backoff and by the distance to the last one.
    pub(super) fn may_start<D: Driver>(&mut self, engine: &Engine<D>, now: Instant) -> bool {
        let interval = engine.config.load().opener_interval.unwrap_or(Duration::ZERO);
        let next = self.last.map_or(now, |last| last + interval);
        if next > now {
            self.held_until = Some(next);
        }
        now >= self.not_before(engine) && next <= now
    }

    /// Whether none may start because others have failed.
    pub(super) fn are_backing_off<D: Driver>(&self, engine: &Engine<D>) -> bool {
        self.not_before(engine) > Instant::now()
    }

    /// When an attempt may start that may not now.
    pub(super) fn next_wake_up<D: Driver>(&self, engine: &Engine<D>, now: Instant) -> Option<Instant> {
        [Some(self.not_before(engine)), self.held_until].into_iter().flatten().filter(|moment| *moment > now).min()
    }
}

/// Tells everybody who waits now why there is no connection, instead of letting each find out by its timeout.
fn deny_waiters<D: Driver>(engine: &Engine<D>, failure: &Arc<OpenFailure>) {
    drop_quietly(engine.denial.swap(Some(Arc::clone(failure))));
    for _ in 0..engine.core.gate().glance().waiting() {
        match engine.core.deny(Denial::Failed) {
            Denied::Told(waker) => waker.into_iter().for_each(wake),
            Denied::Nobody => return,
        }
    }
}
