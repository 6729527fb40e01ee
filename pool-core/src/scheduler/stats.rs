//! What has come of requests.

use crate::counters::Counter;
use crate::schedule::Priority;
use crate::shed::{Key, Shed};
use crate::stats::Distribution;
use crate::times::Times;

/// A scheduler so far. Counters only ever grow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStats {
    /// Requests that were let through: at once, or after a wait.
    pub passed: u64,
    /// Those whose time was over before their turn came.
    pub timeouts: u64,
    /// Those that were given up, their futures dropped, while they waited.
    pub cancelled: u64,
    /// Those that were turned away, by reason.
    pub shed: ShedCounts,
    /// How long those waited that were let through, by priority, from high to low.
    pub waits: [Distribution; Priority::ALL.len()],
    /// How many wait now.
    pub waiting: usize,
    /// How many connections are in use, or about to be.
    pub in_use: usize,
    /// How many may be.
    pub limit: usize,
}

/// Requests that were turned away, by [reason](Shed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShedCounts {
    /// [`Shed::Full`].
    pub full: u64,
    /// [`Shed::KeyFull`].
    pub key_full: u64,
    /// [`Shed::Standing`].
    pub standing: u64,
    /// [`Shed::Hopeless`].
    pub hopeless: u64,
    /// [`Shed::Keys`].
    pub keys: u64,
    /// [`Shed::Impossible`].
    pub impossible: u64,
}

/// One key now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Which; `None` for requests without one.
    pub key: Option<Key>,
    /// How many connections it has.
    pub in_use: usize,
    /// How many requests wait for it.
    pub waiting: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    passed: Counter,
    pub(super) timeouts: Counter,
    pub(super) cancelled: Counter,
    full: Counter,
    key_full: Counter,
    standing: Counter,
    hopeless: Counter,
    keys: Counter,
    impossible: Counter,
    waits: [Times; Priority::ALL.len()],
}

impl Counts {
    pub(super) fn passed(&self, priority: Priority, waited: u64) {
        self.passed.add(1);
        self.waits[priority as usize].note(waited, 1);
    }

    pub(super) fn shed(&self, why: &Shed) {
        let counter = match why {
            Shed::Full { .. } => &self.full,
            Shed::KeyFull { .. } => &self.key_full,
            Shed::Standing => &self.standing,
            Shed::Hopeless { .. } => &self.hopeless,
            Shed::Keys { .. } => &self.keys,
            Shed::Impossible { .. } => &self.impossible,
        };
        counter.add(1);
    }

    pub(super) fn snapshot(&self, waiting: usize, in_use: usize, limit: usize) -> ScheduleStats {
        let shed = ShedCounts {
            full: self.full.get(),
            key_full: self.key_full.get(),
            standing: self.standing.get(),
            hopeless: self.hopeless.get(),
            keys: self.keys.get(),
            impossible: self.impossible.get(),
        };
        let waits = std::array::from_fn(|priority| self.waits[priority].distribution());
        let (passed, timeouts, cancelled) = (self.passed.get(), self.timeouts.get(), self.cancelled.get());
        ScheduleStats { passed, timeouts, cancelled, shed, waits, waiting, in_use, limit }
    }
}
