//! What has become of statements so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has become of the statements of all connections of a pool so far; by [`PostgresDriver::statements`](crate::PostgresDriver::statements).
///
/// # Example
///
/// ```no_run
/// # fn show(pool: &pool_postgres::PostgresPool) {
/// let statements = pool.driver().statements();
/// let all = statements.hits + statements.prepared + statements.unprepared;
/// println!("{} of {all} were prepared before", statements.hits);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatementStats {
    /// Executions of a statement that the connection had prepared before.
    pub hits: u64,
    /// Statements that a caller had to wait for while they were prepared.
    pub prepared: u64,
    /// Executions that were sent with their text, and kept nothing on the server.
    pub unprepared: u64,
    /// How often the server was asked what types the parameters of a statement have, for it to be sent with its text.
    pub described: u64,
    /// Statements that were prepared when their connection was opened.
    pub warmed: u64,
    /// Statements that made room for others.
    pub evicted: u64,
    /// Executions that failed since what was prepared or known of them was out of date, and were done anew.
    pub healed: u64,
}

/// The counts of a pool: of what happens rarely.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) prepared: Counter,
    pub(super) unprepared: Counter,
    pub(super) described: Counter,
    pub(super) warmed: Counter,
    pub(super) evicted: Counter,
    pub(super) healed: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// With so many hits, which are counted with each connection.
    pub(crate) fn snapshot(&self, hits: u64) -> StatementStats {
        StatementStats {
            hits,
            prepared: self.prepared.get(),
            unprepared: self.unprepared.get(),
            described: self.described.get(),
            warmed: self.warmed.get(),
            evicted: self.evicted.get(),
            healed: self.healed.get(),
        }
    }
}
