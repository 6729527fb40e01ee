//! Connections that were handed over and that nobody has come for: a future that is not polled.

use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

use super::clock::nanos;
use super::warnings::Warning;
use super::{Engine, EngineGrant};
use crate::driver::Driver;
use crate::handoff::Grant;

/// The hand-overs that the last round has seen, by their numbers, and when a round saw each first. So nobody has to look at a clock when a connection is handed over.
#[derive(Debug, Default)]
pub(super) struct Uncollected(HashMap<u64, u64>);

impl Uncollected {
    /// Takes back what has not been collected for so long.
    pub(super) fn look<D: Driver>(&mut self, engine: &Engine<D>, limit: Option<Duration>) {
        let before = std::mem::take(&mut self.0);
        let Some(limit) = limit.map(nanos) else { return };
        let now = engine.now();
        let seen_first = |number: &u64| before.get(number).copied().unwrap_or(now);
        let age = |number: &u64| now.saturating_sub(seen_first(number));
        let is_due = |number| {
            self.0.insert(number, seen_first(&number));
            age(&number) >= limit
        };
        engine.core.take_uncollected(is_due, |number, grant, place| {
            engine.pass_on_uncollected(grant, place, Duration::from_nanos(age(&number)));
        });
    }
}

impl<D: Driver> Engine<D> {
    /// How many were taken back so far.
    pub(crate) fn uncollected(&self) -> u64 {
        self.events.uncollected.get()
    }

    pub(crate) fn count_uncollected(&self) {
        self.events.uncollected.add(1);
    }

    #[cold]
    fn pass_on_uncollected(&self, grant: EngineGrant<D>, place: &'static Location<'static>, lay: Duration) {
        // Before anything else, which may be foreign code: what was granted is nobody's.
        let connection = match grant {
            Grant::Slot(claim) => {
                let id = self.id(&claim);
                self.put_back(claim);
                id
            }
            Grant::Shared(place) => {
                let id = self.id(place.claim());
                self.leave_unused(place);
                id
            }
            Grant::Failed | Grant::Closed | Grant::Expired => return,
        };
        self.count_uncollected();
        self.warn(Warning::Uncollected, |suppressed| {
            tracing::warn!(%connection, %place, ?lay, suppressed, "a connection was taken back that a waiter did not collect; is its future polled?");
        });
    }
}
