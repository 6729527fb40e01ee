//! The tasks of a pool, and the end of all of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::panics::{caught, report};
use crate::driver::Aborter;
use crate::foreign::drop_quietly;
use crate::retirement::ConnectionId;

/// What it takes to abort everything that a pool has begun. How many tasks there are is seen in the slots: each has one.
#[derive(Default)]
pub(super) struct Tasks {
    abort: CancellationToken,
    /// Of the connections that are open.
    aborters: Mutex<HashMap<ConnectionId, Aborter>>,
}

impl Tasks {
    /// Runs a task on this runtime until it ends, or everything is aborted. What is dropped then gives back what it has.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        drop(tokio::spawn(async move {
            let _ = abort.run_until_cancelled(task).await;
        }));
    }

    fn aborters(&self) -> MutexGuard<'_, HashMap<ConnectionId, Aborter>> {
        self.aborters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what cuts a connection off.
    pub(super) fn keep(&self, id: ConnectionId, aborter: Aborter) {
        let before = self.aborters().insert(id, aborter);
        drop_quietly(before);
    }

    /// The connection is on its way out, or in somebody else's hands.
    pub(super) fn forget(&self, id: ConnectionId) {
        let aborter = self.aborters().remove(&id);
        drop_quietly(aborter);
    }

    /// Ends all tasks, and cuts off all connections.
    pub(super) fn abort(&self) {
        self.abort.cancel();
        // Outside of the lock: they are foreign code.
        let aborters = std::mem::take(&mut *self.aborters());
        for aborter in aborters.into_values() {
            if let Err(message) = caught(aborter) {
                report(|| tracing::error!(message, "aborting a connection panicked"));
            }
        }
    }
}
