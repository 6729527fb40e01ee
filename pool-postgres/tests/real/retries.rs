//! Operations that are tried again, and those that are not.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, join};
use pool_postgres::retry::{
    AttemptError, GaveUp, Outcome, Retrier, RetryError, RetryPolicy, RetryReason, TransactionOptions,
};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::{Error, IsolationLevel};
use pool_postgres::{PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::TestDatabase;
use tokio::sync::Notify;

use crate::common::{eventually, pool, watcher};

/// What an operation gets to work with.
pub(crate) type Lease = Arc<PostgresOwnedLease>;

/// A policy without long pauses.
pub(crate) fn quick() -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    (policy.pause_initial, policy.pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    policy
}

/// A table `t` with a counter in row 1 and another in row 2, a pool of two, and somebody else in the same database.
pub(crate) struct Setting {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PostgresPool,
    pub(crate) retrier: Retrier,
    pub(crate) other: PostgresOwnedLease,
    pub(crate) watch: PostgresOwnedLease,
}

impl Setting {
    pub(crate) async fn new(policy: RetryPolicy) -> Self {
        let (database, pool) = pool(2).await;
        let watch = watcher(&database).await;
        let others = PostgresPool::connect(crate::common::config(database.url(), 1)).await.unwrap();
        let other = others.acquire_owned().await.unwrap();
        let table = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)";
        other.batch_execute(table).await.unwrap();
        let retrier = pool.retrying(policy).unwrap();
        Self { database, pool, retrier, other, watch }
    }

    /// How far the first counter has come.
    pub(crate) async fn counted(&self) -> i32 {
        self.other.query_one("SELECT n FROM t WHERE id = 1", &[]).await.unwrap().get(0)
    }

    /// Ends the sessions that run this.
    async fn end_sessions(&self, query: &str) {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND datname = $2";
        eventually("a session is ended", async || {
            self.watch.query_one(end, &[&query, &self.database.name()]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
    }

    async fn until_somebody_waits_for_a_lock(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        eventually("somebody waits", async || {
            self.watch.query_one(waiting, &[&self.database.name()]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
    }

    /// The counts of a retrier: operations, those that succeeded, attempts.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let stats = self.retrier.stats();
        (stats.operations, stats.succeeded, stats.attempts)
    }

    pub(crate) fn retries(&self, reason: RetryReason) -> u64 {
        self.retrier.stats().retries().find(|(other, _)| *other == reason).unwrap().1
    }

    pub(crate) fn given_up(&self, reason: GaveUp) -> u64 {
        self.retrier.stats().given_up().find(|(other, _)| *other == reason).unwrap().1
    }

    /// Nothing is left behind: nobody holds a lease, no transaction is open.
    pub(crate) async fn close(self) {
        eventually("all leases are back", async || self.pool.state().leased == 0).await;
        self.pool.disconnect().await;
    }
}

fn at(level: IsolationLevel) -> TransactionOptions {
    let mut options = TransactionOptions::default();
    options.isolation_level = Some(level);
    options
}

/// How an operation failed: how often it was tried, why not again, and what has become of it.
pub(crate) fn told<T: fmt::Debug>(outcome: Result<T, RetryError>) -> (u32, GaveUp, Outcome) {
    let error = outcome.unwrap_err();
    (error.attempts, error.reason, error.outcome)
}

pub(crate) const COUNT: &str = "UPDATE t SET n = n + 1 WHERE id = 1";

#[tokio::test]
async fn a_serialization_failure_at_a_statement_is_tried_again() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let counting = async |lease: Lease| -> Result<i32, Error> {
        let n: i32 = lease.query_one("SELECT n FROM t WHERE id = 1", &[]).await?.get(0);
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            it.other.batch_execute(COUNT).await.unwrap();
        }
        lease.execute("UPDATE t SET n = $1 WHERE id = 1", &[&(n + 1)]).await?;
        Ok(n + 1)
    };
    let n = it.retrier.transaction_with(at(IsolationLevel::RepeatableRead), counting).await.unwrap();
    assert_eq!((n, it.counted().await, it.counts()), (2, 2, (1, 1, 2)));
    assert_eq!(it.retries(RetryReason::Serialization), 1);
    it.close().await;
}

#[tokio::test]
async fn a_serialization_failure_at_commit_is_tried_again() {
    let it = Setting::new(quick()).await;
    let (tries, skew) = (AtomicU32::new(0), "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(n) FROM t");
    let working = async |lease: Lease| -> Result<(), Error> {
        let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
        lease.query("SELECT sum(n) FROM t", &[]).await?;
        if first {
            it.other.batch_execute(skew).await.unwrap();
            it.other.batch_execute("UPDATE t SET n = n + 1 WHERE id = 2").await.unwrap();
        }
        lease.batch_execute(COUNT).await?;
        if first {
            it.other.batch_execute("COMMIT").await.unwrap();
        }
        Ok(())
    };
    it.retrier.transaction_with(at(IsolationLevel::Serializable), working).await.unwrap();
    assert_eq!((it.counted().await, it.counts()), (1, (1, 1, 2)));
    assert_eq!(it.retries(RetryReason::Serialization), 1);
    it.close().await;
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let it = Setting::new(quick()).await;
    // The one that notices is the one that loses.
    it.other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; UPDATE t SET n = n + 1 WHERE id = 2").await.unwrap();
    let (tries, met) = (AtomicU32::new(0), Notify::new());
    let both = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute("SET LOCAL deadlock_timeout = '50ms'").await?;
        lease.batch_execute(COUNT).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            met.notify_one();
            it.until_somebody_waits_for_a_lock().await;
        }
        lease.batch_execute("UPDATE t SET n = n + 1 WHERE id = 2").await
    };
    let theirs = async {
        met.notified().await;
        it.other.batch_execute("UPDATE t SET n = n + 1 WHERE id = 1; COMMIT").await.unwrap();
    };
    let (ours, ()) = join!(it.retrier.transaction(both), theirs);
    ours.unwrap();
    // The next attempt may have been too early, and be the loser again.
    let retries = it.retries(RetryReason::Deadlock);
    assert!(retries >= 1);
    assert_eq!((it.counted().await, it.counts()), (2, (1, 1, retries + 1)));
    it.close().await;
}

/// The session has ended when the first attempt begins; nothing is sent on it.
#[tokio::test]
async fn a_session_that_ends_before_the_statement_costs_a_retry_and_no_more() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let counting = async |lease: Lease| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
            it.other.batch_execute(end).await.unwrap();
            eventually("the session has ended", async || lease.is_closed()).await;
        }
        lease.batch_execute(COUNT).await
    };
    it.retrier.once(counting).await.unwrap();
    assert_eq!((it.counted().await, it.retries(RetryReason::SessionLost), it.counts()), (1, 1, (1, 1, 2)));
    it.close().await;
}

