//! All of it, or nothing.

use std::collections::BTreeSet;

use futures_util::{Stream, StreamExt, TryStreamExt};
use pool_postgres::pool_core::Pool;
use pool_postgres::retry::Outcome;
use pool_postgres::{BatchAnswer, PostgresPool, QueryError};
use pool_testkit::postgres::TestDatabase;
use tokio_postgres::error::SqlState;

use crate::common::pool;

pub(crate) const INSERT: &str = "INSERT INTO t VALUES ($1)";

/// A pool on a database with a table that takes each number once.
pub(crate) async fn table(max_conns: usize) -> (TestDatabase, PostgresPool) {
    let (database, pool) = pool(max_conns).await;
    pool.batch_execute("CREATE TABLE t (n int PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE)").await.unwrap();
    (database, pool)
}

/// What is in the table.
pub(crate) async fn numbers(pool: &PostgresPool) -> Vec<i32> {
    let rows = pool.query("SELECT n FROM t ORDER BY n", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The connections are as good as before, and were not changed for others.
pub(crate) async fn unharmed(pool: &PostgresPool, opened: u64) {
    let answer: i32 = pool.query_one("SELECT 6 * $1::int", &[&7]).await.unwrap().get(0);
    assert_eq!((answer, pool.stats().opened, pool.stats().broken), (42, opened, 0), "the answer to its own question");
}

/// One has failed: those before it were answered, and those behind it not asked.
#[tokio::test]
async fn what_was_skipped_has_not_failed() {
    let (_database, pool) = table(1).await;
    let before = pool.driver().query_stats();
    let batch = pool.batch().add("SELECT 1", &[]).add("SELECT 1 / (1 - count(*)) FROM (SELECT 1) x", &[]);
    let batch = batch.add("SELECT 3", &[]).add("SELECT 4", &[]);
    assert_eq!(batch.execute_all().await.unwrap_err().batch_index(), Some(1));
    let after = pool.driver().query_stats();
    assert_eq!((after.queries - before.queries, after.failed, after.skipped), (2, 1, 2), "{after:?}");
}

#[tokio::test]
async fn answers_come_in_order_with_their_rows_and_counts() {
    let (_database, pool) = table(1).await;
    let (one, two, three) = (1, 2, 3);
    let series = "SELECT generate_series(1, $1::int)";
    let batch = pool
        .batch()
        .add(INSERT, &[&one])
        .add(series, &[&three])
        .add("INSERT INTO t SELECT generate_series($1::int, 5)", &[&two])
        .add("", &[])
        .add(series, &[&0])
        .add("DELETE FROM t WHERE n > 3", &[]);
    assert_eq!(batch.len(), 6);
    let answers = batch.send().await.unwrap();
    assert_eq!(answers.size_hint(), (6, Some(6)));
    let answers: Vec<BatchAnswer> = answers.try_collect().await.unwrap();
    let counts: Vec<u64> = answers.iter().map(BatchAnswer::rows_affected).collect();
    assert_eq!(counts, [1, 3, 4, 0, 0, 2]);
    let rows: Vec<i32> = answers[1].rows().iter().map(|row| row.get(0)).collect();
    assert_eq!((rows, answers[0].rows().len()), (vec![1, 2, 3], 0));
    assert_eq!(numbers(&pool).await, [1, 2, 3]);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn all_are_one_transaction() {
    let (_database, pool) = table(1).await;
    let mut batch = pool.batch();
    for _ in 0..20 {
        batch.push("SELECT pg_current_xact_id()::text", &[]);
    }
    let answers: Vec<BatchAnswer> = batch.send().await.unwrap().try_collect().await.unwrap();
    let all: BTreeSet<String> = answers.iter().map(|answer| answer.rows()[0].get(0)).collect();
    assert_eq!((answers.len(), all.len()), (20, 1), "{all:?}");
}

/// What comes of a batch of so many rows, one of which is there already.
async fn clash(pool: &PostgresPool, of: i32, at: i32) -> Vec<Result<u64, QueryError>> {
    let values: Vec<i32> = (0..of).map(|n| if n == at { 1000 } else { n }).collect();
    let mut batch = pool.batch().as_one();
    for value in &values {
        batch.push(INSERT, &[value]);
    }
    let answers = batch.send().await.unwrap();
    answers.map(|answer| answer.map(|answer| answer.rows_affected())).collect().await
}

#[tokio::test]
async fn nothing_is_done_if_any_of_it_fails() {
    let (_database, pool) = table(1).await;
    pool.execute(INSERT, &[&1000]).await.unwrap();
    for at in [0, 1, 50, 98, 99] {
        let answers = clash(&pool, 100, at).await;
        assert_eq!(answers.len(), 100);
        for (index, answer) in (0..).zip(&answers) {
            match (index - at, answer) {
                (..0, Ok(1)) => {}
                (0, Err(error)) => {
                    assert_eq!(error.sqlstate(), Some(&SqlState::UNIQUE_VIOLATION));
                    assert_eq!((error.batch_index(), error.is_skipped()), (usize::try_from(index).ok(), false));
                    let text = error.to_string();
                    let named =
                        format!("executing \"INSERT INTO t VALUES ($1)\", statement {} of 100 of a batch,", at + 1);
                    assert!(text.starts_with(&named), "{text}");
                    assert_eq!(error.outcome(), Outcome::NotDone);
                }
                (1.., Err(error)) => {
                    assert!(error.is_skipped(), "{error}");
                    assert_eq!((error.batch_index(), error.outcome()), (usize::try_from(index).ok(), Outcome::NotDone));
                    assert!(
                        error.to_string().contains(&format!("since statement {} of its batch has failed", at + 1)),
                        "{error}"
                    );
                }
                (_, other) => panic!("{index}: {other:?}"),
            }
        }
        assert_eq!(numbers(&pool).await, [1000], "{at}");
        unharmed(&pool, 1).await;
    }
}

/// What the server finds only when it commits.
#[tokio::test]
async fn what_is_refused_at_the_end_is_the_error_of_the_last() {
    let (_database, pool) = table(1).await;
    let batch = pool.batch().add("SET CONSTRAINTS ALL DEFERRED", &[]).add(INSERT, &[&7]).add(INSERT, &[&7]);
    let error = batch.execute_all().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!((error.batch_index(), error.outcome()), (Some(2), Outcome::NotDone));
    assert_eq!(numbers(&pool).await, [0; 0]);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn nothing_is_sent_of_what_cannot_be_sent_whole() {
    let (_database, pool) = table(1).await;
    let wrong = pool.batch().add(INSERT, &[&1]).add(INSERT, &[&"one"]).execute_all().await.unwrap_err();
    assert!(
        wrong.to_string().contains("statement 2 of 2") && wrong.to_string().contains("parameter $1 cannot be sent"),
        "{wrong}"
    );
    let few = pool.batch().add(INSERT, &[]).add(INSERT, &[&1]).execute_all().await.unwrap_err();
    assert!(few.to_string().contains("it has 1 parameters, not 0"), "{few}");
    let unknown = pool.batch().add(INSERT, &[&1]).add("SELECT nothing", &[]).execute_all().await.unwrap_err();
    assert_eq!((unknown.batch_index(), unknown.sqlstate()), (Some(1), Some(&SqlState::UNDEFINED_COLUMN)));
    for sql in ["COMMIT", "VACUUM t", "copy t FROM STDIN"] {
        let refused = pool.batch().add(INSERT, &[&1]).add(sql, &[]).execute_all().await.unwrap_err();
        assert_eq!((refused.batch_index(), refused.outcome()), (Some(1), Outcome::NotDone), "{refused}");
    }
    assert_eq!(numbers(&pool).await, [0; 0]);
    assert_eq!(pool.batch().execute_all().await.unwrap(), [0; 0]);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn without_a_statement_nobody_is_waited_for() {
    let (_database, pool) = table(1).await;
    let held: &Pool<_> = &pool;
    let _lease = held.acquire().await.unwrap();
    assert!(pool.batch().is_empty());
    assert!(pool.batch().send().await.unwrap().next().await.is_none());
}
