//! What all engines connect to: it counts, refuses, and panics once, as it is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Backend {
    refuses: AtomicBool,
    panics: AtomicBool,
    created: AtomicUsize,
    live: AtomicUsize,
    peak: AtomicUsize,
}

impl Backend {
    pub(crate) fn refusing() -> Arc<Self> {
        Arc::new(Self { refuses: AtomicBool::new(true), ..Self::default() })
    }

    /// The first one who connects gets a panic.
    pub(crate) fn panicking() -> Arc<Self> {
        Arc::new(Self { panics: AtomicBool::new(true), ..Self::default() })
    }

    pub(crate) fn created(&self) -> usize {
        self.created.load(Ordering::SeqCst)
    }

    /// The most connections that were there at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    pub(crate) fn connect(self: &Arc<Self>) -> Result<Connection, Refused> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a driver panics");
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Refused);
        }
        self.created.fetch_add(1, Ordering::SeqCst);
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(live, Ordering::SeqCst);
        Ok(Connection(Arc::clone(self)))
    }
}

/// Closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection(Arc<Backend>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Nobody is let in with that password.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong password")
    }
}

impl std::error::Error for Refused {}