pub(crate) const SLOW: &str = "UPDATE t SET n = n + 1 FROM pg_sleep(600) WHERE id = 1";

/// Runs `SLOW` in the first attempt, in which its session is ended, and `COUNT` in the next.
fn first_slow(tries: &AtomicU32) -> impl AsyncFn(Lease) -> Result<(), Error> {
    async |lease| {
        let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
        lease.batch_execute(if first { SLOW } else { COUNT }).await
    }
}

#[tokio::test]
async fn a_session_that_ends_inside_a_statement_is_the_end_of_what_must_run_once() {
    let it = Setting::new(quick()).await;
    let counting = it.retrier.once(async |lease| lease.batch_execute(SLOW).await);
    let (counted, ()) = join!(counting, it.end_sessions(SLOW));
    assert_eq!(told(counted), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    assert_eq!((it.counted().await, it.given_up(GaveUp::OutcomeUnknown)), (0, 1));
    it.close().await;
}

#[tokio::test]
async fn a_session_that_ends_inside_a_statement_costs_a_retry_of_what_may_run_twice() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let work = first_slow(&tries);
    let (counted, ()) = join!(it.retrier.idempotent(async |lease| work(lease).await), it.end_sessions(SLOW));
    counted.unwrap();
    assert_eq!((it.counted().await, it.retries(RetryReason::SessionLost), it.counts()), (1, 1, (1, 1, 2)));
    it.close().await;
}

