//! What is counted of requests.

use std::sync::atomic::{AtomicU64, Ordering};

use super::slow::QueryEnd;
use crate::driver::PostgresDriver;

/// What has become of the requests of [`Queries`](crate::Queries), by [`PostgresDriver::query_stats`].
///
/// # Example
///
/// ```no_run
/// # fn show(pool: &pool_postgres::PostgresPool) {
/// let stats = pool.driver().query_stats();
/// println!("{} of {} in time", stats.sla_met, stats.sla_met + stats.sla_missed);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryStats {
    /// How many have been answered, have failed, or were dropped. What is read or sent bit by bit (streams, cursors, `COPY`) is one, and counts when it has ended.
    pub queries: u64,
    /// How many of them have failed, [timed out](Self::timed_out) or not.
    pub failed: u64,
    /// How many of those came to a limit of time, at the client or of the server ([`QueryError::is_timeout`](crate::QueryError::is_timeout)).
    pub timed_out: u64,
    /// How many were dropped before they were answered to the end.
    pub dropped: u64,
    /// How many statements of a [`Batch`](crate::Batch) were not executed, since an earlier one had failed. They are not among `queries`.
    pub skipped: u64,
    /// For how many, timed out or dropped, the server was asked to cancel them. What the pool cancels on connections that come back is not among them.
    pub cancelled: u64,
    /// How many were [slow](crate::Limits::slow_query).
    pub slow: u64,
    /// How many were answered within [`Limits::sla`](crate::Limits::sla); an error is an answer, too.
    pub sla_met: u64,
    /// How many were not: those that were answered later, that came to a limit of time, whose connection was lost, or that were dropped after that time.
    pub sla_missed: u64,
}

/// One thing that is counted. No request is counted as two of the first five.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Answered,
    Failed,
    TimedOut,
    Dropped,
    Skipped,
    Cancelled,
    Slow,
    SlaMet,
    SlaMissed,
    /// Executions of a statement that the connection had prepared before; for [`StatementStats`](crate::StatementStats).
    Hits,
}

impl From<QueryEnd> for Item {
    fn from(end: QueryEnd) -> Self {
        match end {
            QueryEnd::Answered => Self::Answered,
            QueryEnd::Failed => Self::Failed,
            QueryEnd::TimedOut => Self::TimedOut,
            QueryEnd::Dropped => Self::Dropped,
        }
    }
}

/// How many of them there are.
pub(crate) const ITEMS: usize = Item::Hits as usize + 1;

/// What is counted of one connection, so that no two processors write to the same line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    items: [AtomicU64; ITEMS],
    /// How many statements it keeps prepared.
    kept: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, item: Item) {
        self.items[item as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// It keeps so many statements prepared.
    pub(crate) fn keep(&self, statements: usize) {
        self.kept.store(statements as u64, Ordering::Relaxed);
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> [u64; ITEMS] {
        self.items.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}

impl QueryStats {
    pub(crate) fn of(items: &[u64; ITEMS]) -> Self {
        let [answered, failed, timed_out, dropped, skipped, cancelled, slow, sla_met, sla_missed, _] = *items;
        let failed = failed + timed_out;
        let queries = answered + failed + dropped;
        Self { queries, failed, timed_out, dropped, skipped, cancelled, slow, sla_met, sla_missed }
    }
}

impl PostgresDriver {
    /// What has become of the requests of [`Queries`](crate::Queries) so far, on all connections that this driver has opened.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(pool: &pool_postgres::PostgresPool) {
    /// println!("{} requests were slow", pool.driver().query_stats().slow);
    /// # }
    /// ```
    pub fn query_stats(&self) -> QueryStats {
        QueryStats::of(&self.cluster.settings.ledger.totals().items)
    }
}
