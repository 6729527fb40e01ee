//! Acquires that go through a line in front of the pool: each counts once, wherever it waits and ends.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::acquire::Waiting;
use super::limit::Limit;
use super::release::Occasion;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::slot::Claim;
use crate::trace::may_be_wanted;

impl<D: Driver> Engine<D> {
    /// Acquires for one whose turn has come. One that has waited for it counts as one that has waited since then, whether it waits again or not.
    ///
    /// Cancel safety: as that of every acquire; see `Waiting`.
    pub(crate) async fn acquire_from_line(
        self: &Arc<Self>,
        since: Option<u64>,
        limit: Limit,
        place: &'static Location<'static>,
    ) -> Result<Claim<D::Connection>, AcquireError> {
        let Some(claim) = self.acquire_at_once(Occasion::AtOnce) else {
            // Owned across the await: what `Waiting` says.
            return Waiting::<D>::new(self, limit, place).in_line_since(since).telling().await;
        };
        let claim = if may_be_wanted() { self.tell_at_once(claim, place) } else { claim };
        self.count_from_line(&claim, since);
        if let Some(since) = since {
            self.note_slow_end(self.now().saturating_sub(since), place, Some(&Ok(())));
        }
        Ok(claim)
    }

    /// One that has waited in a line since then, if it has, and for nothing else.
    pub(super) fn count_from_line(&self, claim: &Claim<D::Connection>, since: Option<u64>) {
        if let Some(since) = since {
            let facts = self.core.table.facts(claim);
            facts.waits.set(facts.waits.get() + 1);
            self.measures.line.note(self.now().saturating_sub(since), 1);
        }
    }

    /// One has left the line with this, after so many nanoseconds.
    pub(crate) fn count_told_in_line(&self, waited: u64, error: &AcquireError) {
        let events = &self.events;
        match error {
            AcquireError::Shed { .. } => {
                events.left_line.add(1);
                events.shed.add(1);
            }
            AcquireError::Timeout { .. } => {
                events.left_line.add(1);
                events.timeouts.add(1);
                self.count_line(waited);
            }
            AcquireError::Closed => {
                events.refused.add(1);
                self.count_line(waited);
            }
            // Who would wait for itself was counted by the one who found that.
            _ => {}
        }
    }

    /// One has been given up in the line, after so many nanoseconds.
    pub(crate) fn count_given_up_in_line(&self, waited: u64, place: &'static Location<'static>) {
        self.events.left_line.add(1);
        self.events.cancelled.add(1);
        self.count_line(waited);
        self.note_slow_end::<()>(waited, place, None);
    }

    fn count_line(&self, waited: u64) {
        self.events.waited.add(1);
        self.measures.line.note(waited, 1);
    }

    /// How many acquires have ended in a line, where some may have waited for a quota.
    pub(crate) fn left_line(&self) -> u64 {
        self.events.left_line.get()
    }

    /// How long acquires have waited in the queue, all together.
    pub(crate) fn waited_in_queue(&self) -> Duration {
        self.measures.wait.total()
    }
}
