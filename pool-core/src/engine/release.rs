//! Release: the way every connection takes back to the idle set or to a waiter.

use super::panics::caught;
use super::warnings::Warning;
use super::{Engine, Job, hint};
use crate::driver::{Driver, SessionState};
use crate::handoff::{Offered, Unfinished};
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Facts};

/// What can be done with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Usable,
    Dirty,
    /// It was idle for so long that it has to be checked before it is handed out.
    Unchecked,
    /// A hook is to be called before it is handed out.
    Unprepared,
    /// A hook is to be called now that it has come back.
    Returned,
    /// It has come back, and is to be had: somebody may prefer it, and is told.
    Tagged,
    Retired(RetireReason),
}

/// Why a connection is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is to be handed to somebody who can wait until it has been checked.
    HandOver,
    /// As `HandOver`, to somebody who has only just come.
    AtOnce,
    /// It is to be handed to somebody who does not wait.
    WithoutWaiting,
    /// It comes back.
    Return,
    /// The pool looks after it.
    Round,
}

impl<D: Driver> Engine<D> {
    /// Takes back the connection of a lease. Runs inside `Drop`: no I/O, no waiting for a task, no spawning, no panic, no runtime needed. And no
    /// lock, unless it is left to the janitor.
    #[inline(never)] // small enough by itself; whether the caller's destructor is one function with it depended on the caller
    pub(crate) fn release(&self, mut claim: Claim<D::Connection>) {
        // Whichever of the other functions it is that is called: it is the last one, so that nothing has to be kept across it.
        let now = self.epoch.get();
        let slot = self.core.table.open(&mut claim);
        if slot.facts.is_doubtful(now) {
            return self.release_closely(claim);
        }
        match self.inspect(slot.connection) {
            Condition::Usable => slot.facts.released_at.set(now),
            other => return self.set_aside_after_use(claim, other),
        }
        match self.core.begin_release(claim) {
            Ok(index) => hint::put(self.core.table.id(), index),
            Err(unfinished) => self.finish_release(unfinished),
        }
    }

