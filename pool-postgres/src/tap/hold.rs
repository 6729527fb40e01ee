//! What keeps requests back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::session::Session;

/// Whether anything may be written, and who waits for that.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    holds: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    /// Ready if something may be written. One load if nobody holds anything back, which is almost always.
    pub(super) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut() {
            return Poll::Ready(());
        }
        *self.waker() = Some(cx.waker().clone());
        // It may have been opened before it had the waker.
        if self.is_shut() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn is_shut(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    fn open(&self) {
        self.holds.fetch_sub(1, Ordering::SeqCst);
        let waker = self.waker().take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While there is one, nothing is written on its session: what is meant for the request that is under way cannot hit the next one.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Hold(Arc<Session>);

impl Hold {
    /// From now on. What is being written at this moment still is, unless the caller has the wire.
    pub(crate) fn new(session: &Arc<Session>) -> Self {
        session.gate.holds.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(session))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.gate.open();
    }
}
