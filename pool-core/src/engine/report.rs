//! What the engine says about itself, read from the slots' words.

use std::time::Duration;

use super::Engine;
use super::panics::{caught, report};
use super::retire::Author;
use crate::counters::{Counter, Figure};
use crate::driver::Driver;
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Counts, Facts};
use crate::stats::{Errors, PoolState, Stats};

impl<D: Driver> Engine<D> {
    /// Where the connections are.
    pub(crate) fn state(&self) -> PoolState {
        self.state_of(&self.core.table.counts())
    }

    fn state_of(&self, counts: &Counts) -> PoolState {
        let sight = self.core.gate().glance();
        let reserved = self.reserved().min(counts.leased);
        let checkers = usize::try_from(self.checkers.waiting.under_way()).unwrap_or(usize::MAX);
        let (mut shared, mut users, mut room) = (0, 0, 0);
        for party in self.core.sharing.parties() {
            shared += 1;
            users += party.users();
            room += if party.is_shut() { 0 } else { self.core.sharing.most().saturating_sub(party.users()) };
        }
        PoolState {
            size: counts.opening + counts.idle + counts.leased + counts.resetting + counts.closing,
            idle: counts.idle,
            leased: counts.leased - reserved,
            shared,
            users,
            room,
            places: self.core.sharing.most(),
            reserved,
            opening: counts.opening,
            in_maintenance: counts.resetting + counts.closing,
            checking: usize::try_from(self.checks.under_way()).unwrap_or(usize::MAX),
            waiting: sight.waiting().saturating_sub(checkers),
            in_line: self.in_line().callers,
            max_size: self.core.capacity.read().max,
            paused: sight.is_paused(),
            closed: sight.is_closed(),
            breaker: self.breaker(),
            budget_exhausted: self.is_budget_exhausted(),
        }
    }

    /// How many connections have broken, and how many could not be opened.
    pub(crate) fn troubles(&self) -> u64 {
        self.events.broken.get() + self.errors().open_failures()
    }

    /// Where the connections are and what happened so far.
    pub(crate) fn stats(&self) -> Stats {
        let measures = &self.measures;
        Stats {
            wait: measures.waits().distribution(),
            hold: measures.hold.distribution(),
            open: measures.open.distribution(),
            check: measures.check.distribution(),
            execution: measures.execution.executions(),
            ..self.counts()
        }
    }

    /// The same without how long it took, which takes a while to find out.
    pub(crate) fn counts(&self) -> Stats {
        let counts = self.core.table.counts();
        let (events, measures, facts) = (&self.events, &self.measures, || self.core.table.all_facts());
        let in_slots = |figure: fn(&Facts) -> &Figure| facts().map(|facts| figure(facts).get()).sum::<u64>();
        let acquired = self.served().saturating_sub(self.core.sharing.sent.under_way());
        let shared_waits = events.shared_waits.get();
        let served = in_slots(|facts| &facts.waits);
        let errors = self.errors();
        Stats {
            state: self.state_of(&counts),
            acquired,
            immediate: acquired.saturating_sub(served + shared_waits),
            waited: events.waited.get() + served,
            wait_time: measures.wait.total() + measures.line.total(),
            timeouts: events.timeouts.get(),
            cancelled: events.cancelled.get(),
            shed: events.shed.get(),
            failed: events.failed.get(),
            refused: events.refused.get(),
            opened: counts.opened,
            adopted: events.adopted.get(),
            closed: counts.closed,
            detached: events.detached.get(),
            broken: events.broken.get(),
            expired: events.expired.get(),
            worn: events.worn.get(),
            idle_timed_out: events.idle_timed_out.get(),
            excess: events.excess.get(),
            outdated: events.outdated.get(),
            evicted: events.evicted.get(),
            pool_closed: events.pool_closed.get(),
            open_failures: errors.open_failures(),
            breaker_openings: events.breaker_openings.get(),
            leaks: events.leaks.get(),
            reclaimed: events.reclaimed.get(),
            self_waits: events.self_waits.get(),
            preferred: events.preferred.get(),
            missed: events.missed.get(),
            converted: events.converted.get(),
            answered: events.answered.get(),
            uncollected: events.uncollected.get(),
            slow_acquires: events.slow_acquires.get(),
            errors,
            ..Stats::default()
        }
    }

    fn errors(&self) -> Errors {
        let errors = &self.events.errors;
        Errors {
            open_transient: errors.transient.get(),
            open_permanent: errors.permanent.get(),
            open_timeouts: errors.open_timeouts.get(),
            open_panics: errors.open_panics.get(),
            open_hooks: errors.open_hooks.get(),
            open_abandoned: errors.abandoned.get(),
            resets: errors.resets.get(),
            pings: errors.pings.get(),
            inspections: errors.inspections.get(),
            conversions: errors.conversions.get(),
        }
    }

    /// Counts a reset or a ping that did not work.
    pub(super) fn count_failure(&self, what: &str) {
        let errors = &self.events.errors;
        let counter = if what == "ping" { &errors.pings } else { &errors.resets };
        counter.add(1);
    }

    /// Counts a connection that is going to be closed.
    pub(super) fn count_close(&self, claim: &Claim<D::Connection>, reason: RetireReason) {
        let reason = match reason {
            RetireReason::Expired if self.is_outdated(claim) => RetireReason::Outdated,
            RetireReason::Replaced(due) => due.reason(),
            other => other,
        };
        self.closes_for(reason).add(1);
    }

    fn closes_for(&self, reason: RetireReason) -> &Counter {
        let events = &self.events;
        match reason {
            RetireReason::Broken => &events.broken,
            RetireReason::Expired | RetireReason::Replaced(_) => &events.expired,
            RetireReason::Worn => &events.worn,
            RetireReason::Idle => &events.idle_timed_out,
            RetireReason::Closed => &events.pool_closed,
            RetireReason::Excess => &events.excess,
            RetireReason::Outdated => &events.outdated,
            RetireReason::Evicted => &events.evicted,
        }
    }

    /// Counts one who was refused at once: that was no wait, and how long it took is not how long a wait takes.
    pub(super) fn count_refusal(&self) {
        self.events.waited.add(1);
    }

    /// Counts a wait that ended without a connection; the others are counted in their slots.
    pub(super) fn count_wait(&self, nanos: u64) {
        self.events.waited.add(1);
        self.measures.wait.note(nanos, 1);
    }

    /// Lets the driver note what it measures, before it is asked for anything else.
    pub(crate) fn attach_driver(&self) {
        if let Err(message) = caught(|| self.driver.attach(self.measures.execution.clone())) {
            report(|| {
                tracing::error!(
                    panic = message,
                    "attaching a driver to the statistics panicked; it may measure nothing"
                );
            });
        }
    }

    /// Does what the driver has asked for.
    pub(super) fn heed_driver(&self) {
        if let Some(interval) = self.measures.execution.take_demand() {
            report(|| tracing::info!(?interval, "the driver has all connections replaced"));
            self.retire_all_over(interval, Author::Driver);
        }
    }

    /// Notes how long something took that a connection was used for.
    pub(crate) fn record_execution(&self, time: Duration) {
        self.measures.execution.record_execution(time);
    }
}