#[tokio::test]
async fn a_session_that_ends_before_commit_costs_a_retry_of_the_transaction() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let work = first_slow(&tries);
    let (counted, ()) = join!(it.retrier.transaction(async |lease| work(lease).await), it.end_sessions(SLOW));
    counted.unwrap();
    assert_eq!((it.counted().await, it.retries(RetryReason::SessionLost), it.counts()), (1, 1, (1, 1, 2)));
    it.close().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    let it = Setting::new(quick()).await;
    let twice = async |lease: Lease| lease.batch_execute("INSERT INTO t VALUES (1, 0)").await;
    let refused = (1, GaveUp::NotRetryable, Outcome::NotDone);
    let error = it.retrier.once(twice).await.unwrap_err();
    assert_eq!(error.sqlstate().map(SqlState::code), Some("23505"));
    assert!(error.source().unwrap().is::<Error>() && !error.to_string().contains('\n'), "{error}");
    assert_eq!(told::<()>(Err(error)), refused);
    assert_eq!(told(it.retrier.idempotent(twice).await), refused);
    assert_eq!(told(it.retrier.transaction(twice).await), refused);
    assert_eq!((it.counts(), it.given_up(GaveUp::NotRetryable)), ((3, 0, 3), 3));
    it.close().await;
}

/// A statement of its own that a lock is in the way of, for as long as the first attempt lasts.
#[tokio::test]
async fn what_the_server_has_not_done_is_tried_again() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    it.other.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let counting = async |lease: Lease| {
        // In one query, and so in one transaction.
        let outcome = lease.batch_execute(&format!("SET LOCAL lock_timeout = '50ms'; {COUNT}")).await;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            it.other.batch_execute("ROLLBACK").await.unwrap();
        }
        outcome
    };
    // `SET` was completed before the other was refused: whoever cannot know what it was does not try again.
    assert_eq!(told(it.retrier.once(counting).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    let impatient = format!("ALTER DATABASE {} SET lock_timeout = '50ms'", it.database.name());
    it.other.batch_execute(&impatient).await.unwrap();
    it.pool.retire_all();
    it.other.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    tries.store(0, Ordering::Relaxed);
    let counting = async |lease: Lease| {
        let outcome = lease.execute(COUNT, &[]).await;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            it.other.batch_execute("ROLLBACK").await.unwrap();
        }
        outcome
    };
    assert_eq!(it.retrier.once(counting).await.unwrap(), 1);
    assert_eq!((it.counted().await, it.retries(RetryReason::NotNow)), (1, 1));
    it.close().await;
}

pub(crate) const REFUSED: &str = "DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END $$";

