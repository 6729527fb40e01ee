//! One who has asked for connections and is not being served yet.

use std::panic::Location;

use super::permit::Permit;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::error::AcquireError;

/// One whose turn has come.
pub(super) struct Turn<D: Driver> {
    pub(super) permit: Permit<D>,
    /// When it began to wait, if it has.
    pub(super) since: Option<u64>,
}

/// One who has asked, and is counted if it does not get as far as the pool, which counts those that do. Dropped before it is told anything, it was given up.
pub(super) struct Asked<'a, D: Driver> {
    engine: &'a Engine<D>,
    place: &'static Location<'static>,
    pub(super) since: u64,
    is_told: bool,
}

impl<'a, D: Driver> Asked<'a, D> {
    pub(super) fn begin(engine: &'a Engine<D>, place: &'static Location<'static>) -> Self {
        Self::since(engine, None, place)
    }

    /// One that has waited before, since then.
    pub(super) fn since(engine: &'a Engine<D>, since: Option<u64>, place: &'static Location<'static>) -> Self {
        Self { engine, place, since: since.unwrap_or_else(|| engine.now()), is_told: false }
    }

    fn waited(&self) -> u64 {
        self.engine.now().saturating_sub(self.since)
    }

    pub(super) fn told<T>(mut self, outcome: Result<T, AcquireError>) -> Result<T, AcquireError> {
        self.is_told = true;
        if let Err(error) = &outcome {
            let waited = self.waited();
            self.engine.count_told_in_line(waited, error);
            self.engine.note_slow_end(waited, self.place, Some(&outcome));
        }
        outcome
    }
}

impl<D: Driver> Drop for Asked<'_, D> {
    fn drop(&mut self) {
        if !self.is_told {
            self.engine.count_given_up_in_line(self.waited(), self.place);
        }
    }
}
