//! Waiting until the pool is as somebody wants it.

use std::pin::pin;
use std::sync::Arc;

use super::panics::shielded;
use super::{Engine, ensure_janitor};
use crate::driver::Driver;

/// Waits until `look` sees what it looks for. It looks again whenever somebody tells of a [change](Engine::tell).
///
/// Cancel safety: nothing is owned while it waits.
pub(crate) async fn watch<D: Driver, T>(engine: &Arc<Engine<D>>, mut look: impl FnMut() -> Option<T>) -> T {
    shielded(async {
        loop {
            let mut changed = pin!(engine.changed.notified());
            // Listening before looking: what changes in between is noticed.
            changed.as_mut().enable();
            // A janitor that leaves is a change, too.
            ensure_janitor(engine);
            if let Some(seen) = look() {
                return seen;
            }
            changed.await;
        }
    })
    .await
}

impl<D: Driver> Engine<D> {
    /// Tells those who watch that something has changed: a connection was opened, could not be opened or left its user during a pause, other settings are in force, a
    /// pause or the pool has ended, or a janitor has.
    pub(super) fn tell(&self) {
        self.changed.notify_waiters();
    }
}
