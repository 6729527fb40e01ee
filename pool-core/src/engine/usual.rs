//! How long something takes of late, for those who have little time left.

use crate::counters::Figure;

/// A running average, in nanoseconds. Two who note at the same time may count as one.
#[derive(Debug, Default)]
pub(super) struct Usual(Figure);

impl Usual {
    /// It took so long.
    pub(super) fn note(&self, took: u64) {
        let usual = self.0.get();
        self.0.set(if usual == 0 { took } else { usual - usual / 8 + took / 8 });
    }

    /// It was given up after so long.
    pub(super) fn note_at_least(&self, took: u64) {
        self.0.set(self.0.get().max(took));
    }

    /// Whether so many nanoseconds may be too few for it.
    pub(super) fn is_short(&self, left: u64) -> bool {
        left < self.0.get().saturating_mul(2)
    }
}
