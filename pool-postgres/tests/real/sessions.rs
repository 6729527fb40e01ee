//! What one user leaves behind does not reach the next.

use futures_util::{SinkExt, TryStreamExt, pin_mut};
use pool_postgres::PostgresPool;
use tokio_postgres::Client;

use crate::common::{config, pool, sessions_on_server};

#[tokio::test]
async fn a_transaction_guard_works_through_a_lease() {
    let (_database, pool) = pool(1).await;
    let mut lease = pool.acquire().await.unwrap();
    let transaction = lease.transaction().await.unwrap();
    transaction.batch_execute("COMMENT ON SCHEMA public IS 'changed'").await.unwrap();
    transaction.commit().await.unwrap();
    drop(lease);
    assert!(pool.try_acquire().is_ok(), "clean, so idle at once");
    pool.disconnect().await;
}

#[tokio::test]
async fn copy_leaves_a_clean_session() {
    let (_database, pool) = pool(1).await;
    // To create something counts as a change of the session: it may be temporary.
    pool.acquire().await.unwrap().batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let sink = Client::copy_in::<_, &[u8]>(&lease, "COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(b"1\n2\n").await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    let rows: Vec<_> = Client::copy_out(&lease, "COPY t TO STDOUT").await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.concat(), b"1\n2\n");
    drop(lease);
    assert!(pool.try_acquire().is_ok(), "clean, so idle at once");
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
