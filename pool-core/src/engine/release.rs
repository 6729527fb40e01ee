//! Release: the way every connection takes back to the idle set or to a waiter.

use super::panics::{caught, report, wake};
use super::{Engine, Job, hint};
use crate::driver::{Driver, SessionState};
use crate::handoff::Offered;
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Facts};

/// What can be done with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Usable,
    Dirty,
    Retired(RetireReason),
}

impl<D: Driver> Engine<D> {
    /// Takes back the connection of a lease. Runs inside `Drop`: no I/O, no blocking, no spawning, no panic, no runtime needed.
    #[inline(never)] // small enough by itself; whether the caller's destructor is one function with it depended on the caller
    pub(crate) fn release(&self, mut claim: Claim<D::Connection>) {
        let slot = self.core.table.open(&mut claim);
        let condition = self.condition_of(slot.facts, slot.connection);
        if condition == Condition::Usable {
            slot.facts.released_at.set(self.epoch.get());
            let index = slot.index;
            match self.core.release(claim) {
                Offered::Parked => hint::put(self.core.table.id(), index),
                other => self.follow_up(other),
            }
        } else {
            self.set_aside_after_use(claim, condition);
        }
    }

    /// As `set_aside`, for a connection that its user gives back: it counts as idle from now on, whatever is done with it first.
    #[cold]
    fn set_aside_after_use(&self, claim: Claim<D::Connection>, condition: Condition) {
        self.core.table.facts(&claim).released_at.set(self.epoch.get());
        self.core.table.note_use(&claim);
        self.set_aside(claim, condition);
    }

    /// Looks at a connection without I/O.
    pub(super) fn condition(&self, claim: &mut Claim<D::Connection>) -> Condition {
        let slot = self.core.table.open(claim);
        self.condition_of(slot.facts, slot.connection)
    }

    #[inline]
    pub(super) fn condition_of(&self, facts: &Facts, connection: &mut D::Connection) -> Condition {
        let too_old = facts.expires_at.get() <= self.epoch.get();
        match caught(|| self.driver.inspect(connection)) {
            Ok(SessionState::Broken) => Condition::Retired(RetireReason::Broken),
            Ok(_) if too_old => Condition::Retired(RetireReason::Expired),
            Ok(SessionState::Clean) => Condition::Usable,
            Ok(SessionState::Dirty) => Condition::Dirty,
            Err(message) => {
                report(|| tracing::error!(message, "inspecting a connection panicked; it will be closed"));
                Condition::Retired(RetireReason::Broken)
            }
        }
    }

    /// Leaves a connection that cannot be handed out to the janitor.
    #[cold]
    pub(super) fn set_aside(&self, claim: Claim<D::Connection>, condition: Condition) {
        match condition {
            Condition::Usable => self.offer(claim),
            Condition::Retired(reason) => self.retire(claim, reason),
            Condition::Dirty => {
                self.core.table.show_resetting(&claim);
                self.call_janitor(Job::Reset(claim));
            }
        }
    }

    /// Gives a usable connection to the oldest waiter, or makes it idle.
    pub(super) fn offer(&self, claim: Claim<D::Connection>) {
        match self.core.offer(claim) {
            Offered::Parked => {}
            other => self.follow_up(other),
        }
    }

    /// Offers every idle connection once: those that the pool has no use for any more do not become idle again.
    pub(super) fn offer_all_idle(&self) {
        let _inspection = self.inspections.begin();
        for index in (0..self.core.table.size()).rev() {
            if let Some(claim) = self.core.table.claim_at(index) {
                self.offer(claim);
            }
        }
    }

    /// Does what is left to do for a connection that was offered.
    #[inline(never)]
    pub(super) fn follow_up(&self, offered: Offered<D::Connection>) {
        match offered {
            Offered::Parked => {}
            Offered::Handed(waker) => waker.into_iter().for_each(wake),
            Offered::Closed(claim) => self.retire(claim, RetireReason::Closed),
            Offered::Excess(claim) => self.retire(claim, RetireReason::Excess),
            Offered::Outdated(claim) => self.retire(claim, RetireReason::Outdated),
        }
    }
}
