//! What a connection is called.

use std::fmt;
use std::time::Duration;

/// Names one connection of one pool for as long as it is open; no other connection in this process ever has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The pool, by its table.
    pub(crate) pool: u64,
    /// The place in the table.
    pub(crate) slot: usize,
    /// How many connections had been closed there before.
    pub(crate) life: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.pool, self.slot, self.life)
    }
}

/// The lease that has been out for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestLease {
    /// Its connection, under which its user knows it, too: [`Lease::connection_id`](crate::Lease::connection_id).
    pub connection: ConnectionId,
    /// For how long, at least: seen to within a second.
    pub held: Duration,
}

impl fmt::Display for OldestLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} has been leased for {:?}", self.connection, self.held)
    }
}
