//! Close: nobody gets a connection any more, and every connection is closed as soon as it is given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::changes::watch;
use super::panics::wake;
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
        self.tell();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core.gate().glance().is_closed()
    }
}

/// Closes the pool and waits until nothing is open.
pub(crate) async fn close<D: Driver>(engine: &Arc<Engine<D>>) {
    engine.begin_close();
    watch(engine, || engine.all_closed.is_cancelled().then_some(())).await;
}

/// Closes the pool, waits for up to `limit`, and aborts what goes on then. Returns how many connections somebody still holds.
pub(crate) async fn close_within<D: Driver>(engine: &Arc<Engine<D>>, limit: Duration) -> usize {
    if timeout(limit, close(engine)).await.is_ok() {
        return 0;
    }
    engine.tasks.abort();
    engine.bell.notify_one();
    // Owned across the await: nothing.
    watch(engine, || {
        let held = engine.core.table.counts().leased;
        let rest = engine.core.capacity.read().open - held.min(engine.core.capacity.read().open);
        (rest == 0).then_some(held)
    })
    .await
}
