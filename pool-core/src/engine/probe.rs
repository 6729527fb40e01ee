//! What a monitor of the pool's health asks of the engine.

use std::time::Duration;

use arc_swap::ArcSwap;

use super::Engine;
use super::budget::within;
use super::panics::guarded;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::failure::{Chain, OneLine};
use crate::slot::Claim;

/// A janitor that has not taken a turn for so long stands still, in nanoseconds; it takes one each second.
const STILL: u64 = 10_000_000_000;

/// The connections that monitors keep for their checks, and others for what lasts: nobody's leases. Looked at by those who have waited in vain, and by monitors.
#[derive(Debug, Default)]
pub(super) struct Reserves(ArcSwap<Vec<ConnectionId>>);

impl<D: Driver> Engine<D> {
    /// Asks the backend for a sign of life on a connection that somebody has.
    ///
    /// Cancel safety: as [`Driver::ping`]; the connection is inspected when it is given back.
    pub(crate) async fn probe(&self, connection: &mut D::Connection, budget: Duration) -> Result<(), String> {
        let started = self.clock.now();
        // Owned across the await: nothing; the connection belongs to the caller.
        let outcome = guarded(async {
            match within(budget, async { self.driver.ping(connection).await }).await {
                Ok(Ok(())) => Ok(()),
                // Shown and dropped in here: it is foreign code.
                Ok(Err(error)) => Err(format!("the ping failed: {}", Chain(&error))),
                Err(_) => Err(format!("no answer to a ping within {budget:?}")),
            }
        });
        let outcome = outcome.await;
        self.measures.check.note(self.clock.now().saturating_sub(started), 1);
        outcome.unwrap_or_else(|message| Err(format!("the ping panicked: {}", OneLine(&message))))
    }

    /// Whether the pool would not keep this connection, which is kept for checks, if it came back, or needs it: it is old, or of an earlier generation, or one too many, or the only one that
    /// there may be or can be, or nobody is to have one.
    pub(crate) fn is_reserve_spent(&self, reserve: ConnectionId) -> bool {
        let Some(facts) = self.core.table.all_facts().find(|facts| facts.index() == reserve.slot) else {
            return false;
        };
        let sight = self.core.gate().glance();
        let unwanted = sight.is_paused() || !sight.may_rest(facts.generation());
        unwanted || facts.due_at() <= self.epoch.get() || self.config.load().max_size == 1 || self.needs_reserves()
    }

    /// Whether somebody who keeps this connection for something that lasts has to give it back: nobody is to have one, or it is retired, or all
    /// that there may be are kept.
    pub(crate) fn is_wanted_back(&self, claim: &Claim<D::Connection>) -> bool {
        self.is_out_of_service() || self.reserved() >= self.config.load().max_size || self.is_retired(claim)
    }

    /// Whether somebody waits, no other connection is left, and none can be opened.
    fn needs_reserves(&self) -> bool {
        let waits = self.core.gate().glance().waiting() > 0;
        waits && self.last_failure.load().is_some() && self.core.capacity.read().live() <= self.reserved()
    }

    /// A lease is kept, for checks or for something else that lasts, and is nobody's.
    pub(crate) fn reserve_for_checks(&self, reserve: ConnectionId) {
        self.reserves.0.rcu(|all| all.iter().copied().chain([reserve]).collect::<Vec<_>>());
        self.tell_followers();
    }

    /// It is not any more.
    pub(crate) fn end_reserve(&self, reserve: ConnectionId) {
        self.reserves.0.rcu(|all| all.iter().copied().filter(|one| *one != reserve).collect::<Vec<_>>());
        self.tell_followers();
    }

    /// Whether the connection is kept.
    pub(super) fn is_reserved(&self, connection: ConnectionId) -> bool {
        self.reserves.0.load().contains(&connection)
    }

    /// How many are.
    pub(crate) fn reserved(&self) -> usize {
        self.reserves.0.load().len()
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