    /// As `release`, for a connection that has to be looked at closely.
    #[cold]
    #[inline(never)]
    fn release_closely(&self, mut claim: Claim<D::Connection>) {
        match self.condition(&mut claim, Occasion::Return) {
            Condition::Usable => self.core.table.facts(&claim).released_at.set(self.epoch.get()),
            other => return self.set_aside_after_use(claim, other),
        }
        match self.core.begin_release(claim) {
            Ok(index) => hint::put(self.core.table.id(), index),
            Err(unfinished) => self.finish_release(unfinished),
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_release(&self, unfinished: Unfinished<D::Connection>) {
        let index = match &unfinished {
            Unfinished::Parked(parked) => parked.index,
            Unfinished::Claimed(_, claim) => self.core.table.index(claim),
        };
        match self.core.finish(unfinished) {
            Offered::Parked => hint::put(self.core.table.id(), index),
            other => self.follow_up(other),
        }
    }

    /// As `set_aside`, for a connection that its user gives back: it counts as idle from now on, whatever is done with it first.
    #[cold]
    fn set_aside_after_use(&self, claim: Claim<D::Connection>, condition: Condition) {
        let facts = self.core.table.facts(&claim);
        self.time_lease(facts);
        facts.released_at.set(self.epoch.get());
        self.core.table.note_use(&claim);
        self.set_aside(claim, condition);
    }

    /// Takes back a connection of which its user says that it is of no further use.
    pub(crate) fn discard(&self, claim: Claim<D::Connection>) {
        self.set_aside_after_use(claim, Condition::Retired(RetireReason::Broken));
    }

    /// Looks at a connection without I/O.
    pub(super) fn condition(&self, claim: &mut Claim<D::Connection>, occasion: Occasion) -> Condition {
        let slot = self.core.table.open(claim);
        self.condition_of(slot.facts, slot.connection, occasion)
    }

    #[inline]
    pub(super) fn condition_of(&self, facts: &Facts, connection: &mut D::Connection, occasion: Occasion) -> Condition {
        match self.inspect(connection) {
            condition @ (Condition::Usable | Condition::Dirty) if facts.is_doubtful(self.epoch.get()) => {
                self.look_closely(facts, condition, occasion)
            }
            condition => condition,
        }
    }

    /// Asks the driver.
    #[inline]
    fn inspect(&self, connection: &mut D::Connection) -> Condition {
        match caught(|| self.driver.inspect(connection)) {
            Ok(SessionState::Broken) => Condition::Retired(RetireReason::Broken),
            Ok(SessionState::Clean) => Condition::Usable,
            Ok(SessionState::Dirty) => Condition::Dirty,
            Err(message) => self.inspection_panicked(&message),
        }
    }

    #[cold]
    fn inspection_panicked(&self, message: &str) -> Condition {
        self.events.errors.inspections.add(1);
        self.panicked(Warning::Inspect, message, "inspecting a connection panicked; it will be closed");
        Condition::Retired(RetireReason::Broken)
    }

    /// Leaves a connection that cannot be handed out to the janitor. `None` if it comes back when it has been checked, to somebody who waits.
    #[cold]
    pub(super) fn set_aside(&self, claim: Claim<D::Connection>, condition: Condition) -> Option<()> {
        match condition {
            Condition::Usable | Condition::Tagged => self.offer(claim),
            Condition::Retired(reason) => self.retire(claim, reason),
            Condition::Dirty => self.tend(claim, Job::Reset),
            Condition::Returned => self.tend(claim, Job::Returned),
            Condition::Unprepared => {
                self.offer(claim);
                return None;
            }
            Condition::Unchecked => {
                self.checks.enter();
                self.tend(claim, Job::Check);
                return None;
            }
        }
        Some(())
    }

    fn tend(&self, claim: Claim<D::Connection>, job: impl FnOnce(Claim<D::Connection>) -> Job<D::Connection>) {
        self.core.table.show_resetting(&claim);
        self.call_janitor(job(claim));
        self.tell();
    }

    /// Gives a usable connection to the oldest waiter, or makes it idle.
    pub(super) fn offer(&self, claim: Claim<D::Connection>) {
        let is_tagged = self.is_tagged(self.core.table.facts(&claim));
        match self.core.offer(claim) {
            Offered::Parked => {}
            other => self.follow_up(other),
        }
        if is_tagged {
            // Those who prefer it.
            self.tell();
        }
    }

    /// Looks at every idle connection once: those that the pool has no use for any more do not become idle again.
    pub(super) fn offer_all_idle(&self) {
        let _inspection = self.inspections.begin();
        for index in (0..self.core.table.size()).rev() {
            if let Some(claim) = self.core.table.claim_at(index) {
                self.put_back(claim);
            }
        }
    }

    /// Does what is left to do for a connection that was offered.
    #[inline(never)]
    pub(super) fn follow_up(&self, offered: Offered<D::Connection>) {
        if self.core.shares() {
            return self.follow_up_and_admit(offered);
        }
        self.follow_up_alone(offered);
    }

    /// The next in the queue may be one who shares.
    #[cold]
    #[inline(never)] // or those who do not share would pay for it
    fn follow_up_and_admit(&self, offered: Offered<D::Connection>) {
        self.follow_up_alone(offered);
        self.admit();
    }

    #[inline]
    fn follow_up_alone(&self, mut offered: Offered<D::Connection>) {
        // Once more for each generation that begins meanwhile.
        while let Some(claim) = self.settle(offered) {
            offered = self.core.offer(claim);
        }
    }

    /// As `follow_up`; one of an earlier generation that may stay comes back.
    pub(super) fn settle(&self, offered: Offered<D::Connection>) -> Option<Claim<D::Connection>> {
        match offered {
            Offered::Parked => {}
            Offered::Paused => self.tell(),
            Offered::Handed(waker) => waker.into_iter().for_each(|waker| self.wake(waker)),
            Offered::Closed(claim) => self.retire(claim, RetireReason::Closed),
            Offered::Excess(claim) => self.retire(claim, RetireReason::Excess),
            Offered::Outdated(claim) => return self.judge_again(claim),
        }
        None
    }
}
