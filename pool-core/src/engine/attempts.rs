//! The attempts to open a connection that are under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempt::{Attempt, Progress};

/// Looked at by those who have waited in vain, and by nobody on the way of a success.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Vec<Arc<Attempt>>>);

impl Attempts {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One begins.
    pub(super) fn begin(&self) -> Arc<Attempt> {
        let attempt = Arc::new(Attempt::default());
        self.list().push(Arc::clone(&attempt));
        attempt
    }

    /// It has ended.
    pub(super) fn end(&self, attempt: &Arc<Attempt>) {
        self.list().retain(|other| !Arc::ptr_eq(other, attempt));
    }

    /// How far the oldest one has come.
    pub(super) fn oldest(&self) -> Option<Progress> {
        self.list().first().map(|attempt| attempt.progress())
    }
}
