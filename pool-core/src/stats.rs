//! What the pool tells about itself.

use std::fmt;
use std::time::Duration;

/// How many connections are where, and how many callers wait. One reading, slot by slot: while the pool
/// is in use, counts read at different moments need not add up to a state that existed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolState {
    /// Connections that exist or are being opened, the ones being closed included.
    pub size: usize,
    /// Connections ready to be acquired.
    pub idle: usize,
    /// Connections in the hands of callers.
    pub leased: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Connections being reset, pinged or closed.
    pub in_maintenance: usize,
    /// Callers waiting for whom no connection is on its way yet. One who gave up at the very moment when its time was over may be counted until the next
    /// connection comes back.
    pub waiting: usize,
    /// The most connections the pool opens.
    pub max_size: usize,
    /// Whether the pool has been closed.
    pub closed: bool,
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { idle, leased, opening, in_maintenance, waiting, max_size, .. } = self;
        write!(
            f,
            "{leased} leased, {idle} idle, {opening} opening, {in_maintenance} in maintenance of {max_size}; {waiting} waiting"
        )
    }
}

/// The state of the pool and what happened since it was built. Counters only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where the connections are now.
    pub state: PoolState,
    /// Connections handed to callers.
    pub acquired: u64,
    /// Acquires that had to wait, the ones that failed or were cancelled included.
    pub waited: u64,
    /// Time spent in acquires that had to wait, the ones that failed or were cancelled included. An estimate: after the first 256 that a connection ended, only
    /// every 16th is timed, and counts 16 times.
    pub wait_time: Duration,
    /// Acquires that ended in [`AcquireError::Timeout`](crate::AcquireError::Timeout).
    pub timeouts: u64,
    /// Acquires dropped by their caller while they waited.
    pub cancelled: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Attempts to open a connection that failed.
    pub open_failures: u64,
    /// Connections closed because they were found broken, failed a reset or a ping, or were discarded by their user.
    pub broken: u64,
    /// Connections closed because of their age.
    pub expired: u64,
    /// Connections closed because they were idle for too long.
    pub reaped: u64,
}
