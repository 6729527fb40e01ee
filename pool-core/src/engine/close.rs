//! Close: nobody gets a connection any more, and every connection is closed as soon as it is given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::changes::watch;
use super::maintain::Closing;
use super::{Engine, Job};
use crate::driver::Driver;
use crate::foreign::drop_quietly;
use crate::lifetime::RetireReason;

impl<D: Driver> Engine<D> {
    /// Closes the gate and sends everybody away who waits at it. The janitor does the rest.
    pub(crate) fn begin_close(&self) {
        if !self.core.gate().close() {
            return;
        }
        // Whoever counts itself from now on sees the bit and leaves by itself.
        self.core.send_away(|waker| self.wake(waker));
        self.bell.notify_one();
        self.tell();
        self.tell_followers();
        self.leave_budget();
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

/// How long those tasks are waited for that have been aborted. They have nothing left to do but to be dropped, unless nobody drives their runtime.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Closes the pool, waits for up to `limit`, and aborts what goes on then. Returns how many connections are still open: those that somebody holds, and those
/// that are in the hands of a runtime that nobody drives.
pub(crate) async fn close_within<D: Driver>(engine: &Arc<Engine<D>>, limit: Duration) -> usize {
    if timeout(limit, close(engine)).await.is_ok() {
        return 0;
    }
    engine.tasks.abort();
    engine.bell.notify_one();
    let ended = watch(engine, || {
        engine.drop_what_is_left();
        let (held, open) = (engine.core.table.counts().leased, engine.core.capacity.read().open);
        (open <= held).then_some(held)
    });
    // Owned across the await: nothing.
    timeout(LAST_MOMENT, ended).await.unwrap_or_else(|_| engine.core.capacity.read().open)
}

impl<D: Driver> Engine<D> {
    /// Drops the connections of a pool that has been closed and aborted, as far as they are in nobody's hands. The janitor would do the same, but may be on a
    /// runtime that nobody drives.
    fn drop_what_is_left(self: &Arc<Self>) {
        self.offer_all_idle();
        while let Some(job) = self.jobs.pop() {
            match job {
                Job::Close(claim) => drop(Closing::new(self, claim)),
                Job::Reset(claim) | Job::Returned(claim) => self.retire(claim, RetireReason::Closed),
                Job::Check(claim) => {
                    self.checks.leave();
                    self.retire(claim, RetireReason::Closed);
                }
                Job::OpenerDone(_, failure) => drop_quietly(failure),
            }
        }
        self.note_end();
    }

    /// Tells those who wait for the end if the pool is closed and nothing is open. Nothing will be: whoever reserves room looks at the gate afterwards. Whether it is
    /// so.
    pub(super) fn note_end(&self) -> bool {
        let ended = self.is_closed() && self.core.capacity.read().open == 0;
        if ended && !self.all_closed.is_cancelled() {
            self.all_closed.cancel();
            self.tell();
        }
        ended
    }
}
