//! What is known of a COPY that takes data.
//!
//! tokio-postgres sends two of `Sync` for one: behind the statement, and behind the data. A server that takes data overlooks the first. One that refuses before it has looked for data does not: it is ready twice,
//! and the client takes the second time for the answer to whatever comes next. So the first one becomes a `Flush`, which is as long, and has everything said all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A `Flush`, as far as it differs from a `Sync`.
pub(super) const FLUSH: &[u8] = b"H";

/// What is known outside of the session's task.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    /// Whether there is a name below.
    expected: AtomicBool,
    /// The name of the statement that is about to be executed.
    statement: Mutex<Option<String>>,
    /// Whether the server takes data.
    taking: AtomicBool,
    /// Whether it has reported an error since it began to.
    refused: AtomicBool,
}

impl Copying {
    /// The statement of this name is a COPY that takes data, and is about to be executed. By somebody who has the session for himself.
    pub(crate) fn expect(&self, statement: String) {
        self.refused.store(false, Ordering::Release);
        *self.statement() = Some(statement);
        self.expected.store(true, Ordering::Release);
    }

    /// It is not executed after all.
    pub(crate) fn forget(&self) {
        self.expected.store(false, Ordering::Release);
        *self.statement() = None;
    }

    pub(super) fn is_expected(&self) -> bool {
        self.expected.load(Ordering::Acquire)
    }

    /// How the `Bind` of the statement begins: the portal without a name, and the statement's.
    pub(super) fn beginning(&self) -> Option<Vec<u8>> {
        self.statement().as_ref().map(|name| [b"\0", name.as_bytes(), b"\0"].concat())
    }

    /// Whether the server takes data at the moment.
    pub(crate) fn is_taking(&self) -> bool {
        self.taking.load(Ordering::Acquire)
    }

    /// Whether the server has refused the data: it overlooks what is still sent.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self) {
        self.refused.store(false, Ordering::Release);
        self.taking.store(true, Ordering::Release);
    }

    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.taking.store(false, Ordering::Release);
    }

    fn statement(&self) -> MutexGuard<'_, Option<String>> {
        self.statement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
