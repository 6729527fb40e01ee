//! What a driver measures and wants, on its way into its pool.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::stats::Distribution;
use crate::times::{Counted, Times};

/// Notes how long connections are worked with, and asks for others; a pool gives it to its driver in [`Driver::attach`](crate::Driver::attach). All clones are the same.
///
/// It keeps no pool open: what is noted after the pool has gone is lost, and harms nobody. Noting one never waits, so it may be done wherever
/// the driver learns of it.
///
/// A new one, from [`Default`], belongs to no pool: for tests of a driver.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// let recorder = pool_core::Recorder::default();
/// recorder.record_execution(Duration::from_millis(5));
/// recorder.record_executions(Duration::from_millis(20), 16);
/// assert_eq!(recorder.executions().count, 17);
/// ```
#[derive(Clone, Default)]
pub struct Recorder(Arc<Notes>);

#[derive(Default)]
struct Notes {
    /// Those that have not failed, and those that have.
    executions: Times,
    failed: Failed,
    /// In which time all connections are to be replaced.
    demand: Mutex<Option<Duration>>,
}

/// Those that have failed, by what has gone wrong. Each kind has a place once there is one of it: nobody who notes one waits.
#[derive(Default)]
struct Failed {
    kinds: [OnceLock<(&'static str, Box<Times>)>; KINDS],
    /// Those for which there is no place, and those of no kind.
    other: OnceLock<Box<Times>>,
}

/// So many kinds of errors are told apart.
const KINDS: usize = 32;

/// What OpenTelemetry calls all other errors.
const OTHER: &str = "_OTHER";

impl Failed {
    fn times(&self, error_type: &'static str) -> &Times {
        let kinds = self.kinds.iter().filter(|_| error_type != OTHER);
        let mut places = kinds.map(|place| place.get_or_init(|| (error_type, Box::default())));
        let own = places.find_map(|(kind, times)| (*kind == error_type).then_some(times));
        own.unwrap_or_else(|| self.other.get_or_init(Box::default))
    }

    fn counted(&self) -> impl Iterator<Item = (&'static str, Counted)> {
        let kinds = self.kinds.iter().filter_map(OnceLock::get).map(|(kind, times)| (*kind, times));
        let other = self.other.get().map(|times| (OTHER, times));
        kinds.chain(other).map(|(kind, times)| (kind, times.counted()))
    }
}

impl Recorder {
    /// Notes how long a query took, or whatever a connection is used for: it shows in [`Stats::execution`](crate::Stats::execution). To the metric `pool.connectivity.time` it says that the backend has answered.
    pub fn record_execution(&self, time: Duration) {
        self.record_executions(time, 1);
    }

    /// As [`record_execution`](Recorder::record_execution), for a sample that stands for so many: for drivers that do not measure all of them.
    pub fn record_executions(&self, time: Duration, stands_for: u64) {
        self.0.executions.note(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), stands_for);
    }

    /// As [`record_executions`](Recorder::record_executions), for what has failed with an error of this kind. It counts among all the others, and its kind is the `error.type` of its part of the metric
    /// `db.client.operation.duration`: one of a few names, since each is a series of numbers. 32 are told apart, and what is beyond is `_OTHER`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = pool_core::Recorder::default();
    /// recorder.record_failed_executions(Duration::from_millis(5), 1, "syntax");
    /// assert_eq!(recorder.executions().count, 1);
    /// ```
    pub fn record_failed_executions(&self, time: Duration, stands_for: u64, error_type: &'static str) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.failed.times(error_type).note(nanos, stands_for);
    }

    /// What has been noted so far, as it shows in [`Stats::execution`](crate::Stats::execution).
    pub fn executions(&self) -> Distribution {
        self.counted().distribution()
    }

    pub(crate) fn counted(&self) -> Counted {
        self.0.failed.counted().fold(self.0.executions.counted(), |all, (_, failed)| all.with(&failed))
    }

    /// How many have not failed.
    pub(crate) fn done(&self) -> u64 {
        self.0.executions.counted().count()
    }

    /// Those that have not failed, and those that have, by their kind.
    pub(crate) fn counted_apart(&self) -> (Counted, Vec<(&'static str, Counted)>) {
        (self.0.executions.counted(), self.0.failed.counted().collect())
    }

    /// Asks the pool to replace all its connections, one after the other within `interval`, as [`Pool::retire_all_over`](crate::Pool::retire_all_over) does: for a driver that learns that what it connects with is another
    /// from now on. The pool does so in its next round, within a second; of several demands until then the shortest interval counts. Those that are opened in the meantime are replaced, too.
    ///
    /// # Example
    ///
    /// ```
    /// # let recorder = pool_core::Recorder::default();
    /// recorder.retire_all_over(std::time::Duration::from_secs(60));
    /// ```
    pub fn retire_all_over(&self, interval: Duration) {
        let mut demand = self.0.demand.lock().unwrap_or_else(PoisonError::into_inner);
        *demand = Some(demand.map_or(interval, |other| other.min(interval)));
    }

    /// What the driver has asked for since this was asked last.
    pub(crate) fn take_demand(&self) -> Option<Duration> {
        self.0.demand.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("executions", &self.executions()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_are_told_apart_as_far_as_there_are_places() {
        let recorder = Recorder::default();
        recorder.record_execution(Duration::from_millis(1));
        recorder.record_failed_executions(Duration::from_millis(2), 16, "23");
        recorder.record_failed_executions(Duration::from_millis(3), 1, OTHER);
        let names: Vec<&'static str> = (100..140).map(|number: u32| &*number.to_string().leak()).collect();
        for name in names {
            recorder.record_failed_executions(Duration::from_millis(4), 1, name);
        }
        let (well, failed) = recorder.counted_apart();
        let of = |kind: &str| failed.iter().find(|(name, _)| *name == kind).map(|(_, counted)| counted.count());
        assert_eq!((well.count(), failed.len(), of("23"), of("100")), (1, KINDS + 1, Some(16), Some(1)));
        assert_eq!((of("139"), of(OTHER)), (None, Some(1 + 40 - 31)));
        assert_eq!((recorder.executions().count, recorder.counted().count()), (58, 58));
    }
}
