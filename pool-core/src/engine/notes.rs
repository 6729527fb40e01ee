//! What is known about a connection beside its slot: written when it is opened, and by those who have it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Engine;
use crate::connection::ConnectionId;
use crate::driver::Driver;

/// Of the connections that are open.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<HashMap<ConnectionId, Note>>);

#[derive(Debug)]
struct Note {
    /// Epoch at which it was opened.
    opened_at: u64,
}

impl Notes {
    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionId, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is open from now on.
    pub(super) fn begin(&self, id: ConnectionId, opened_at: u64) {
        self.all().insert(id, Note { opened_at });
    }

    /// It is the pool's no longer.
    pub(super) fn end(&self, id: ConnectionId) {
        self.all().remove(&id);
    }
}

impl<D: Driver> Engine<D> {
    /// Epoch at which a connection was opened.
    pub(super) fn opened_at(&self, id: ConnectionId) -> u64 {
        self.notes.all().get(&id).map_or_else(|| self.epoch.get(), |note| note.opened_at)
    }
}
