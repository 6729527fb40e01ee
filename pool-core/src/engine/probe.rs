//! What a monitor of the pool's health asks of the engine.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::acquire::Waiting;
use super::budget::within;
use super::limit::Limit;
use super::panics::guarded;
use super::want::ForCheck;
use crate::brief::Brief;
use crate::counters::{Counter, Moments};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::failure::{Chain, OneLine};
use crate::slot::{Claim, Facts};

/// A janitor that has not taken a turn for so long stands still, in nanoseconds; it takes one each second.
const STILL: u64 = 10_000_000_000;

/// Monitors that acquire for their checks. They stand in the queue as everybody does, and are no callers.
#[derive(Debug, Default)]
pub(super) struct Checkers {
    /// Who is in the queue, as far as it has heard.
    pub(super) waiting: Moments,
    /// Leases, each of which is counted in its slot right after it is here.
    leases: Counter,
}

impl<D: Driver> Engine<D> {
    /// A connection for a check, in turn. Where callers are counted, timed, told of and seen waiting, this is not.
    ///
    /// Cancel safety: as that of every acquire; see `Waiting`.
    pub(crate) fn acquire_for_check(
        self: &Arc<Self>,
        limit: Duration,
    ) -> impl Future<Output = Result<Claim<D::Connection>, AcquireError>> + Send {
        Waiting::<D, ForCheck>::new(self, Limit::new(limit), Location::caller())
    }

    /// Counts a lease of a monitor's, which is one for the slot: how long it takes says nothing about how long anybody uses a connection.
    pub(super) fn count_check(&self, facts: &Facts) {
        self.checkers.leases.add(1);
        self.count_use(facts);
        self.time_no_more(facts);
    }

    /// How often a caller has been given a connection.
    pub(crate) fn served(&self) -> u64 {
        // In this order, so that at moments it is too few and never too many.
        let all = self.core.leases();
        all.saturating_sub(self.checkers.leases.get())
    }

    /// Asks the backend for a sign of life on a connection that somebody has, as is done at this interval.
    ///
    /// Cancel safety: as [`Driver::ping`]; the connection is inspected when it is given back.
    pub(crate) async fn probe(
        &self,
        connection: &mut D::Connection,
        budget: Duration,
        interval: Duration,
    ) -> Result<(), String> {
        let started = self.clock.now();
        // Owned across the await: nothing; the connection belongs to the caller.
        let outcome = guarded(async {
            match within(budget, async { self.driver.ping(connection).await }).await {
                Ok(Ok(())) => Ok(()),
                // Shown and dropped in here: it is foreign code.
                Ok(Err(error)) => Err(format!("the ping failed: {}", Chain(&error))),
                Err(_) => Err(format!("no answer to a ping within {}", Brief(budget))),
            }
        });
        let outcome = outcome.await;
        self.measures.check.note(self.clock.now().saturating_sub(started), 1);
        if matches!(outcome, Ok(Ok(()))) {
            self.was_answered_to(interval);
        }
        outcome.unwrap_or_else(|message| Err(format!("the ping panicked: {}", OneLine(&message))))
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
