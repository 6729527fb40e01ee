//! The janitor's part in opening connections: when to start attempts, and what to do about those that fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::open::Opener;
use super::panics::report;
use super::part::Demanded;
use super::spans::class_label;
use super::warnings::Warning;
use crate::backoff::{Backoff, Pauses};
use crate::breaker::Breaker;
use crate::config::Config;
use crate::driver::{Driver, ErrorClass};
use crate::failure::OpenFailure;

pub(super) struct Openers {
    backoff: Backoff,
    breaker: Breaker,
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

/// From the start of one attempt to that of the next, at the least.
fn distance(config: &Config) -> Duration {
    config.opener_interval.unwrap_or(Duration::ZERO)
}

impl Openers {
    pub(super) fn new<D: Driver>(engine: &Engine<D>) -> Self {
        let (breaker, now) = (Breaker::new(engine.events.broken.get()), Instant::now());
        engine.show_breaker(breaker.state());
        Self {
            backoff: Backoff::default(),
            breaker,
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
        engine.know_until(None);
        self.pause_until(Instant::now(), Instant::now());
        true
    }

    pub(super) fn recovered<D: Driver>(&mut self, engine: &Engine<D>) {
        let failures = self.backoff.failures();
        let was_open = self.breaker.succeeded(engine.events.broken.get());
        if failures > 0 {
            report(|| tracing::info!(failures, breaker_closed = was_open, "connections can be opened again"));
        }
        engine.show_breaker(self.breaker.state());
        engine.know_until(None);
        self.backoff.succeeded();
        self.pause_until(Instant::now(), Instant::now());
    }

    pub(super) fn failed<D: Driver>(&mut self, engine: &Engine<D>, failure: &Arc<OpenFailure>) {
        // Whether it may pass by itself is what one wants to know first.
        engine.write_down("open", &format_args!("{}: {failure}", class_label(failure.class())));
        let (config, now) = (engine.config.load(), Instant::now());
        let failing_for = self.breaker.failing_for(now);
        let Pauses { patient, awaited } = self.backoff.failed(&config, failing_for, engine.random.next());
        self.pause_until(now + patient, now + awaited);
        let probe_at = self.not_before.max(self.last.map_or(now, |last| last + distance(&config)));
        if failure.class() == ErrorClass::Full {
            self.breaker.crowded(now, probe_at);
        } else if self.breaker.failed(&config, now, probe_at, engine.events.broken.get()) {
            engine.events.breaker_openings.add(1);
            let failures = self.backoff.failures();
            engine.warn(Warning::Breaker, |suppressed| {
                tracing::warn!(error = %failure, failures, suppressed, "the breaker has opened: callers do not wait any more");
            });
        }
        if self.backoff.is_notable() {
            let failures = self.backoff.failures();
            report(|| tracing::warn!(error = %failure, failures, ?patient, ?awaited, "could not open a connection"));
        }
        self.send_away(engine, failure);
        // It may be full, or not any more.
        engine.tell_followers();
    }

    /// Tells those who wait that nothing can be opened, if that is known.
    fn send_away<D: Driver>(&self, engine: &Engine<D>, failure: &Arc<OpenFailure>) {
        // In a pause nobody expects a backend; after it the next attempt tells.
        let paused = engine.core.gate().glance().is_paused();
        let is_permanent = failure.class() == ErrorClass::Permanent;
        let tells = is_permanent || self.breaker.is_open();
        if tells {
            engine.note_denial(failure);
        }
        engine.know_until(is_permanent.then_some(self.not_before));
        // After that: who comes from now on finds the failure there. And before those who wait are told, who say where it stands.
        engine.show_breaker(self.breaker.state());
        if tells && engine.nobody_returns() && !paused {
            engine.deny_waiters();
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
                return engine.want_no_shares();
            }
            let Some(opener) = engine.reserve_opener(at_once, self.wanted(engine, now)) else { break };
            engine.crowd.lower();
            engine.warm_ups.count(now, engine.core.capacity.read().open - 1);
            self.run(opener);
        }
        if engine.has_a_budget() {
            engine.want_shares(&Demanded { warm: self.wanted(engine, Instant::now()), at_once });
        }
        self.held_until = engine.warm_ups.next(Instant::now());
    }

    /// How many connections there are to be, whoever waits. With an open breaker it is one more than there are: nobody waits, and somebody has to try.
    fn wanted<D: Driver>(&self, engine: &Engine<D>, now: Instant) -> usize {
        if self.breaker.wants_a_probe() { usize::MAX } else { engine.warm_ups.wanted(now) }
    }

    /// Other settings may be in force.
    pub(super) fn follow<D: Driver>(&mut self, engine: &Engine<D>) {
        if self.breaker.is_open() && self.breaker.follow(&engine.config.load(), Instant::now()) {
            report(|| tracing::info!("the breaker has been closed by other settings"));
            engine.show_breaker(self.breaker.state());
        }
    }

    /// Starts one attempt.
    pub(super) fn run<D: Driver>(&mut self, opener: Opener<D>) {
        self.last = Some(Instant::now());
        let engine = opener.engine();
        self.breaker.attempt();
        engine.show_breaker(self.breaker.state());
        engine.tasks.spawn(opener.traced(self.backoff.failures()).run());
    }

    /// How many attempts there may be at the same time.
    pub(super) fn at_once<D: Driver>(&self, engine: &Engine<D>) -> usize {
        self.backoff.openers(&engine.config.load())
    }

    /// Whether an attempt may start now, by the backoff and by the distance to the last one.
    pub(super) fn may_start<D: Driver>(&mut self, engine: &Engine<D>, now: Instant) -> bool {
        let next = self.last.map_or(now, |last| last + distance(&engine.config.load()));
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
