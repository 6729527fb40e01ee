//! How long things take.

use crate::recorder::Recorder;
use crate::times::Times;

/// All kinds.
#[derive(Default)]
pub(super) struct Measures {
    pub(super) wait: Times,
    pub(super) hold: Times,
    pub(super) open: Times,
    pub(super) check: Times,
    /// The driver has a share in it.
    pub(super) execution: Recorder,
}
