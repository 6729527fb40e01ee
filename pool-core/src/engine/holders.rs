//! Who has had a connection for longest.
//!
//! Leases are timed now and then only. For the others the janitor notes in its rounds which ones are still the same: that costs those who acquire nothing.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Engine;
use crate::connection::OldestLease;
use crate::driver::Driver;
use crate::slot::Facts;

/// The leases that the last round has seen.
#[derive(Debug, Default)]
pub(super) struct Holders(ArcSwap<Vec<Seen>>);

/// A lease.
#[derive(Clone, Copy, Debug)]
struct Seen {
    slot: usize,
    /// Which lease of the slot it is.
    uses: u64,
    /// When a round saw it first.
    since: u64,
}

impl Holders {
    /// When the lease of a slot was seen first.
    fn since(&self, facts: &Facts) -> Option<u64> {
        let seen = self.0.load();
        let place = seen.binary_search_by_key(&facts.index(), |lease| lease.slot).ok()?;
        seen.get(place).filter(|lease| lease.uses == facts.uses.get()).map(|lease| lease.since)
    }
}

impl<D: Driver> Engine<D> {
    /// Notes which connections are leased, and since when.
    pub(super) fn note_holders(&self) {
        let now = self.clock.now();
        let seen: Vec<_> = self.core.table.leased().map(|(_, facts)| self.look_at_lease_of(facts, now)).collect();
        if !(seen.is_empty() && self.holders.0.load().is_empty()) {
            self.holders.0.store(Arc::new(seen));
        }
    }

    fn look_at_lease_of(&self, facts: &Facts, now: u64) -> Seen {
        let since = self.holders.since(facts).unwrap_or(now);
        Seen { slot: facts.index(), uses: facts.uses.get(), since }
    }

    /// When a lease began, if that is known: if it is a timed one, or one that a round has seen.
    pub(super) fn lease_began(&self, facts: &Facts) -> Option<u64> {
        match facts.held_since.get() {
            0 => self.holders.since(facts),
            timed => Some(timed),
        }
    }

    /// The oldest lease of a caller, among those of which it is known when they began.
    pub(crate) fn oldest_lease(&self) -> Option<OldestLease> {
        let began = self.callers_leases().filter_map(|(id, facts)| Some((self.lease_began(facts)?, id)));
        let (since, connection) = began.min_by_key(|(since, _)| *since)?;
        Some(OldestLease { connection, held: Duration::from_nanos(self.clock.now().saturating_sub(since)) })
    }
}
