//! The janitor's rounds: what every idle connection needs.

use std::sync::Arc;

use tokio::time::Instant;

use super::Engine;
use super::maintain::Tended;
use super::release::{Condition, Occasion};
use super::uncollected::Uncollected;
use crate::config::Config;
use crate::driver::Driver;
use crate::lifetime::{IdleFacts, RetireReason, Verdict, judge, maintenance_interval, millis};
use crate::sizes::surplus;
use crate::slot::Claim;
use crate::warmth::Warmth;

pub(super) struct Rounds {
    /// When to look after the idle connections next.
    next: Instant,
    /// The settings by which that was decided.
    settings: u64,
    started: Instant,
    /// The epoch when this janitor started: an epoch never goes back, even if the clock of another runtime does.
    first_epoch: u64,
    /// That of the last round.
    last_epoch: u64,
    warmth: Warmth,
    uncollected: Uncollected,
}

/// What came of a look at an idle connection.
#[derive(PartialEq, Eq)]
enum Attended {
    Kept,
    Retired,
}

impl Rounds {
    pub(super) fn new(first_epoch: u64) -> Self {
        let now = Instant::now();
        Self {
            next: now,
            settings: 0,
            started: now,
            first_epoch,
            last_epoch: first_epoch,
            warmth: Warmth::default(),
            uncollected: Uncollected::default(),
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Advances the epoch and looks after every idle connection, the coldest first, when it is time to. Whether it was.
    pub(super) fn make<D: Driver>(&mut self, engine: &Arc<Engine<D>>) -> bool {
        let now = Instant::now();
        engine.epoch.set(self.first_epoch + millis(now - self.started));
        let sight = engine.core.gate().look_after_publishing();
        let (closed, settings) = (sight.is_closed(), engine.reconfigured.get());
        if now < self.next && settings == self.settings && !closed {
            return false;
        }
        self.settings = settings;
        engine.heed_driver();
        let config = engine.config.load();
        self.next = now + maintenance_interval(&config);
        engine.core.table.tidy_line(2 * engine.core.table.size());
        let (counts, room) = (engine.core.table.counts(), engine.core.capacity.read());
        // Not those that are leased at this instant: of short leases one hardly ever sees any.
        let used = engine.core.table.used_since(self.last_epoch);
        self.last_epoch = engine.epoch.get();
        engine.core.table.remember_up_to(self.warmth.note(used));
        // Those that are there and stay.
        let size = room.live();
        engine.note_unused(counts.idle.min(size.saturating_sub(used)));
        let mut surplus = surplus(size, counts.idle, &config);
        let tending = Tending { engine, config: &config, closed, paused: sight.is_paused() };
        engine.note_holders();
        engine.look_for_leaks();
        self.uncollected.look(engine, config.collect_within);
        let _inspection = engine.inspections.begin();
        for index in (0..engine.core.table.size()).rev() {
            // Claimed first, judged after: the slot may have been used since it was last looked at.
            if let Some(claim) = engine.core.table.claim_at(index)
                && tending.attend(claim, surplus > 0) == Attended::Retired
            {
                surplus = surplus.saturating_sub(1);
            }
        }
        engine.tell_of_round();
        true
    }
}

/// One round.
struct Tending<'a, D: Driver> {
    engine: &'a Arc<Engine<D>>,
    config: &'a Config,
    closed: bool,
    paused: bool,
}

impl<D: Driver> Tending<'_, D> {
    /// Does what an idle connection needs.
    fn attend(&self, mut claim: Claim<D::Connection>, surplus: bool) -> Attended {
        let engine = self.engine;
        let condition = engine.condition(&mut claim, Occasion::Round);
        match self.verdict(&claim, condition, surplus) {
            Verdict::Ping if !self.paused => engine.tasks.spawn(Tended::new(engine, claim).ping()),
            Verdict::Keep | Verdict::Ping if condition == Condition::Usable => engine.put_back_judged(claim),
            Verdict::Keep | Verdict::Ping => drop(engine.set_aside(claim, condition)),
            Verdict::Retire(reason) => {
                engine.retire(claim, reason);
                return Attended::Retired;
            }
        }
        Attended::Kept
    }

    fn verdict(&self, claim: &Claim<D::Connection>, condition: Condition, surplus: bool) -> Verdict {
        match condition {
            // It has to go for a reason of its own, and does not count as one that is there.
            Condition::Retired(reason) => Verdict::Retire(reason),
            _ if self.closed => Verdict::Retire(RetireReason::Closed),
            Condition::Usable => judge(self.idle_facts(claim, surplus), self.engine.epoch.get(), self.config),
            _ => Verdict::Keep,
        }
    }

    fn idle_facts(&self, claim: &Claim<D::Connection>, surplus: bool) -> IdleFacts {
        let facts = self.engine.core.table.facts(claim);
        let (released_at, checked_at, expires_at) =
            (facts.released_at.get(), facts.checked_at.get(), facts.expires_at.get());
        IdleFacts { released_at, checked_at, expires_at, surplus }
    }
}
