//! Close: nobody gets a connection any more, and every connection is closed as soon as it is given back.

use std::pin::pin;
use std::sync::Arc;

use super::panics::{shielded, wake};
use super::{Engine, ensure_janitor};
use crate::driver::Driver;

impl<D: Driver> Engine<D> {
    /// Closes the gate and sends everybody away who waits at it. The janitor does the rest.
    pub(crate) fn begin_close(&self) {
        if !self.core.gate().close() {
            return;
        }
        // Whoever counts itself from now on sees the bit and leaves by itself.
        self.core.send_away(wake);
        self.bell.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core.gate().glance().is_closed()
    }
}

/// Closes the pool and waits until nothing is open.
pub(crate) async fn close<D: Driver>(engine: &Arc<Engine<D>>) {
    engine.begin_close();
    shielded(async {
        loop {
            let mut janitor_left = pin!(engine.janitor_left.notified());
            // Listening before looking: a janitor that leaves in between is noticed.
            janitor_left.as_mut().enable();
            ensure_janitor(engine);
            // Owned across the await: nothing. A caller that stops waiting leaves the pool closing.
            if engine.all_closed.run_until_cancelled(janitor_left).await.is_none() || engine.all_closed.is_cancelled() {
                return;
            }
        }
    })
    .await;
}
