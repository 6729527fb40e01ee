//! How long something takes of late, for those who have little time left.

use crate::counters::Figure;

/// A running average, in nanoseconds. Two who note at the same time may count as one.
#[derive(Debug, Default)]
pub(super) struct Usual(Figure);

/// Whoever leaves it to others lowers the average by so much of it: what took long once is tried again, though everybody had too little time for it.
const FORGETS: u64 = 64;

impl Usual {
    /// It took so long.
    pub(super) fn note(&self, took: u64) {
        let usual = self.0.get();
        self.0.set(if usual == 0 { took } else { usual - usual / 8 + took / 8 });
    }

    /// It was given up after so long. That says nothing if it usually takes longer.
    pub(super) fn note_at_least(&self, took: u64) {
        if took > self.0.get() {
            let usual = self.0.get();
            self.0.set(usual - usual / 8 + took / 8);
        }
    }

    /// Whether so many nanoseconds may be too few for it.
    pub(super) fn is_short(&self, left: u64) -> bool {
        self.forgets(left < self.0.get().saturating_mul(2))
    }

    /// How long it takes, if that is more than is left.
    pub(super) fn more_than(&self, left: u64) -> Option<u64> {
        let usual = self.0.get();
        self.forgets(left < usual).then_some(usual)
    }

    fn forgets(&self, is_short: bool) -> bool {
        if is_short {
            let usual = self.0.get();
            self.0.set(usual - usual / FORGETS);
        }
        is_short
    }
}
