//! What a driver measures and wants, on its way into its pool.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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
    executions: Times,
    /// In which time all connections are to be replaced.
    demand: Mutex<Option<Duration>>,
}

impl Recorder {
    /// Notes how long a query took, or whatever a connection is used for: it shows in [`Stats::execution`](crate::Stats::execution).
    pub fn record_execution(&self, time: Duration) {
        self.record_executions(time, 1);
    }

    /// As [`record_execution`](Recorder::record_execution), for a sample that stands for so many: for drivers that do not measure all of them.
    pub fn record_executions(&self, time: Duration, stands_for: u64) {
        self.0.executions.note(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), stands_for);
    }

    /// What has been noted so far, as it shows in [`Stats::execution`](crate::Stats::execution).
    pub fn executions(&self) -> Distribution {
        self.0.executions.distribution()
    }

    pub(crate) fn counted(&self) -> Counted {
        self.0.executions.counted()
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
