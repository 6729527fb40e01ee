//! Acquire without waiting.

use super::release::{Condition, Occasion};
use super::{Engine, hint};
use crate::driver::Driver;
use crate::slot::{Claim, Facts};

impl<D: Driver> Engine<D> {
    /// The fast path: an idle connection, if there is one and nobody waits.
    #[inline(always)] // see `Acquiring`
    pub(crate) fn acquire_at_once(&self, occasion: Occasion) -> Option<Claim<D::Connection>> {
        loop {
            let mut claim = self.core.claim_at_once(hint::take(self.core.table.id()))?;
            let slot = self.core.table.open(&mut claim);
            match self.condition_of(slot.facts, slot.connection, occasion) {
                Condition::Usable if self.core.may_keep(slot.facts) => {
                    let uses = slot.facts.uses.get() + 1;
                    slot.facts.uses.set(uses);
                    if uses >= slot.facts.next_look.get() {
                        // The last call, so that nothing has to be kept across it.
                        return Some(self.look_at_lease(claim));
                    }
                    return Some(claim);
                }
                // It broke, expired or was replaced while it was idle, or the pool is paused or closed: on to the next one, if there is one.
                other => self.set_aside(claim, other)?,
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn look_at_lease(&self, claim: Claim<D::Connection>) -> Claim<D::Connection> {
        let facts = self.core.table.facts(&claim);
        self.look_at_use(facts, facts.uses.get());
        claim
    }

    /// Counts a lease that begins.
    pub(super) fn count_use(&self, facts: &Facts) {
        let uses = facts.uses.get() + 1;
        facts.uses.set(uses);
        if uses >= facts.next_look.get() {
            self.look_at_use(facts, uses);
        }
    }

    /// As `acquire_at_once`, for somebody who does not wait: not even a connection that the pool is looking at itself at this moment is missed. Unless that takes
    /// long, because the thread that looks was stopped, say.
    #[cold]
    pub(crate) fn acquire_patiently(&self) -> Option<Claim<D::Connection>> {
        self.try_patiently(|| self.acquire_at_once(Occasion::WithoutWaiting))
    }

    /// Tries as long as the pool is looking at a connection itself, and that does not take long.
    pub(super) fn try_patiently<T>(&self, at_once: impl Fn() -> Option<T>) -> Option<T> {
        for _ in 0..PATIENCE {
            let ended = self.inspections.ended();
            let found = at_once();
            if found.is_some() || self.inspections.none_since(ended) {
                return found;
            }
            (0..BREATH).for_each(|_| std::hint::spin_loop());
        }
        None
    }
}

/// How often somebody tries who does not wait, and how many instants pass in between: some ten microseconds altogether.
const PATIENCE: u32 = 100;
const BREATH: u32 = 32;
