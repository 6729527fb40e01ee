//! The line under its lock, and what can be seen of it without.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::desk::Waiting;
use crate::counters::Figure;
use crate::driver::Driver;
use crate::engine::InLine;

pub(super) struct Guarded<D: Driver> {
    line: Mutex<Waiting<D>>,
    shown: Shown,
}

/// How many wait, and when the first of them came: written by whoever holds the lock, and read by anybody.
struct Shown {
    waiting: Figure,
    since: Figure,
}

const NOBODY: u64 = u64::MAX;

impl<D: Driver> Guarded<D> {
    pub(super) fn new(line: Waiting<D>) -> Self {
        Self { line: Mutex::new(line), shown: Shown { waiting: Figure::default(), since: Figure::of(NOBODY) } }
    }

    pub(super) fn lock(&self) -> Held<'_, D> {
        Held { line: self.line.lock().unwrap_or_else(PoisonError::into_inner), shown: &self.shown }
    }

    /// Those who wait, as the last one who had the lock left them.
    pub(super) fn shown(&self) -> InLine {
        let callers = usize::try_from(self.shown.waiting.get()).unwrap_or(usize::MAX);
        let since = Some(self.shown.since.get()).filter(|since| *since != NOBODY && callers > 0);
        InLine { callers, since }
    }
}

/// The line, while it is nobody else's.
pub(super) struct Held<'a, D: Driver> {
    line: MutexGuard<'a, Waiting<D>>,
    shown: &'a Shown,
}

impl<D: Driver> Deref for Held<'_, D> {
    type Target = Waiting<D>;

    fn deref(&self) -> &Waiting<D> {
        &self.line
    }
}

impl<D: Driver> DerefMut for Held<'_, D> {
    fn deref_mut(&mut self) -> &mut Waiting<D> {
        &mut self.line
    }
}

impl<D: Driver> Drop for Held<'_, D> {
    fn drop(&mut self) {
        self.shown.waiting.set(self.line.waiting() as u64);
        self.shown.since.set(self.line.first_came().unwrap_or(NOBODY));
    }
}
