//! How long things take.

use crate::recorder::Recorder;
use crate::times::{Counted, Times};

/// All kinds.
#[derive(Default)]
pub(super) struct Measures {
    /// Of acquires that waited in the queue.
    pub(super) wait: Times,
    /// Of those that waited in a line in front of the pool, before or instead: apart, because they may have waited for a quota, which more connections do not cure.
    pub(super) line: Times,
    pub(super) hold: Times,
    pub(super) open: Times,
    pub(super) check: Times,
    /// The driver has a share in it.
    pub(super) execution: Recorder,
}

impl Measures {
    /// All waits for a connection, wherever.
    pub(super) fn waits(&self) -> Counted {
        self.wait.counted().with(&self.line.counted())
    }
}
