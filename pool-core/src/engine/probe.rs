//! What a monitor of the pool's health asks of the engine.

use std::time::Duration;

use super::Engine;
use super::budget::within;
use super::panics::guarded;
use crate::brief::Brief;
use crate::driver::Driver;
use crate::failure::{Chain, OneLine};

/// A janitor that has not taken a turn for so long stands still, in nanoseconds; it takes one each second.
const STILL: u64 = 10_000_000_000;

impl<D: Driver> Engine<D> {
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
