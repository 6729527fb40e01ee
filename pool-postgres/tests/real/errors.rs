//! Errors that a server reports on a session: what they mean, and what the pool does with the session then. `fNNN` are the faults of the catalogue.

use std::future::Future;

use futures_util::join;
use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::{Client, Error};
use pool_postgres::{PostgresLease, PostgresPool};

use crate::common::{pool, watcher};

/// Checks what an error is said to mean.
fn assert_means(error: &Error, code: &str, advice: Advice, fate: Fate) {
    assert_eq!(error.code().map_or("none", SqlState::code), code, "{error:?}");
    let diagnosis = Diagnosis::of(error);
    assert_eq!((diagnosis.advice, diagnosis.fate, diagnosis.safe_to_retry), (advice, fate, false), "{code}");
}

/// Gives a session back, and tells whether the pool goes on with it. The pool has no other.
async fn is_kept(pool: &PostgresPool, lease: PostgresLease<'_>) -> bool {
    let session = lease.connection_id();
    drop(lease);
    let next = pool.acquire().await.unwrap();
    next.batch_execute("SELECT 1").await.unwrap();
    next.connection_id() == session
}

/// Has one session run a statement that fails, and checks that the pool keeps it.
async fn kept_after(before: &str, statement: &str, code: &str, advice: Advice, fate: Fate) {
    kept(true, before, statement, code, advice, fate).await;
}

async fn kept(kept: bool, before: &str, statement: &str, code: &str, advice: Advice, fate: Fate) {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute(before).await.unwrap();
    let error = lease.batch_execute(statement).await.unwrap_err();
    assert_means(&error, code, advice, fate);
    assert_eq!(is_kept(&pool, lease).await, kept, "{code}");
    assert_eq!(pool.driver().ends().total(), 0, "the server has ended nothing");
    pool.disconnect().await;
}

/// Two sessions in turn, in a table `t` with rows 1 and 2. The second is given back after its error, and has to be kept.
async fn between_two(code: &str, advice: Advice, play: impl AsyncFn(&Client, &Client) -> Error) {
    let (database, pool) = pool(1).await;
    let other = watcher_in(&database).await;
    let lease = pool.acquire().await.unwrap();
    lease
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    let error = play(&other, &lease).await;
    assert_means(&error, code, advice, Fate::Keep);
    assert!(is_kept(&pool, lease).await, "{code}");
    drop(other);
    pool.disconnect().await;
}

/// A session of another pool in the same database.
async fn watcher_in(database: &pool_testkit::postgres::TestDatabase) -> pool_postgres::PostgresOwnedLease {
    let pool = PostgresPool::connect(crate::common::config(database.url(), 1)).await.unwrap();
    pool.acquire_owned().await.unwrap()
}

async fn refused(statement: impl Future<Output = Result<(), Error>>) -> Error {
    statement.await.unwrap_err()
}

#[tokio::test]
async fn f019_a_statement_timeout_keeps_the_connection() {
    kept_after("SET statement_timeout = '50ms'", "SELECT pg_sleep(600)", "57014", Advice::Never, Fate::Keep).await;
}

#[tokio::test]
async fn f020_a_lock_timeout_keeps_the_connection() {
    between_two("55P03", Advice::RetryLater, async |other, ours| {
        other.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
        ours.batch_execute("SET lock_timeout = '50ms'; BEGIN").await.unwrap();
        let error = refused(ours.batch_execute("LOCK TABLE t")).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        error
    })
    .await;
}

#[tokio::test]
async fn f021_a_deadlock_keeps_the_connection() {
    between_two("40P01", Advice::RetryTransaction, async |other, ours| {
        // The one that notices is the one that loses.
        other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
        ours.batch_execute("SET deadlock_timeout = '50ms'; BEGIN; UPDATE t SET n = 1 WHERE id = 2").await.unwrap();
        let theirs = other.batch_execute("UPDATE t SET n = 1 WHERE id = 2");
        let (theirs, ours) = join!(theirs, refused(ours.batch_execute("UPDATE t SET n = 1 WHERE id = 1")));
        theirs.unwrap();
        other.batch_execute("ROLLBACK").await.unwrap();
        ours
    })
    .await;
}

#[tokio::test]
async fn f022_a_serialization_failure_at_a_statement_keeps_the_connection() {
    between_two("40001", Advice::RetryTransaction, async |other, ours| {
        ours.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.unwrap();
        other.batch_execute("UPDATE t SET n = 1").await.unwrap();
        refused(ours.batch_execute("UPDATE t SET n = 2")).await
    })
    .await;
}

