//! What is known about a wait that came to nothing.

use std::fmt;
use std::time::Duration;

use crate::attempt::{Progress, Step};
use crate::connection::OldestLease;
use crate::stats::PoolState;

/// A caller that gets no connection, and the pool at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Situation {
    /// How long the caller waited.
    pub waited: Duration,
    /// What it waited for: how far the attempt has come that has been under way for longest. Attempts belong to the pool; with many callers it need not be meant for this one.
    pub progress: Progress,
    /// Where the connections were.
    pub state: PoolState,
    /// Whose return it might have waited for.
    pub oldest_lease: Option<OldestLease>,
}

impl Situation {
    /// The step that the caller waited for.
    pub fn step(&self) -> Step {
        self.progress.step
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { progress, state, oldest_lease, .. } = self;
        write!(f, "{progress} ({state})")?;
        oldest_lease.as_ref().map_or(Ok(()), |oldest| write!(f, "; {oldest}"))
    }
}
