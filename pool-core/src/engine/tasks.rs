//! The tasks of a pool, and the end of all of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::panics::{caught, report};
use crate::connection::ConnectionId;
use crate::driver::Aborter;
use crate::foreign::drop_quietly;
use crate::trace::keeping_subscriber;

/// What it takes to abort everything that a pool has begun. How many tasks there are is seen in the slots: each has one.
#[derive(Default)]
pub(super) struct Tasks {
    abort: CancellationToken,
    /// Of the connections that are open.
    aborters: Mutex<HashMap<ConnectionId, Arc<Means>>>,
}

/// What cuts a connection off, until that is done or must not be done any more. Locked while it is done.
struct Means(Mutex<Option<Aborter>>);

impl Means {
    fn aborter(&self) -> MutexGuard<'_, Option<Aborter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Means {
    fn drop(&mut self) {
        drop_quietly(self.aborter().take());
    }
}

impl Tasks {
    /// Runs a task on this runtime until it ends, or everything is aborted. What is dropped then gives back what it has.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        // With the subscriber of the janitor, who is the one that calls this.
        drop(tokio::spawn(keeping_subscriber(async move {
            let _ = abort.run_until_cancelled(task).await;
        })));
    }

    fn aborters(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Means>>> {
        self.aborters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what cuts a connection off.
    pub(super) fn keep(&self, id: ConnectionId, aborter: Aborter) {
        let before = self.aborters().insert(id, Arc::new(Means(Mutex::new(Some(aborter)))));
        drop(before);
    }

    /// The connection is on its way out. It may be cut off all the same at this moment.
    pub(super) fn forget(&self, id: ConnectionId) {
        let means = self.aborters().remove(&id);
        // Outside of the lock: it is foreign code.
        drop(means);
    }

    /// The connection is in somebody else's hands: it has been cut off by now, or never is.
    pub(super) fn forget_for_good(&self, id: ConnectionId) {
        let means = self.aborters().remove(&id);
        let aborter = means.and_then(|means| means.aborter().take());
        drop_quietly(aborter);
    }

    /// Cuts off a connection that somebody has. Whether that can be done.
    pub(super) fn cut_off(&self, id: ConnectionId) -> bool {
        let means = self.aborters().get(&id).cloned();
        let Some(means) = means else { return false };
        // Locked while it is done, as in `abort`.
        let mut aborter = means.aborter();
        let outcome = aborter.take().map(caught);
        if let Some(Err(message)) = &outcome {
            report(|| tracing::error!(panic = message, "aborting a connection panicked"));
        }
        outcome.is_some()
    }

    /// Ends all tasks, and cuts off all connections.
    pub(super) fn abort(&self) {
        self.abort.cancel();
        // Outside of the lock of the list: they are foreign code. And still in there: whoever detaches a connection meanwhile finds its own.
        let all: Vec<_> = self.aborters().values().cloned().collect();
        let failed = all.iter().filter_map(|means| means.aborter().take().map(caught)?.err());
        // One event for all of them.
        let (mut times, mut last) = (0_u64, None);
        failed.for_each(|message| (times, last) = (times + 1, Some(message)));
        if let Some(message) = last {
            report(|| tracing::error!(panic = message, times, "aborting connections panicked"));
        }
    }
}
