//! What is counted of requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::slow::{Listener, Warnings};
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
    /// How many have been answered, have failed, or were dropped.
    pub queries: u64,
    /// How many of them have failed, [timed out](Self::timed_out) or not.
    pub failed: u64,
    /// How many of those came to a limit of time, at the client or of the server ([`QueryError::is_timeout`](crate::QueryError::is_timeout)).
    pub timed_out: u64,
    /// How many were dropped before they were answered.
    pub dropped: u64,
    /// For how many, timed out or dropped, the server was asked to cancel them. What the pool cancels on connections that come back is not among them.
    pub cancelled: u64,
    /// How many were [slow](crate::Limits::slow_query).
    pub slow: u64,
    /// How many were answered within [`Limits::sla`](crate::Limits::sla); an error is an answer, too.
    pub sla_met: u64,
    /// How many were not: those that were answered later, that came to a limit of time, whose connection was lost, or that were dropped after that time.
    pub sla_missed: u64,
}

/// One thing that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Queries,
    Failed,
    TimedOut,
    Dropped,
    Cancelled,
    Slow,
    SlaMet,
    SlaMissed,
    /// Executions of a statement that the connection had prepared before; for [`StatementStats`](crate::StatementStats).
    Hits,
}

const ITEMS: usize = Item::Hits as usize + 1;

/// What is counted of one connection, so that no two processors write to the same line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters([AtomicU64; ITEMS]);

impl Counters {
    pub(crate) fn add(&self, item: Item) {
        self.0[item as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> [u64; ITEMS] {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// What is counted of all connections, and who wants to know of slow requests.
pub(crate) struct Ledger {
    books: Mutex<Books>,
    pub(super) listener: Mutex<Option<Listener>>,
    pub(super) warnings: Warnings,
    /// Of sessions in which something was left.
    left_behind: Warnings,
}

impl Default for Ledger {
    fn default() -> Self {
        let (books, listener) = (Mutex::default(), Mutex::default());
        Self { books, listener, warnings: Warnings::new(1), left_behind: Warnings::new(10) }
    }
}

#[derive(Default)]
struct Books {
    open: Vec<Arc<Counters>>,
    /// Of connections that are gone.
    closed: [u64; ITEMS],
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> [u64; ITEMS] {
        let books = self.books();
        books.open.iter().map(|counters| counters.snapshot()).fold(books.closed, sum)
    }

    /// If somebody may be warned of what was left behind in a session: how many times that was not done since the last one.
    pub(crate) fn may_warn(&self) -> Option<u64> {
        self.left_behind.ask()
    }

    /// Executions of statements that were prepared before.
    pub(crate) fn hits(&self) -> u64 {
        self.all()[Item::Hits as usize]
    }

    fn snapshot(&self) -> QueryStats {
        let [queries, failed, timed_out, dropped, cancelled, slow, sla_met, sla_missed, _] = self.all();
        QueryStats { queries, failed, timed_out, dropped, cancelled, slow, sla_met, sla_missed }
    }
}

fn sum(mut all: [u64; ITEMS], more: [u64; ITEMS]) -> [u64; ITEMS] {
    all.iter_mut().zip(more).for_each(|(all, more)| *all += more);
    all
}

/// What is counted of one connection, for as long as there is one.
pub(crate) struct Tally {
    counters: Arc<Counters>,
    ledger: Arc<Ledger>,
}

impl Tally {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        let counters = Arc::<Counters>::default();
        ledger.books().open.push(Arc::clone(&counters));
        Self { counters, ledger: Arc::clone(ledger) }
    }

    pub(crate) fn add(&self, item: Item) {
        self.counters.add(item);
    }

    /// For one who counts when the connection may be gone: what is counted then is lost.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counters.fmt(f)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut books = self.ledger.books();
        books.open.retain(|counters| !Arc::ptr_eq(counters, &self.counters));
        books.closed = sum(books.closed, self.counters.snapshot());
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
        self.cluster.settings.ledger.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_outlives_its_connection() {
        let ledger = Arc::default();
        let (one, other) = (Tally::new(&ledger), Tally::new(&ledger));
        one.add(Item::Queries);
        one.add(Item::SlaMissed);
        other.add(Item::Queries);
        let wanted = QueryStats { queries: 2, sla_missed: 1, ..QueryStats::default() };
        assert_eq!(ledger.snapshot(), wanted);
        drop(one);
        assert_eq!(ledger.snapshot(), wanted);
        drop(other);
        assert_eq!((ledger.snapshot(), ledger.books().open.len()), (wanted, 0));
    }
}
