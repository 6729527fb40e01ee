//! What the log is told of how a pool is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::health::HealthState;

/// The log is not told of the same state again before.
const QUIET: Duration = Duration::from_secs(10);

/// What the log knows. A pool that goes to and fro does not fill it; and it does not say for long what is not so any more.
#[derive(Debug)]
pub(super) struct Told {
    state: HealthState,
    /// When it was told of each of them last.
    last: HashMap<HealthState, Instant>,
    /// The changes since then.
    changes: u64,
}

impl Told {
    pub(super) fn new(state: HealthState) -> Self {
        Self { state, last: HashMap::new(), changes: 0 }
    }

    /// The state is another than it was at the last look.
    pub(super) fn changes(&mut self) {
        self.changes = self.changes.saturating_add(1);
    }

    /// Whether the log is to be told now that this is the state; then, of how many changes it has not been told. What it was told of a moment ago has to be so still when that is over.
    pub(super) fn ask(&mut self, state: HealthState, now: Instant) -> Option<u64> {
        let is_due = self.last.get(&state).is_none_or(|last| now.saturating_duration_since(*last) >= QUIET);
        if state == self.state || !is_due {
            return None;
        }
        self.state = state;
        self.last.insert(state, now);
        Some(std::mem::take(&mut self.changes).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthState::{Degraded, Healthy, Starting, Unhealthy};

    #[test]
    fn a_state_is_told_at_once_and_again_when_it_has_not_been_for_a_while() {
        let (mut told, began, mut before) = (Told::new(Starting), Instant::now(), Starting);
        let mut at = |second, state| {
            if state != before {
                told.changes();
            }
            before = state;
            told.ask(state, began + Duration::from_secs(second))
        };
        assert_eq!([at(0, Starting), at(1, Healthy), at(2, Degraded)], [None, Some(0), Some(0)]);
        assert_eq!([at(3, Healthy), at(4, Unhealthy)], [None, Some(1)], "what is worse waits for nothing");
        assert_eq!([at(5, Degraded), at(11, Degraded)], [None, None]);
        assert_eq!([at(12, Degraded), at(13, Degraded)], [Some(0), None], "it is told when it lasts");
        assert_eq!([at(14, Healthy), at(15, Degraded), at(16, Healthy)], [Some(0), None, None]);
        assert_eq!([at(17, Degraded), at(30, Degraded)], [None, Some(2)]);
    }
}
