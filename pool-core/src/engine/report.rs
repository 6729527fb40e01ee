//! What the engine says about itself, read from the slots' words.

use std::time::Duration;

use super::Engine;
use crate::counters::Figure;
use crate::driver::Driver;
use crate::slot::Facts;
use crate::stats::{PoolState, Stats};

impl<D: Driver> Engine<D> {
    /// Where the connections are.
    pub(crate) fn state(&self) -> PoolState {
        self.stats().state
    }

    /// Where the connections are and what happened so far.
    pub(crate) fn stats(&self) -> Stats {
        let counts = self.core.table.counts();
        let sight = self.core.gate().glance();
        let state = PoolState {
            size: counts.opening + counts.idle + counts.leased + counts.resetting + counts.closing,
            idle: counts.idle,
            leased: counts.leased,
            opening: counts.opening,
            in_maintenance: counts.resetting + counts.closing,
            waiting: sight.waiting(),
            max_size: self.core.capacity.read().max,
            closed: sight.is_closed(),
        };
        let (events, facts) = (&self.events, || self.core.table.all_facts());
        let in_slots = |figure: fn(&Facts) -> &Figure| facts().map(|facts| figure(facts).get()).sum::<u64>();
        Stats {
            state,
            acquired: in_slots(|facts| &facts.uses),
            waited: events.waited.get() + in_slots(|facts| &facts.waits),
            wait_time: Duration::from_nanos(events.wait_nanos.get() + in_slots(|facts| &facts.wait_nanos)),
            timeouts: events.timeouts.get(),
            cancelled: events.cancelled.get(),
            opened: counts.opened,
            closed: counts.closed,
            open_failures: events.open_failures.get(),
            broken: events.broken.get(),
            expired: events.expired.get(),
            reaped: events.reaped.get(),
        }
    }
}
