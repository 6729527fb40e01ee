//! How transactions begin.

use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::{Client, IsolationLevel};
use pool_postgres::{PostgresTransaction, Queries, Query, QueryError, QueryStep, TransactionError, TransactionOptions};

use crate::common::pool;
use crate::stage::{Stage, begin_and_leave, insert, outside, told};

/// Isolation level, whether it may only read, whether it is deferrable: as the server has it.
async fn modes(transaction: &PostgresTransaction<'_>) -> [String; 3] {
    let modes = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), current_setting('transaction_deferrable')";
    let row = transaction.query_one(modes, &[]).await.unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

#[tokio::test]
async fn a_transaction_is_begun_as_it_is_said() {
    let it = Stage::new(1).await;
    let mut options = TransactionOptions::default();
    let defaults = it.pool.begin_with(options).await.unwrap();
    assert_eq!(modes(&defaults).await, ["read committed", "off", "off"]);
    defaults.commit().await.unwrap();
    for (level, name) in [
        (IsolationLevel::ReadUncommitted, "read uncommitted"),
        (IsolationLevel::ReadCommitted, "read committed"),
        (IsolationLevel::RepeatableRead, "repeatable read"),
        (IsolationLevel::Serializable, "serializable"),
    ] {
        options.isolation_level = Some(level);
        let transaction = it.pool.begin_with(options).await.unwrap();
        let expected = if name == "read uncommitted" { "read committed" } else { name };
        let found = modes(&transaction).await;
        assert!(found[0] == name || found[0] == expected, "{found:?} is not {name}");
        transaction.commit().await.unwrap();
    }
    (options.read_only, options.deferrable) = (Some(true), Some(true));
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin_with(options).await.unwrap();
    assert_eq!(modes(&transaction).await, ["serializable", "on", "on"]);
    let refused = transaction.execute(&insert(1), &[]).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    drop(lease);
    it.close().await;
}

#[tokio::test]
async fn settings_that_are_left_open_are_the_servers() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    by_hand(&lease, "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on")
        .await;
    let transaction = lease.begin().await.unwrap();
    assert_eq!(modes(&transaction).await, ["repeatable read", "on", "off"]);
    drop(transaction);
    let mut options = TransactionOptions::default();
    (options.read_only, options.deferrable) = (Some(false), Some(false));
    let transaction = lease.begin_with(options).await.unwrap();
    assert_eq!(modes(&transaction).await, ["repeatable read", "off", "off"]);
    drop(transaction);
    lease.discard();
    it.close().await;
}

/// Has statements executed by the client itself.
async fn by_hand(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap();
}

/// What a service does with its pool, a connection, or a transaction, whichever it is given.
async fn count(database: &impl Queries) -> Result<i64, QueryError> {
    Ok(database.query_one("SELECT count(*) FROM t", &[]).await?.get(0))
}

#[tokio::test]
async fn a_transaction_answers_queries_and_nobody_else_sees_what_it_has_done() {
    let it = Stage::new(2).await;
    let transaction = it.pool.begin().await.unwrap();
    transaction.batch_execute("INSERT INTO t VALUES (1), (2)").await.unwrap();
    let more = Query::new("INSERT INTO t VALUES ($1)");
    assert_eq!(transaction.execute(more, &[&3]).await.unwrap(), 1);
    assert_eq!(transaction.query("SELECT n FROM t", &[]).await.unwrap().len(), 3);
    assert!(transaction.query_opt("SELECT n FROM t WHERE n = $1", &[&9]).await.unwrap().is_none());
    assert_eq!(transaction.client().query("SELECT n FROM t", &[]).await.unwrap().len(), 3, "tokio-postgres's own");
    assert_eq!((count(&transaction).await.unwrap(), count(&it.pool).await.unwrap()), (3, 0));
    assert_eq!(count(transaction.connection()).await.unwrap(), 3);
    let said = format!("{transaction:?}");
    assert!(said.contains("open: true") && said.contains("127.0.0.1"), "{said}");
    transaction.commit().await.unwrap();
    assert_eq!(count(&it.pool).await.unwrap(), 3);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_that_somebody_has_begun_by_hand_is_not_taken_for_ours() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    by_hand(&lease, &format!("BEGIN; {}", insert(1))).await;
    let expected = (QueryStep::Begin, Outcome::NotDone, Some(TransactionError::AlreadyOpen));
    assert_eq!(told(lease.begin().await), expected);
    // It goes on, and is its beginner's to end.
    by_hand(&lease, &format!("{}; COMMIT", insert(2))).await;
    assert_eq!(it.numbers().await, [1, 2]);
    drop(lease);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_that_begins_by_hand_at_the_same_moment_is_not_taken_for_ours() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let statements = format!("BEGIN; {}", insert(1));
    begin_and_leave(Client::batch_execute(&lease, &statements)).await;
    let expected = (QueryStep::Begin, Outcome::NotDone, Some(TransactionError::AlreadyOpen));
    assert_eq!(told(lease.begin().await), expected);
    by_hand(&lease, "COMMIT").await;
    assert_eq!(it.numbers().await, [1]);
    // One that has begun and ended by then is in nobody's way.
    let statements = format!("BEGIN; {}; COMMIT", insert(2));
    begin_and_leave(Client::batch_execute(&lease, &statements)).await;
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(3), &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 2, 3]);
    drop(lease);
    it.close().await;
}

#[tokio::test]
async fn begin_on_a_session_that_has_ended_has_not_been_sent() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    it.end_sessions().await;
    crate::common::eventually("it is seen", async || lease.is_closed()).await;
    let error = lease.begin().await.map(drop).unwrap_err();
    assert_eq!((error.step(), error.outcome()), (QueryStep::Begin, Outcome::NotDone));
    assert!(error.diagnosis().safe_to_retry && error.diagnosis().advice == Advice::RetryNow, "{error:?}");
    drop(lease);
    it.close().await;
}

#[tokio::test]
async fn begin_without_a_connection_says_so() {
    let (_database, pool) = pool(1).await;
    pool.disconnect().await;
    let error = pool.begin().await.map(drop).unwrap_err();
    assert_eq!((error.step(), error.outcome(), error.statement()), (QueryStep::Acquire, Outcome::NotDone, "BEGIN"));
    assert!(error.acquire_error().is_some(), "{error}");
}

#[tokio::test]
async fn transactions_follow_each_other_on_one_connection() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    for number in 1..=3 {
        let transaction = lease.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        transaction.commit().await.unwrap();
        outside(&lease).await;
        assert_eq!(it.numbers().await, (1..=number).collect::<Vec<_>>());
    }
    drop(lease);
    let waited = it.pool.stats().waited;
    it.pool.begin().await.unwrap().commit().await.unwrap();
    drop(it.pool.acquire().await.unwrap());
    assert_eq!(it.pool.stats().waited, waited, "a connection is clean when its transaction has been committed");
    it.close().await;
}
