//! Waiting until the pool is as somebody wants it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

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

/// Waits for a future, unless and until the pool is such that nobody wants that any more.
///
/// Cancel safety: that of the future, which is dropped.
pub(crate) async fn unless<D: Driver, T>(
    engine: &Arc<Engine<D>>,
    stops: impl Fn(&Engine<D>) -> bool,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut stopped = pin!(watch(engine, || stops(engine).then_some(())));
    let mut future = pin!(future);
    poll_fn(|context| match stopped.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(context).map(Some),
    })
    .await
}

impl<D: Driver> Engine<D> {
    /// Whether nobody gets a connection: the pool is paused, or closed.
    pub(crate) fn is_out_of_service(&self) -> bool {
        let sight = self.core.gate().glance();
        sight.is_paused() || sight.is_closed()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.core.gate().glance().is_paused()
    }

    /// Tells those who watch that something has changed: a connection was opened, could not be opened or left its user during a pause, other settings are in force,
    /// connections are retired, a pause or the pool has ended, or a janitor has.
    pub(crate) fn tell(&self) {
        self.changed.notify_waiters();
    }
}
