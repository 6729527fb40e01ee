//! What `commit` says, and what is there.

use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::IsolationLevel;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{Queries, QueryStep, TransactionError, TransactionOptions};

use crate::stage::{Stage, insert, outside, told};

#[tokio::test]
async fn what_is_committed_is_there_and_what_is_rolled_back_is_not() {
    let it = Stage::new(1).await;
    for (number, commits) in [(1, true), (2, false), (3, true)] {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        if commits { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
    }
    assert_eq!(it.numbers().await, [1, 3]);
    it.close().await;
}

/// tokio-postgres returns `Ok` for it.
#[tokio::test]
async fn a_commit_that_is_answered_with_rollback_is_an_error() {
    let it = Stage::new(1).await;
    for borrowed in [false, true] {
        let mut lease = if borrowed { Some(it.pool.acquire().await.unwrap()) } else { None };
        let transaction = match &mut lease {
            Some(lease) => lease.begin().await.unwrap(),
            None => it.pool.begin().await.unwrap(),
        };
        transaction.execute(&insert(1), &[]).await.unwrap();
        let passed_over = transaction.execute("SELECT 1 / 0", &[]).await.unwrap_err();
        assert_eq!(passed_over.sqlstate(), Some(&SqlState::DIVISION_BY_ZERO));
        let error = transaction.commit().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("committing by \"COMMIT\" on 127.0.0.1") && text.contains("nothing was done"),
            "{text}"
        );
        assert!(text.ends_with("the transaction had failed: COMMIT was answered with ROLLBACK"), "{text}");
        assert_eq!(error.diagnosis().advice, Advice::Never);
        let expected = (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::RolledBack));
        assert_eq!(told::<()>(Err(error)), expected);
        if let Some(lease) = &lease {
            outside(lease).await;
        }
    }
    assert!(it.numbers().await.is_empty());
    assert_eq!(it.pool.stats().opened, 1, "its connection is kept");
    it.close().await;
}

#[tokio::test]
async fn a_constraint_that_is_deferred_fails_at_commit() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1, 2)", &[]).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    assert_eq!((error.step(), error.outcome(), error.transaction_id()), (QueryStep::Commit, Outcome::NotDone, None));
    assert_eq!(error.diagnosis().advice, Advice::Never);
    outside(&lease).await;
    drop(lease);
    assert!(it.numbers().await.is_empty());
    assert_eq!(it.pool.stats().opened, 1, "its connection is kept");
    it.close().await;
}

#[tokio::test]
async fn a_serialization_failure_at_commit_asks_for_the_whole_transaction_again() {
    let it = Stage::new(1).await;
    let mut options = TransactionOptions::default();
    options.isolation_level = Some(IsolationLevel::Serializable);
    let transaction = it.pool.begin_with(options).await.unwrap();
    transaction.query("SELECT count(*) FROM t", &[]).await.unwrap();
    it.other
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    transaction.execute(&insert(2), &[]).await.unwrap();
    it.other.batch_execute("COMMIT").await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!((error.outcome(), error.diagnosis().advice), (Outcome::NotDone, Advice::RetryTransaction));
    assert_eq!(it.numbers().await, [1]);
    it.close().await;
}

/// The statement is still under way when `COMMIT` is sent, and fails.
#[tokio::test]
async fn a_statement_that_nobody_waits_for_fails_the_commit_all_the_same() {
    let it = Stage::new(1).await;
    let transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    crate::stage::begin_and_leave(transaction.client().batch_execute("SELECT pg_sleep(0.05), 1 / (random() * 0)::int"))
        .await;
    let expected = (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::RolledBack));
    assert_eq!(told(transaction.commit().await), expected);
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn a_commit_that_is_cancelled_on_the_server_is_rolled_back_and_says_so() {
    let it = Stage::new(1).await;
    let lock = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()";
    it.other.batch_execute(lock).await.unwrap();
    it.other.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    let cancel = async {
        it.at_work().await;
        let all = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'users' AND wait_event = 'advisory' AND datname = $1";
        crate::common::eventually("it is cancelled", async || {
            !it.watch.query(all, &[&it.database.name()]).await.unwrap().is_empty()
        })
        .await;
    };
    let (outcome, ()) = futures_util::join!(transaction.commit(), cancel);
    let error = outcome.unwrap_err();
    assert_eq!((error.outcome(), error.sqlstate()), (Outcome::NotDone, Some(&SqlState::QUERY_CANCELED)));
    outside(&lease).await;
    drop(lease);
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn to_roll_back_a_transaction_that_has_failed_is_no_error() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute("SELECT 1 / 0", &[]).await.unwrap_err();
    transaction.rollback().await.unwrap();
    outside(&lease).await;
    drop(lease);
    it.close().await;
}
