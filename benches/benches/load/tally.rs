//! What callers were told, and how long it took.

use std::time::Duration;

use hdrhistogram::Histogram;
use pool_testkit::books::Told;

use super::fault::FAULTY;
use super::work::Work;

/// Three significant digits.
const DIGITS: u8 = 3;
/// More than any operation takes, in microseconds.
const LONGEST: u64 = 100_000_000;

/// How an operation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The caller was told.
    Told(Told),
    /// The caller has given up.
    Dropped,
}

/// What was counted.
pub(crate) struct Tally {
    /// Of those that were not dropped, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) done: u64,
    pub(crate) not_done: u64,
    pub(crate) unknown: u64,
    pub(crate) dropped: u64,
    /// That met with a fault of their own.
    pub(crate) faulty: u64,
    /// Of operations that write, for the books.
    pub(crate) told: Vec<(u64, Told)>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, DIGITS).expect("the bounds are in range");
        Self { latencies, done: 0, not_done: 0, unknown: 0, dropped: 0, faulty: 0, told: Vec::new() }
    }
}

impl Tally {
    /// Takes down one operation.
    pub(crate) fn note(&mut self, operation: u64, work: Work, end: End, latency: Duration) {
        let count = match end {
            End::Told(Told::Done) => &mut self.done,
            End::Told(Told::NotDone) => &mut self.not_done,
            End::Told(Told::Unknown) => &mut self.unknown,
            End::Dropped => &mut self.dropped,
        };
        *count += 1;
        self.faulty += u64::from(operation.is_multiple_of(FAULTY));
        if end != End::Dropped {
            self.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST));
        }
        if work.is_written() {
            let told = if let End::Told(told) = end { told } else { Told::Unknown };
            self.told.push((operation, told));
        }
    }

    /// That have an end, whatever it is.
    pub(crate) fn ended(&self) -> u64 {
        self.answered() + self.dropped
    }

    /// Whose callers have waited for the end.
    pub(crate) fn answered(&self) -> u64 {
        self.done + self.not_done + self.unknown
    }
}
