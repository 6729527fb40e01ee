//! A backend without a server: its connections are numbers.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_core::{Attempt, Driver, ErrorClass, Pool, PoolBuilder, SessionState};

/// Counts the connections that it opens.
#[derive(Debug, Default)]
pub(crate) struct Toy(AtomicU64);

/// One of them.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    /// What somebody has written on it.
    pub(crate) note: &'static str,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, note } = self;
        write!(f, "connection {number}{}{note}", if note.is_empty() { "" } else { ", " })
    }
}

impl Driver for Toy {
    type Connection = Connection;
    type Error = Infallible;

    async fn connect(&self, _: &Attempt) -> Result<Connection, Infallible> {
        Ok(Connection { number: self.0.fetch_add(1, Ordering::Relaxed), note: "" })
    }
    fn inspect(&self, _: &mut Connection) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, error: &Infallible) -> ErrorClass {
        match *error {}
    }
}

/// A pool of so many.
pub(crate) fn pool(size: usize) -> PoolBuilder<Toy> {
    Pool::builder(Toy::default()).min_size(0).max_size(size)
}
