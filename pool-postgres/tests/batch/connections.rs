//! On a connection that somebody has, inside of a transaction, under TLS, and without statements that are prepared.

use std::pin::pin;
use std::task::{Context, Waker};

use futures_util::TryStreamExt;
use pool_postgres::{BatchAnswer, PostgresPool, Queries, SslMode, StatementMode};
use pool_testkit::postgres::EphemeralPostgres;
use tokio_postgres::error::SqlState;

use crate::as_one::{INSERT, numbers, table, unharmed};
use crate::authority::Authority;
use crate::common::{config, database};

#[tokio::test]
async fn a_connection_goes_on_behind_a_batch() {
    let (_database, pool) = table(1).await;
    let mut lease = pool.acquire().await.unwrap();
    for n in 0..3 {
        assert_eq!(lease.batch().add(INSERT, &[&n]).add(INSERT, &[&(n + 10)]).execute_all().await.unwrap(), [1, 1]);
        let count: i64 = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]).await.unwrap().get(0);
        assert_eq!(count, 2 * i64::from(n + 1));
        assert!(lease.batch().add(INSERT, &[&n]).add(INSERT, &[&20]).execute_all().await.is_err());
    }
    drop(lease);
    assert_eq!(numbers(&pool).await, [0, 1, 2, 10, 11, 12]);
    unharmed(&pool, 1).await;
}

/// What is in the client's queue already is none of the batch's.
#[tokio::test]
async fn what_was_asked_before_is_no_part_of_a_batch() {
    let (_database, pool) = table(1).await;
    let mut lease = pool.acquire().await.unwrap();
    for n in 0..10 {
        let kept = lease.prepare("SELECT pg_sleep(0.01)").await.unwrap();
        for _ in 0..3 {
            let asked = tokio_postgres::Client::query(&lease, &kept, &[]);
            assert!(pin!(asked).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // Closed on the server, too.
        drop(kept);
        let batch = lease.batch().add(INSERT, &[&n]).add("SELECT pg_current_xact_id()::text", &[]);
        let batch = batch.add("SELECT pg_current_xact_id()::text", &[]);
        let answers: Vec<BatchAnswer> = batch.send().await.unwrap().try_collect().await.unwrap();
        let [first, second] = [1, 2].map(|at: usize| answers[at].rows()[0].get::<_, String>(0));
        assert_eq!(first, second);
    }
    drop(lease);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn inside_of_a_transaction_it_is_a_part_of_that() {
    let (_database, pool) = table(1).await;
    let mut transaction = pool.begin().await.unwrap();
    transaction.execute(INSERT, &[&1]).await.unwrap();
    transaction.batch().add(INSERT, &[&2]).add(INSERT, &[&3]).execute_all().await.unwrap();
    transaction.batch().one_by_one().add(INSERT, &[&4]).add(INSERT, &[&5]).execute_all().await.unwrap();
    let mut savepoint = transaction.savepoint().await.unwrap();
    let error =
        savepoint.batch().add(INSERT, &[&6]).add(INSERT, &[&1]).add(INSERT, &[&7]).execute_all().await.unwrap_err();
    assert_eq!((error.batch_index(), error.sqlstate()), (Some(1), Some(&SqlState::UNIQUE_VIOLATION)));
    savepoint.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(numbers(&pool).await, [1, 2, 3, 4, 5]);
    let mut transaction = pool.begin().await.unwrap();
    transaction.batch().add(INSERT, &[&8]).add(INSERT, &[&9]).execute_all().await.unwrap();
    assert!(transaction.batch().add(INSERT, &[&1]).execute_all().await.is_err());
    assert!(transaction.commit().await.is_err(), "it has failed");
    assert_eq!(numbers(&pool).await, [1, 2, 3, 4, 5]);
    unharmed(&pool, 1).await;
}

/// As behind a proxy that hands out servers by the transaction.
#[tokio::test]
async fn statements_need_not_be_prepared() {
    let database = database();
    let mut settings = config(database.url(), 1);
    settings.statements.mode = StatementMode::Unprepared;
    let pool = PostgresPool::connect(settings).await.unwrap();
    pool.batch_execute("CREATE TABLE t (n int PRIMARY KEY)").await.unwrap();
    for n in 0..3 {
        let later = n + 10;
        let batch =
            pool.batch().add(INSERT, &[&n]).add("SELECT count(*), $1::text FROM t", &[&"a"]).add(INSERT, &[&later]);
        let answers: Vec<BatchAnswer> = batch.send().await.unwrap().try_collect().await.unwrap();
        assert_eq!(answers[1].rows()[0].get::<_, i64>(0), 2 * i64::from(n) + 1);
        let error =
            pool.batch().add(INSERT, &[&99]).add(INSERT, &[&n]).add(INSERT, &[&98]).execute_all().await.unwrap_err();
        assert_eq!((error.batch_index(), error.sqlstate()), (Some(1), Some(&SqlState::UNIQUE_VIOLATION)));
    }
    assert_eq!(numbers(&pool).await, [0, 1, 2, 10, 11, 12]);
    assert_eq!(pool.acquire().await.unwrap().prepared_statements(), 0);
    unharmed(&pool, 1).await;
}

/// Encryption takes what it is given in pieces of its own.
#[tokio::test]
async fn under_tls_nothing_is_different() {
    let (certificate, key) = Authority::new().certificate("127.0.0.1");
    let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
    let mut settings = config(&server.url(), 1);
    settings.sslmode = SslMode::Require;
    let pool = PostgresPool::connect(settings).await.unwrap();
    let text = "x".repeat(50_000);
    for is_one in [true, false] {
        let mut batch = if is_one { pool.batch() } else { pool.batch().one_by_one() };
        for _ in 0..500 {
            batch.push("SELECT $1::text", &[&text]);
        }
        let all: Vec<BatchAnswer> = batch.send().await.unwrap().try_collect().await.unwrap();
        assert!(all.len() == 500 && all.iter().all(|answer| answer.rows()[0].get::<_, &str>(0) == text));
        let batch = pool.batch().add("SELECT 1", &[]).add("SELECT 1 / $1::int", &[&0]).add("SELECT 1", &[]);
        assert_eq!(batch.execute_all().await.unwrap_err().sqlstate(), Some(&SqlState::DIVISION_BY_ZERO));
        unharmed(&pool, 1).await;
    }
}
