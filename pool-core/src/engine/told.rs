//! What is told of a wait that has ended.

use std::mem::ManuallyDrop;

use super::acquire::Waiting;
use super::spans::Asking;
use super::want::Want;
use crate::driver::Driver;
use crate::error::AcquireError;
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

    /// It has been given up.
    pub(super) fn tell_given_up(&self) {
        if self.tells {
            self.engine.note_slow_end::<()>(self.waited(), self.place, None);
        }
    }
}