#[tokio::test]
async fn f022_a_serialization_failure_at_commit_keeps_the_connection() {
    between_two("40001", Advice::RetryTransaction, async |other, ours| {
        for session in [other, ours] {
            session.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(n) FROM t").await.unwrap();
        }
        other.batch_execute("UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
        ours.batch_execute("UPDATE t SET n = 1 WHERE id = 2").await.unwrap();
        other.batch_execute("COMMIT").await.unwrap();
        refused(ours.batch_execute("COMMIT")).await
    })
    .await;
}

#[tokio::test]
async fn f023_a_deferred_constraint_keeps_the_connection() {
    let before = "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); BEGIN; INSERT INTO t VALUES (1), (1)";
    kept_after(before, "COMMIT", "23505", Advice::Never, Fate::Keep).await;
}

#[tokio::test]
async fn a_failed_transaction_is_rolled_back_and_its_connection_kept() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    assert!(lease.batch_execute("BEGIN; SELECT 1/0").await.is_err());
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert_means(&error, "25P02", Advice::Never, Fate::Reset);
    assert!(is_kept(&pool, lease).await);
    pool.disconnect().await;
}

#[tokio::test]
async fn f026_a_limit_on_temporary_files_keeps_the_connection() {
    let before = "SET temp_file_limit = '100kB'; SET work_mem = '64kB'";
    let sort = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY 1 OFFSET 0) s";
    kept_after(before, sort, "53400", Advice::RetryLater, Fate::Keep).await;
}

#[tokio::test]
async fn f027_a_read_only_transaction_of_ones_own_keeps_the_connection() {
    kept(true, "BEGIN READ ONLY", "CREATE TABLE t (n int)", "25006", Advice::RetryLater, Fate::EvictHost).await;
}

#[tokio::test]
async fn f027_a_server_that_does_not_write_loses_the_connection() {
    let before = "SET default_transaction_read_only = on";
    kept(false, before, "CREATE TABLE t (n int)", "25006", Advice::RetryLater, Fate::EvictHost).await;
}

#[tokio::test]
async fn an_error_of_the_machine_below_closes_the_connection() {
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '58030'; END $$";
    kept(false, "", raise, "58030", Advice::RetryLater, Fate::Close).await;
}

#[tokio::test]
async fn a_prepared_statement_that_is_not_there_keeps_the_connection() {
    kept_after("", "EXECUTE nothing", "26000", Advice::RetryNow, Fate::Keep).await;
    kept_after("PREPARE p AS SELECT 1", "PREPARE p AS SELECT 2", "42P05", Advice::Never, Fate::Keep).await;
}

/// Statements that have to be prepared again, outside of a transaction, and then work.
#[tokio::test]
async fn a_stale_prepared_statement_is_prepared_again() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    for (code, change) in [("0A000", "ALTER TABLE t ADD m int"), ("26000", "DISCARD ALL")] {
        let statement = lease.prepare("SELECT * FROM t").await.unwrap();
        lease.query(&statement, &[]).await.unwrap();
        lease.batch_execute(change).await.unwrap();
        let error = lease.query(&statement, &[]).await.unwrap_err();
        assert_means(&error, code, Advice::RetryNow, Fate::Keep);
        assert!(Diagnosis::of(&error).prepare_again);
        lease.query(&lease.prepare("SELECT * FROM t").await.unwrap(), &[]).await.unwrap();
    }
    assert!(is_kept(&pool, lease).await);
    pool.disconnect().await;
}

#[tokio::test]
async fn what_the_client_refuses_keeps_the_connection() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    let row = lease.query_one("SELECT 1", &[]).await.unwrap();
    for error in [
        lease.query_one("SELECT $1::int", &[&"text"]).await.unwrap_err(),
        lease.query_one("SELECT generate_series(1, 2)", &[]).await.unwrap_err(),
        row.try_get::<_, String>(0).unwrap_err(),
        row.try_get::<_, i32>("nothing").unwrap_err(),
    ] {
        assert_means(&error, "none", Advice::Never, Fate::Keep);
    }
    assert!(is_kept(&pool, lease).await);
    pool.disconnect().await;
}

#[tokio::test]
async fn f002_a_session_that_is_ended_inside_a_query_leaves_the_outcome_unknown() {
    let (database, pool) = pool(1).await;
    let watch = watcher(&database).await;
    let lease = pool.acquire().await.unwrap();
    let mark = lease.mark();
    let killing = async {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND datname = $1";
        while watch.query_one(kill, &[&database.name()]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (error, ()) = join!(refused(lease.batch_execute("SELECT pg_sleep(600)")), killing);
    assert_means(&error, "57P01", Advice::OutcomeUnknown, Fate::Close);
    assert!(!lease.diagnose(&error, mark).safe_to_retry);
    assert!(!is_kept(&pool, lease).await);
    assert_eq!(pool.driver().ends().count("57P01"), 1, "though its task has heard nothing of it");
    pool.disconnect().await;
}
