//! What is counted and told of a wait that has ended.

use std::mem::ManuallyDrop;

use super::Events;
use super::acquire::{Waiting, Waits};
use super::spans::Asking;
use super::want::Want;
use crate::counters::Counter;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::queue::Stay;
use crate::trace::may_be_wanted;

impl<D: Driver, W: Want<D::Connection>> Waiting<'_, D, W> {
    /// As it is, telling what comes of it.
    #[inline]
    pub(super) fn telling(mut self) -> Self {
        self.tell_from_now_on();
        self
    }

    /// The same, where it is: to move it costs more than all of this.
    #[inline]
    pub(super) fn tell_from_now_on(&mut self) {
        self.tells = true;
        if may_be_wanted() {
            self.asking = ManuallyDrop::new(Asking::begin(self.engine, self.place));
        }
    }

    /// It has ended.
    #[inline]
    pub(super) fn tell(&mut self, outcome: &Result<W::Taken, AcquireError>) {
        if self.asking.is_some() || outcome.is_err() || self.engine.may_be_slow(self.started) {
            self.tell_closely(outcome);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_closely(&mut self, outcome: &Result<W::Taken, AcquireError>) {
        let engine = self.engine;
        if let Some(asking) = self.asking.as_mut() {
            match outcome {
                Ok(taken) => asking.served(engine.id(W::claim(taken)), true),
                Err(error) => asking.failed(error),
            }
        }
        if self.tells {
            engine.note_slow_end(self.waited(), self.place, Some(outcome));
        }
    }

    /// Counts one that gets no connection, though it has waited: among these, too.
    pub(super) fn count_end(&self, waited: u64, among: fn(&Events) -> &Counter) {
        if W::IS_CALLER {
            self.engine.count_wait(waited);
            among(&self.engine.events).add(1);
        }
    }

    /// As `count_end`, after a wait or at once.
    pub(super) fn count_failure(&self, waited: u64, among: fn(&Events) -> &Counter) {
        if W::IS_CALLER && self.waits == Waits::Nowhere {
            self.engine.count_refusal();
            among(&self.engine.events).add(1);
        } else {
            self.count_end(waited, among);
        }
    }

    /// Since when it waits, for those who ask for the oldest of all callers.
    #[inline]
    pub(super) fn seen_since(&self) -> u64 {
        if W::IS_CALLER { self.started } else { Stay::OF_NOBODY }
    }

    /// It is in the queue from now on, or no longer. Whoever counts those who wait there leaves out those that are no callers.
    #[inline]
    pub(super) fn show_waiting(&self, waits: bool) {
        if !W::IS_CALLER {
            let waiting = &self.engine.checkers.waiting;
            if waits { waiting.enter() } else { waiting.leave() }
        }
    }

    /// It has been given up.
    pub(super) fn tell_given_up(&self) {
        if self.tells {
            self.engine.note_slow_end::<()>(self.waited(), self.place, None);
        }
    }
}
