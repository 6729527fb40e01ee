//! What has gone wrong lately, for those who look.

use std::fmt::Display;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::Engine;
use super::panics::caught;
use crate::connection::JournalEntry;
use crate::driver::Driver;
use crate::wall;

/// The latest entries that nobody has read yet. Whoever writes one waits for nobody, and one that nobody reads in time makes room for the next.
#[derive(Debug)]
pub(super) struct Journal(ArrayQueue<Written>);

/// An entry, and what it tells of.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) entry: JournalEntry,
    /// If its text has figures that are others each time.
    about: Option<String>,
}

impl Written {
    /// Whether both tell of the same.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.about() == other.about()
    }

    fn about(&self) -> (&'static str, &str) {
        (self.entry.kind, self.about.as_ref().unwrap_or(&self.entry.message))
    }
}

/// So many are kept for the one who reads.
pub(crate) const JOURNAL: usize = 64;
/// Longer messages are cut off: so many bytes.
const LONGEST: usize = 1024;

impl Default for Journal {
    fn default() -> Self {
        Self(ArrayQueue::new(JOURNAL))
    }
}

impl<D: Driver> Engine<D> {
    /// Writes down what has happened, if anybody is there to read it.
    pub(crate) fn write_down(&self, kind: &'static str, what: &dyn Display) {
        self.write(kind, None, what);
    }

    /// As `write_down`, for what is told with other figures each time: it is the same as all others of that kind that are about the same.
    pub(crate) fn write_down_about(&self, kind: &'static str, about: String, what: &dyn Display) {
        self.write(kind, Some(about), what);
    }

    fn write(&self, kind: &'static str, about: Option<String>, what: &dyn Display) {
        if !self.is_observed() {
            return;
        }
        // What is written is foreign, such as an error of the driver's.
        let mut message = caught(|| what.to_string()).unwrap_or_else(|panic| panic);
        message.truncate(message.floor_char_boundary(LONGEST));
        let at = wall::now();
        // What made room is lost.
        let entry = JournalEntry { at, times: 1, since: at, kind, message };
        drop(self.journal.0.force_push(Written { entry, about }));
    }

    /// Takes what has been written, the oldest first, for the one who reads.
    pub(crate) fn read_journal(&self) -> impl Iterator<Item = Written> {
        std::iter::from_fn(|| self.journal.0.pop())
    }

    /// Somebody looks at the pool for as long as this is kept.
    pub(crate) fn begin_observation(self: &Arc<Self>) -> Observation<D> {
        self.observers.enter();
        Observation(Arc::clone(self))
    }

    fn is_observed(&self) -> bool {
        self.observers.under_way() > 0
    }
}

/// Somebody looks at the pool.
pub(crate) struct Observation<D: Driver>(Arc<Engine<D>>);

impl<D: Driver> Drop for Observation<D> {
    fn drop(&mut self) {
        self.0.observers.leave();
    }
}
