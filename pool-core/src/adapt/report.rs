//! What is told of it.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Why a pool has the size that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdaptReason {
    /// It is not known yet how long the backend takes when all is well.
    Learning,
    /// It is large enough, and not too large.
    Enough,
    /// It has grown: callers waited, and the backend was as fast as ever.
    Waits,
    /// It has grown, and whether that was of use will be seen.
    Trying,
    /// It is as it was before it grew: callers waited all the same, and no more of them were served.
    InVain,
    /// Callers wait, but it has grown in vain not long ago.
    NotAgain,
    /// Callers wait, and the backend takes longer than it usually does: more connections would make that worse.
    Slow,
    /// Callers wait, but fewer come than are served.
    Draining,
    /// Callers wait, and it may not be larger.
    AtMaximum,
    /// It has shrunk: nobody waited, and fewer connections were in use.
    Quiet,
    /// It was out of the limits that are in force, and is within them.
    Limits,
    /// Nothing was decided: the pool is paused, or could not open a connection not long ago.
    Trouble,
    /// The pool has been closed.
    Closed,
}

impl fmt::Display for AdaptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = TEXTS.iter().find(|(reason, _)| reason == self).map_or("", |(_, text)| text);
        f.write_str(text)
    }
}

const TEXTS: [(AdaptReason, &str); 13] = [
    (AdaptReason::Learning, "it is not known yet how fast the backend is"),
    (AdaptReason::Enough, "it is enough"),
    (AdaptReason::Waits, "callers waited"),
    (AdaptReason::Trying, "it has grown, and whether that is of use will be seen"),
    (AdaptReason::InVain, "growth was in vain"),
    (AdaptReason::NotAgain, "callers wait, and growth was in vain not long ago"),
    (AdaptReason::Slow, "callers wait, and the backend is slower than usual"),
    (AdaptReason::Draining, "callers wait, and fewer come than are served"),
    (AdaptReason::AtMaximum, "callers wait, and it may not be larger"),
    (AdaptReason::Quiet, "fewer were in use for a while"),
    (AdaptReason::Limits, "the limits are others"),
    (AdaptReason::Trouble, "the pool is paused, or could not open a connection"),
    (AdaptReason::Closed, "the pool is closed"),
];

/// The size of a pool, as of the last look, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdaptReport {
    /// The size in force, [`Config::max_size`](crate::Config::max_size).
    pub size: usize,
    /// As many as the demand needs by what was measured, whatever the limits: those in use on average, and headroom.
    pub wanted: usize,
    /// Why it is that size.
    pub reason: AdaptReason,
    /// How many connections were in use, on average since the look before.
    pub in_use: f64,
    /// How many callers came in a second.
    pub arrivals: f64,
    /// How long those who came had to wait, on average.
    pub wait: Duration,
    /// How long connections are held, on average of late.
    pub hold: Duration,
    /// How much longer the backend takes than usual: 1 is as usual, 2 is twice as long. By [`Stats::execution`](crate::Stats::execution) if the driver notes executions, by `hold` otherwise.
    pub slowness: f64,
    /// How often the size has been changed.
    pub changes: u64,
    /// When it was made. One that is older than a few intervals is one that nobody renews: the runtime of the adapter stands still, or has ended.
    pub at: Instant,
}

impl AdaptReport {
    /// Whether nobody needs to be told of the other one.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        (self.size, self.reason) == (other.size, other.reason)
    }
}

impl fmt::Display for AdaptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, wanted, reason, in_use, arrivals, wait, hold, slowness, .. } = self;
        write!(f, "size {size}: {reason} (wanted {wanted}; {in_use:.1} in use, {arrivals:.1} arrivals/s, ")?;
        write!(f, "wait {wait:.1?}, hold {hold:.1?}, {slowness:.2} of the usual time)")
    }
}
