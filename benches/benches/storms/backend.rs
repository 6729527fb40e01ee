//! What all pools connect to: it takes its time, may refuse, and counts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

/// What a server in the same building needs, with authentication.
const CONNECT: Duration = Duration::from_millis(5);

/// It counts on its own side.
#[derive(Debug, Default)]
pub(crate) struct Backend {
    is_down: AtomicBool,
    /// Connections that were opened.
    created: AtomicUsize,
    refused: AtomicUsize,
    /// Those that are open or being opened: now, and at most.
    there: Mutex<(usize, usize)>,
}

impl Backend {
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn created(&self) -> usize {
        self.created.load(Ordering::SeqCst)
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// The most connections that were there at once, those that were being opened included.
    pub(crate) fn peak(&self) -> usize {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Opens a connection, unless it is down when it would be open.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Connection, Refused> {
        let connection = Connection::begin(self);
        // Owned across the await: what counts it, until it is dropped.
        sleep(CONNECT).await;
        if self.is_down.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Refused);
        }
        self.created.fetch_add(1, Ordering::SeqCst);
        Ok(connection)
    }
}

/// Closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection(Arc<Backend>);

impl Connection {
    fn begin(backend: &Arc<Backend>) -> Self {
        let mut there = backend.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.0 += 1;
        there.1 = there.1.max(there.0);
        drop(there);
        Self(Arc::clone(backend))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.there.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
    }
}

/// It is down.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the backend is down")
    }
}

impl std::error::Error for Refused {}