#[tokio::test]
async fn what_is_partly_done_is_not_done_again() {
    let it = Setting::new(quick()).await;
    let halves = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute(COUNT).await?;
        lease.batch_execute(REFUSED).await
    };
    assert_eq!(told(it.retrier.once(halves).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    // Both at once: the second is under way, or not even sent, when the first fails.
    let both = async |lease: Lease| -> Result<(), Error> {
        let count = lease.batch_execute(COUNT);
        let (refused, ()) = futures_util::try_join!(lease.batch_execute(REFUSED), count)?;
        Ok(refused)
    };
    let before = it.counted().await;
    let (attempts, ..) = told(it.retrier.once(both).await);
    let counted = u32::try_from(it.counted().await - before).unwrap();
    assert!(counted <= 1, "{counted} times in {attempts} attempts");
    it.close().await;
}

#[tokio::test]
async fn what_waits_to_be_sent_is_not_taken_for_not_done() {
    let it = Setting::new(quick()).await;
    let forgetful = async |lease: Lease| -> Result<(), Error> {
        let refused = lease.batch_execute(REFUSED).await;
        lease.batch_execute("").await?;
        assert!(lease.batch_execute(COUNT).now_or_never().is_none(), "it is in the client's queue");
        refused
    };
    assert_eq!(told(it.retrier.once(forgetful).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    it.close().await;
}

#[tokio::test]
async fn an_error_that_leaves_it_open_is_believed() {
    let it = Setting::new(quick()).await;
    let open = "DO $$ BEGIN RAISE EXCEPTION 'who knows' USING ERRCODE = '40003'; END $$";
    let work = async |lease: Lease| lease.batch_execute(open).await;
    assert_eq!(told(it.retrier.once(work).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    assert_eq!(told(it.retrier.idempotent(work).await), (5, GaveUp::Attempts, Outcome::Unknown));
    it.close().await;
}

#[tokio::test]
async fn an_attempt_that_did_nothing_makes_up_for_no_earlier_one() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let work = async |lease: Lease| -> Result<(), Own> {
        if tries.fetch_add(1, Ordering::Relaxed) > 0 {
            return Err(Own::SoldOut);
        }
        lease.batch_execute(COUNT).await?;
        Ok(lease.batch_execute(REFUSED).await?)
    };
    assert_eq!(told(it.retrier.idempotent(work).await), (2, GaveUp::NotRetryable, Outcome::Unknown));
    it.close().await;
}

#[tokio::test]
async fn work_that_ends_the_transaction_itself_is_told() {
    let it = Setting::new(quick()).await;
    for (end, last) in [("COMMIT", 1), ("ROLLBACK", 1)] {
        let hasty = async |lease: Lease| -> Result<(), Error> {
            lease.batch_execute(COUNT).await?;
            lease.batch_execute(end).await
        };
        let error = it.retrier.transaction(hasty).await.unwrap_err();
        assert_eq!((error.attempts, error.outcome), (1, Outcome::Unknown));
        assert_eq!(error.into_source().downcast_ref(), Some(&AttemptError::EndedByWork));
        assert_eq!(it.counted().await, last, "{end}");
    }
    let hastier = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute(COUNT).await?;
        lease.batch_execute("COMMIT").await?;
        lease.batch_execute(REFUSED).await
    };
    assert_eq!(told(it.retrier.transaction(hastier).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    assert_eq!(it.counted().await, 2);
    it.close().await;
}

/// So that the session was never at rest in between.
#[tokio::test]
async fn work_that_commits_and_begins_another_transaction_is_done_once() {
    let it = Setting::new(quick()).await;
    for (number, chain) in (1..).zip(["COMMIT AND CHAIN", "COMMIT; BEGIN"]) {
        let hasty = async |lease: Lease| -> Result<(), Error> {
            lease.batch_execute(COUNT).await?;
            lease.batch_execute(chain).await?;
            lease.batch_execute(REFUSED).await
        };
        assert_eq!(told(it.retrier.transaction(hasty).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown), "{chain}");
        assert_eq!(it.counted().await, number, "{chain}");
    }
    let ended = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute(COUNT).await?;
        lease.batch_execute("COMMIT; SELECT pg_terminate_backend(pg_backend_pid())").await
    };
    assert_eq!(told(it.retrier.transaction(ended).await), (1, GaveUp::OutcomeUnknown, Outcome::Unknown));
    assert_eq!(it.counted().await, 3);
    it.close().await;
}

#[tokio::test]
async fn what_the_server_says_is_in_the_message() {
    let it = Setting::new(quick()).await;
    let error = it.retrier.once(async |lease: Lease| lease.batch_execute("SELECT 1 / 0").await).await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("last error: db error: ERROR: division by zero (SQLSTATE 22012)"), "{text}");
    let own = async |_: Lease| -> Result<(), String> { Err("on two\nlines".to_owned()) };
    let text = it.retrier.once(own).await.unwrap_err().to_string();
    assert!(text.ends_with("last error: on two lines"), "{text}");
    it.close().await;
}

/// An error of a user's own, with that of the client below.
#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("sold out")]
    SoldOut,
    #[error("while counting")]
    Counting(#[from] Error),
}

#[tokio::test]
async fn an_error_of_the_works_own_rolls_back() {
    let it = Setting::new(quick()).await;
    let sell = async |lease: Lease| -> Result<(), Own> {
        lease.batch_execute(COUNT).await?;
        Err(Own::SoldOut)
    };
    let error = it.retrier.transaction(sell).await.unwrap_err();
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::NotRetryable, Outcome::NotDone));
    assert!(matches!(*error.into_source().downcast().unwrap(), Own::SoldOut));
    it.other.batch_execute("BEGIN; LOCK TABLE t NOWAIT; ROLLBACK").await.expect("no lock is left");
    assert_eq!((it.counted().await, it.counts()), (0, (1, 0, 1)));
    it.close().await;
}

#[tokio::test]
async fn an_error_below_the_works_own_decides() {
    let it = Setting::new(quick()).await;
    let tries = AtomicU32::new(0);
    let counting = async |lease: Lease| -> Result<(), Own> {
        lease.batch_execute(COUNT).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            lease.batch_execute(REFUSED).await?;
        }
        Ok(())
    };
    it.retrier.transaction(counting).await.unwrap();
    assert_eq!((it.counted().await, it.counts()), (1, (1, 1, 2)));
    it.close().await;
}
