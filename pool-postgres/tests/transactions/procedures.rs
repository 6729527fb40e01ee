//! Statements that commit on their own, and fail afterwards.

use futures_util::TryStreamExt;
use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::{GaveUp, Outcome, RetryPolicy};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{Queries, Query, QueryError};

use crate::stage::Stage;

/// A procedure that inserts a number, commits, and fails as if it had met with a conflict.
const PROCEDURE: &str = "CREATE PROCEDURE half(number int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (number); COMMIT; RAISE 'half' USING ERRCODE = '40001'; END $$";

fn block(number: i32, end: &str) -> String {
    format!("DO $$ BEGIN INSERT INTO t VALUES ({number}); {end} RAISE 'half' USING ERRCODE = '40001'; END $$")
}

fn told(error: &QueryError) -> (&str, Outcome, Advice) {
    (error.sqlstate().map_or("", SqlState::code), error.outcome(), error.diagnosis().advice)
}

const UNKNOWN: (&str, Outcome, Advice) = ("40001", Outcome::Unknown, Advice::OutcomeUnknown);

#[tokio::test]
async fn of_what_commits_on_its_own_nobody_knows() {
    let it = Stage::new(1).await;
    it.other.batch_execute(PROCEDURE).await.unwrap();
    let call = "CALL half($1)";
    assert_eq!(told(&it.pool.execute(call, &[&1]).await.unwrap_err()), UNKNOWN);
    assert_eq!(told(&it.pool.query(Query::new(call).unprepared(), &[&2]).await.unwrap_err()), UNKNOWN);
    assert_eq!(told(&it.pool.batch_execute("/* so */ CALL half(3)").await.unwrap_err()), UNKNOWN);
    assert_eq!(told(&it.pool.batch_execute(block(4, "COMMIT;")).await.unwrap_err()), UNKNOWN);
    assert_eq!(told(&it.pool.execute(block(5, "CALL half(6);"), &[]).await.unwrap_err()), UNKNOWN);
    let mut rows = it.pool.stream(call, &[&7]).await.unwrap();
    assert_eq!(told(&rows.try_next().await.unwrap_err()), UNKNOWN);
    assert_eq!(told(&it.pool.batch_execute(";; CALL half(8)").await.unwrap_err()), UNKNOWN);
    assert_eq!(it.numbers().await, [1, 2, 3, 4, 5, 6, 7, 8]);
    it.close().await;
}

#[tokio::test]
async fn what_has_not_been_executed_or_cannot_commit_has_not_been_done() {
    let it = Stage::new(1).await;
    it.other.batch_execute(PROCEDURE).await.unwrap();
    let not_done = |error: QueryError| assert_eq!(error.outcome(), Outcome::NotDone, "{error}");
    // It does not say so.
    not_done(it.pool.batch_execute(block(1, "")).await.unwrap_err());
    // There is no such procedure, or the parameter is none.
    not_done(it.pool.execute("CALL nowhere()", &[]).await.unwrap_err());
    not_done(it.pool.execute("CALL half($1)", &[&"x"]).await.unwrap_err());
    // In a transaction it cannot.
    let transaction = it.pool.begin().await.unwrap();
    not_done(transaction.execute("CALL half($1)", &[&2]).await.unwrap_err());
    transaction.rollback().await.unwrap();
    let transaction = it.pool.begin().await.unwrap();
    not_done(transaction.batch_execute("CALL half(3)").await.unwrap_err());
    transaction.rollback().await.unwrap();
    let transaction = it.pool.begin().await.unwrap();
    let mut rows = transaction.stream("CALL half($1)", &[&4]).await.unwrap();
    not_done(rows.try_next().await.unwrap_err());
    drop(rows);
    transaction.rollback().await.unwrap();
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn what_commits_on_its_own_is_not_done_again() {
    let it = Stage::new(1).await;
    it.other.batch_execute(PROCEDURE).await.unwrap();
    let retrier = it.pool.retrying(RetryPolicy::default()).unwrap();
    let error = retrier.once(async |lease| Queries::execute(&**lease, "CALL half(1)", &[]).await).await.unwrap_err();
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::OutcomeUnknown, Outcome::Unknown), "{error}");
    assert_eq!(it.numbers().await, [1]);
    it.close().await;
}
