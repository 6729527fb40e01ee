//! What one user leaves behind does not reach the next.

use std::time::Duration;

use futures_util::{SinkExt, TryStreamExt, pin_mut};

use pool_postgres::tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

use crate::common::{config, eventually, pool, sessions_on_server};
use pool_postgres::PostgresPool;

#[tokio::test]
async fn an_open_transaction_is_rolled_back() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    lease.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    assert_eq!(lease.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 0);
    assert!(lease.batch_execute("SAVEPOINT s").await.is_err(), "there is no transaction");
    drop(lease);
    assert_eq!(pool.stats().opened, 1, "the same session");
    pool.disconnect().await;
}

#[tokio::test]
async fn a_failed_transaction_is_rolled_back() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    assert!(lease.batch_execute("BEGIN; SELECT 1/0").await.is_err());
    drop(lease);
    assert!(pool.acquire().await.unwrap().query_one("SELECT 1", &[]).await.is_ok());
    pool.disconnect().await;
}

#[tokio::test]
async fn a_transaction_guard_works_through_a_lease() {
    let (_database, pool) = pool(1).await;
    let mut lease = pool.acquire().await.unwrap();
    let transaction = lease.transaction().await.unwrap();
    transaction.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    transaction.commit().await.unwrap();
    drop(lease);
    assert!(pool.try_acquire().is_ok(), "clean, so idle at once");
    pool.disconnect().await;
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_cancelled() {
    let (database, pool) = pool(1).await;
    let mut watching = config(database.url(), 1);
    watching.database = Some("postgres".to_owned());
    let watcher = PostgresPool::connect(watching).await.unwrap();
    let watch = watcher.acquire().await.unwrap();
    let running = async || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%' AND datname = $1";
        watch.query_one(sleeping, &[&database.name()]).await.unwrap().get::<_, i64>(0) == 1
    };
    let lease = pool.acquire().await.unwrap();
    {
        let sleep = lease.batch_execute("SELECT pg_sleep(1000)");
        pin_mut!(sleep);
        assert!(futures_util::poll!(&mut sleep).is_pending());
        eventually("the server sleeps", running).await;
    }
    drop(lease);
    let lease = tokio::time::timeout(Duration::from_secs(20), pool.acquire()).await.unwrap().unwrap();
    assert_eq!(lease.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert!(!running().await, "the server has stopped sleeping");
    assert_eq!(sessions_on_server(&watch, database.name()).await, 1);
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn copy_leaves_a_clean_session() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let sink = lease.copy_in::<_, &[u8]>("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(b"1\n2\n").await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    let rows: Vec<_> = lease.copy_out("COPY t TO STDOUT").await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.concat(), b"1\n2\n");
    drop(lease);
    assert!(pool.try_acquire().is_ok(), "clean, so idle at once");
    pool.disconnect().await;
}

#[tokio::test]
async fn a_copy_that_is_dropped_halfway_does_no_harm() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    {
        let sink = lease.copy_in::<_, &[u8]>("COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(b"1\n").await.unwrap();
    }
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    assert_eq!(lease.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 0);
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn the_server_never_sees_more_than_the_maximum() {
    let (database, pool) = pool(3).await;
    let mut watching = config(database.url(), 1);
    watching.database = Some("postgres".to_owned());
    let watcher = PostgresPool::connect(watching).await.unwrap();
    let watch = watcher.acquire().await.unwrap();
    let users: Vec<_> = (0..12)
        .map(|user| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let lease = pool.acquire().await.unwrap();
                    lease.query_one("SELECT 1", &[]).await.unwrap();
                    if (user + round) % 3 == 0 {
                        lease.discard();
                    }
                }
            })
        })
        .collect();
    let all = futures_util::future::join_all(users);
    pin_mut!(all);
    let mut most = 0;
    loop {
        let seen = sessions_on_server(&watch, database.name()).await;
        most = most.max(seen);
        if let std::task::Poll::Ready(users) = futures_util::poll!(&mut all) {
            users.into_iter().for_each(Result::unwrap);
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!((1..=3).contains(&most), "the server saw {most}");
    pool.disconnect().await;
    let stats = pool.stats();
    assert_eq!(stats.opened, stats.closed);
    assert!(stats.opened > 50, "connections came and went: {stats:?}");
}

/// Polls a request once, so that it is in the client's queue, and drops it and the lease. False if the session's task, on
/// another thread, was so fast that the request was done by then.
async fn abandon(pool: &PostgresPool, statement: &str) -> bool {
    let lease = pool.acquire().await.unwrap();
    let request = lease.batch_execute(statement);
    pin_mut!(request);
    futures_util::poll!(request).is_pending()
}

/// Inserts a row, and returns the timeout in force.
async fn insert(pool: &PostgresPool) -> String {
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    lease.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0)
}

async fn abandon_then_insert(pool: &PostgresPool) -> bool {
    let abandoned = abandon(pool, "BEGIN; SET LOCAL statement_timeout = '77s'").await;
    assert_eq!(insert(pool).await, "0", "inside the transaction of somebody else");
    abandoned
}

async fn rows(pool: &PostgresPool) -> usize {
    let count = pool.acquire().await.unwrap().query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    usize::try_from(count.get::<_, i64>(0)).unwrap()
}

/// Returns how many of the requests were still under way when they were dropped.
async fn nothing_leaks(rounds: usize) -> usize {
    let (_database, pool) = pool(1).await;
    pool.acquire().await.unwrap().batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let mut abandoned = 0;
    for _ in 0..rounds {
        abandoned += usize::from(abandon_then_insert(&pool).await);
    }
    assert_eq!(rows(&pool).await, rounds, "what was acknowledged is there");
    assert_eq!(pool.stats().opened, 1, "in one session");
    pool.disconnect().await;
    abandoned
}

#[tokio::test]
async fn a_request_that_was_never_sent_does_not_leak() {
    assert_eq!(nothing_leaks(200).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_never_sent_does_not_leak_between_threads() {
    assert!(nothing_leaks(200).await > 0);
}

#[tokio::test]
async fn the_end_of_a_statement_makes_no_session_dirty() {
    let (_database, pool) = pool(1).await;
    drop(pool.acquire().await.unwrap());
    let waited = pool.stats().waited;
    for _ in 0..100 {
        let lease = pool.acquire().await.unwrap();
        lease.query_one("SELECT 1", &[]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.stats().waited, waited, "every release made the connection idle at once");
    pool.disconnect().await;
}

#[tokio::test]
async fn all_queries_that_nobody_waits_for_are_cancelled() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    {
        let (one, two) = (lease.batch_execute("SELECT pg_sleep(1000)"), lease.batch_execute("SELECT pg_sleep(1001)"));
        pin_mut!(one, two);
        assert!(futures_util::poll!(&mut one).is_pending() && futures_util::poll!(&mut two).is_pending());
    }
    drop(lease);
    assert_eq!(pool.acquire().await.unwrap().query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert_eq!(pool.stats().opened, 1);
    pool.disconnect().await;
}

#[derive(Debug)]
struct Panicking;

impl ToSql for Panicking {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        panic!("on purpose");
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

#[tokio::test]
async fn a_panic_in_a_request_hurts_nobody_else() {
    let (_database, pool) = pool(1).await;
    let panicking = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.unwrap().query_one("SELECT $1::int", &[&Panicking]).await.map(drop) }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(pool.acquire().await.unwrap().query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    pool.disconnect().await;
}
