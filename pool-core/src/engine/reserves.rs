//! Connections that are nobody's leases: those that monitors keep for their checks, and others for what lasts.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Engine;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::lifetime::Due;
use crate::slot::{Claim, Facts};

/// What a connection is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptFor {
    /// Checks: it is given back when it is due.
    Checks,
    /// Something that lasts: it is given back when it is wanted, and its age is no reason.
    WhatLasts,
}

/// Why one more is not kept: so many are, of so many that there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoom {
    pub(crate) kept: usize,
    pub(crate) max_size: usize,
}

/// All that are kept, the one that has been for longest first. Looked at by those who have waited in vain, by monitors, and once in each round.
#[derive(Debug, Default)]
pub(super) struct Reserves(ArcSwap<Vec<(ConnectionId, KeptFor)>>);

impl<D: Driver> Engine<D> {
    /// Keeps a connection that somebody has leased, unless that would leave none for callers.
    ///
    /// # Errors
    ///
    /// If it would. Of several who try at the same time, as many are successful as there is room for.
    pub(crate) fn reserve(&self, connection: ConnectionId, what_for: KeptFor) -> Result<(), NoRoom> {
        let mut refused = None;
        // Looked at and changed in one step, or two could take the same place.
        self.reserves.0.rcu(|all| {
            let (kept, max_size) = (all.len(), self.config.load().max_size);
            refused = (kept + 1 >= max_size).then_some(NoRoom { kept, max_size });
            match refused {
                Some(_) => Arc::clone(all),
                None => Arc::new(all.iter().copied().chain([(connection, what_for)]).collect()),
            }
        });
        self.tell_followers();
        if let Some(refused) = refused {
            return Err(refused);
        }
        // Whoever keeps it still has it, so what is written with its slot is theirs to write.
        self.core
            .table
            .all_facts()
            .filter(|facts| facts.index() == connection.slot)
            .for_each(|facts| self.time_no_more(facts));
        Ok(())
    }

    /// It is not kept any more.
    pub(crate) fn end_reserve(&self, connection: ConnectionId) {
        self.reserves.0.rcu(|all| all.iter().copied().filter(|(one, _)| *one != connection).collect::<Vec<_>>());
        self.tell_followers();
    }

    /// Whether the connection is kept.
    pub(super) fn is_reserved(&self, connection: ConnectionId) -> bool {
        self.place_of(connection).is_some()
    }

    /// How many are.
    pub(crate) fn reserved(&self) -> usize {
        self.reserves.0.load().len()
    }

    fn place_of(&self, connection: ConnectionId) -> Option<usize> {
        self.reserves.0.load().iter().position(|(one, _)| *one == connection)
    }

    /// Whether it is one of those that have to go, so that one is left for callers, since there may be fewer than before: the latest.
    fn is_one_too_many(&self, connection: ConnectionId) -> bool {
        self.place_of(connection).is_some_and(|place| place + 1 >= self.config.load().max_size)
    }

    /// Whether one that is due is kept all the same, by somebody who does not give it back for that.
    pub(super) fn is_kept_though(&self, facts: &Facts, due: Due) -> bool {
        // Whatever has its slot is this connection: it is named here for as long as somebody has it.
        self.reserves.0.load().iter().filter(|(one, _)| one.slot == facts.index()).any(|(_, what_for)| match due {
            Due::Aged => *what_for == KeptFor::WhatLasts,
            // It is used no more often while it is kept.
            Due::Wearing => true,
            // All are to be replaced, and it goes in its turn.
            Due::Outdated => false,
        })
    }

    /// Whether the pool would not keep this connection, which is kept for checks, if it came back, or needs it: it is old, or of an earlier generation, or one too many, or there
    /// can be no other, or nobody is to have one.
    pub(crate) fn is_reserve_spent(&self, reserve: ConnectionId) -> bool {
        let Some(facts) = self.core.table.all_facts().find(|facts| facts.index() == reserve.slot) else {
            return false;
        };
        let sight = self.core.gate().glance();
        let unwanted = sight.is_paused() || !sight.may_rest(facts.generation());
        unwanted || facts.due_at() <= self.epoch.get() || self.is_one_too_many(reserve) || self.needs_reserves()
    }

    /// Whether somebody who keeps this connection for something that lasts has to give it back: nobody is to have one, or it is retired, or there is none left for callers.
    pub(crate) fn is_wanted_back(&self, claim: &Claim<D::Connection>) -> bool {
        let is_to_go = || self.is_retired(claim) || self.has_had_its_turn(self.core.table.facts(claim));
        self.is_out_of_service() || self.is_one_too_many(self.id(claim)) || is_to_go()
    }

    /// Whether all are to be replaced, and this one has known for a while when it is its turn, which has come.
    fn has_had_its_turn(&self, facts: &Facts) -> bool {
        facts.is_due_with_all() && facts.expires_at.get() <= self.epoch.get()
    }

    /// Whether somebody waits, no other connection is left, and none can be opened.
    fn needs_reserves(&self) -> bool {
        let waits = self.core.gate().glance().waiting() > 0;
        waits && self.last_failure.load().is_some() && self.core.capacity.read().live() <= self.reserved()
    }
}
