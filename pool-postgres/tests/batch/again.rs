//! Batches that are sent once more: since what was known of a statement was out of date, and by whoever tries again.

use futures_util::StreamExt;
use pool_postgres::retry::{GaveUp, Outcome, RetryPolicy};
use pool_postgres::{PostgresPool, Queries, QueryError};
use pool_testkit::spans::Spans;
use std::time::Duration;
use tracing::subscriber::set_default;

use crate::as_one::{INSERT, numbers, table, unharmed};
use crate::common::{config, database};

const ALL: &str = "SELECT * FROM t";
const NAMED: &str = "INSERT INTO t (n) VALUES ($1)";

async fn change(pool: &PostgresPool) {
    pool.batch_execute("ALTER TABLE t ADD COLUMN m int").await.unwrap();
}

/// A table that has changed since a statement was prepared.
#[tokio::test]
async fn what_is_out_of_date_is_sent_once_more_as_one() {
    let (_database, pool) = table(1).await;
    pool.batch().add(NAMED, &[&1]).add(ALL, &[]).execute_all().await.unwrap();
    change(&pool).await;
    let healed = pool.driver().statements().healed;
    assert_eq!(pool.batch().add(NAMED, &[&2]).add(ALL, &[]).execute_all().await.unwrap(), [1, 2]);
    assert_eq!(pool.driver().statements().healed, healed + 1);
    assert_eq!(numbers(&pool).await, [1, 2]);
    unharmed(&pool, 1).await;
}

/// It is one request: what came to nothing is not counted, and not told.
#[tokio::test]
async fn what_is_sent_once_more_counts_once() {
    let database = database();
    let mut config = config(database.url(), 1);
    (config.limits.sla, config.limits.slow_query) = (Some(Duration::from_mins(10)), Some(Duration::from_millis(5)));
    let pool = PostgresPool::connect(config).await.unwrap();
    pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let sleeps = "SELECT pg_sleep(0.01)";
    pool.batch().add(NAMED, &[&1]).add(ALL, &[]).add(NAMED, &[&0]).execute_all().await.unwrap();
    change(&pool).await;
    let (before, spans) = (pool.driver().query_stats(), Spans::default());
    let listening = set_default(spans.clone());
    let batch = pool.batch().add(sleeps, &[]).add(ALL, &[]).add(NAMED, &[&3]);
    assert_eq!(batch.execute_all().await.unwrap(), [1, 2, 1]);
    drop(listening);
    let (after, healed) = (pool.driver().query_stats(), pool.driver().statements().healed);
    assert_eq!((healed, after.queries - before.queries, after.failed, after.skipped), (1, 3, 0, 0));
    assert_eq!((after.sla_met - before.sla_met, after.slow - before.slow), (1, 1));
    let told: Vec<_> = spans.named("db.query").iter().map(|span| span.field("outcome").to_owned()).collect();
    assert_eq!(told, ["answered"], "{:#?}", spans.named("db.query"));
}

/// The server has forgotten all that was prepared.
#[tokio::test]
async fn what_is_gone_is_sent_once_more_as_one() {
    let (_database, pool) = table(1).await;
    let mut lease = pool.acquire().await.unwrap();
    lease.batch().add(INSERT, &[&1]).add(ALL, &[]).execute_all().await.unwrap();
    lease.batch_execute("DEALLOCATE ALL").await.unwrap();
    assert_eq!(lease.batch().add(INSERT, &[&2]).add(ALL, &[]).execute_all().await.unwrap(), [1, 2]);
}

/// Somebody has had answers, or the transaction has failed, or others of it have been done.
#[tokio::test]
async fn else_it_is_prepared_anew_the_next_time() {
    let (_database, pool) = table(1).await;
    pool.batch().add(NAMED, &[&0]).add(ALL, &[]).execute_all().await.unwrap();
    change(&pool).await;
    let answers: Vec<_> = pool.batch().add(NAMED, &[&1]).add(ALL, &[]).send().await.unwrap().collect().await;
    let error = answers[1].as_ref().unwrap_err();
    assert!(error.diagnosis().prepare_again && error.outcome() == Outcome::NotDone, "{error}");
    assert_eq!(numbers(&pool).await, [0]);

    pool.batch().add(ALL, &[]).execute_all().await.unwrap();
    pool.batch_execute("ALTER TABLE t ADD COLUMN o int").await.unwrap();
    let batch = pool.batch().one_by_one().add(NAMED, &[&2]).add(ALL, &[]).add(NAMED, &[&3]);
    assert!(batch.execute_all().await.unwrap_err().diagnosis().prepare_again);
    assert_eq!(numbers(&pool).await, [0, 2, 3]);

    pool.batch().add(ALL, &[]).execute_all().await.unwrap();
    pool.batch_execute("ALTER TABLE t ADD COLUMN p int").await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let error = transaction.batch().add(NAMED, &[&4]).add(ALL, &[]).execute_all().await.unwrap_err();
    assert!(error.diagnosis().prepare_again, "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(pool.batch().add(NAMED, &[&5]).add(ALL, &[]).execute_all().await.unwrap(), [1, 4]);
    unharmed(&pool, 1).await;
}

/// What comes of a batch that is tried again, and how often it was tried.
async fn retried(pool: &PostgresPool, last: &str, is_one: bool) -> (Result<Vec<u64>, (GaveUp, Outcome)>, u32) {
    let mut policy = RetryPolicy::default();
    (policy.pause_initial, policy.pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    let retrier = pool.retrying(policy).unwrap();
    let tries = std::sync::atomic::AtomicU32::new(0);
    let work = async |_| -> Result<Vec<u64>, QueryError> {
        tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let batch = pool.batch().add(INSERT, &[&1]).add(last, &[]);
        if is_one { batch.execute_all().await } else { batch.one_by_one().execute_all().await }
    };
    let outcome = retrier.once(work).await.map_err(|error| (error.reason, error.outcome));
    (outcome, tries.into_inner())
}

/// A table, and a function that fails the first time, as a transaction does that another one has crossed.
async fn failing_once() -> (pool_testkit::postgres::TestDatabase, PostgresPool) {
    let (database, pool) = table(2).await;
    let function = "CREATE SEQUENCE s; CREATE FUNCTION once() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('s') = 1 THEN RAISE 'no' USING ERRCODE = '40001'; END IF; RETURN 1; END $$";
    Queries::batch_execute(&pool, function).await.unwrap();
    (database, pool)
}

#[tokio::test]
async fn a_batch_that_was_rolled_back_can_be_tried_again() {
    let (_database, pool) = failing_once().await;
    assert_eq!(retried(&pool, "SELECT once()", true).await, (Ok(vec![1, 1]), 2));
    assert_eq!(numbers(&pool).await, [1]);
}

#[tokio::test]
async fn a_batch_of_which_a_part_was_done_is_not_tried_again() {
    let (_database, pool) = failing_once().await;
    let expected = (Err((GaveUp::OutcomeUnknown, Outcome::Unknown)), 1);
    assert_eq!(retried(&pool, "SELECT once()", false).await, expected);
    assert_eq!(numbers(&pool).await, [1]);
}

/// All of it had been sent when the session ended.
#[tokio::test]
async fn a_batch_that_may_have_been_done_is_not_tried_again() {
    let (_database, pool) = table(2).await;
    let (outcome, tries) = retried(&pool, "SELECT pg_terminate_backend(pg_backend_pid())", true).await;
    assert_eq!((outcome, tries), (Err((GaveUp::OutcomeUnknown, Outcome::Unknown)), 1));
}
