//! What a monitor of the pool's health asks of the engine.

use std::time::Duration;

use super::Engine;
use super::budget::within;
use super::panics::guarded;
use crate::driver::Driver;
use crate::slot::Claim;

/// A janitor that has not taken a turn for so long stands still, in nanoseconds; it takes one each second.
const STILL: u64 = 10_000_000_000;

impl<D: Driver> Engine<D> {
    /// Asks the backend for a sign of life on a connection that somebody has.
    ///
    /// Cancel safety: as [`Driver::ping`]; the connection is inspected when it is given back.
    pub(crate) async fn probe(&self, connection: &mut D::Connection, budget: Duration) -> Result<(), String> {
        let started = self.clock.now();
        // Owned across the await: nothing; the connection belongs to the caller.
        let outcome = guarded(within(budget, async { self.driver.ping(connection).await })).await;
        self.measures.check.note(self.clock.now().saturating_sub(started), 1);
        match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("the ping failed: {error}")),
            Ok(Err(_)) => Err(format!("no answer to a ping within {budget:?}")),
            Err(message) => Err(format!("the ping panicked: {message}")),
        }
    }

    /// Whether the pool would not keep the connection that is kept for checks if it came back: it is old, or of an earlier generation, or one too many, or nobody is to have one.
    pub(crate) fn is_reserve_spent(&self) -> bool {
        let Some(facts) = self.core.table.all_facts().find(|facts| self.is_reserved(facts.index())) else {
            return false;
        };
        let sight = self.core.gate().glance();
        sight.is_paused() || !sight.may_rest(facts.generation()) || facts.due_at() <= self.epoch.get()
    }

    /// One lease is kept for the checks, and nobody's.
    pub(crate) fn reserve_for_checks(&self, claim: Option<&Claim<D::Connection>>) {
        let slot = claim.map_or(0, |claim| self.core.table.index(claim) as u64 + 1);
        self.reserved.set(slot);
    }

    /// Whether a lease is kept for the checks.
    pub(super) fn reserves(&self) -> bool {
        self.reserved.get() != 0
    }

    /// Whether the slot is the one of the lease that is kept for the checks.
    pub(super) fn is_reserved(&self, slot: usize) -> bool {
        self.reserved.get() == slot as u64 + 1
    }

    /// The janitor takes a turn.
    pub(super) fn show_pulse(&self) {
        self.pulse.set(self.clock.now());
    }

    /// Whether the pool's background work goes on, as far as there is any.
    pub(crate) fn has_a_pulse(&self) -> bool {
        !self.janitor.is_taken() || self.clock.now().saturating_sub(self.pulse.get()) < STILL
    }
}
