//! How long queries take, as the pool tells.

use std::time::Duration;

use futures_util::{join, pin_mut};
use pool_core::{Attempt, Driver};

use crate::common::{eventually, pool};

const NAP: Duration = Duration::from_millis(50);
const SLEEP: &str = "SELECT pg_sleep(0.05)";
/// At the earliest.
const CANCELLED_AFTER: Duration = Duration::from_millis(20);

#[tokio::test]
async fn executions_are_counted_and_timed() {
    let (_database, pool) = pool(2).await;
    let counted = || pool.stats().execution.count;
    let lease = pool.acquire().await.unwrap();
    assert_eq!(counted(), 0, "to log in is no execution");
    for _ in 0..5 {
        lease.batch_execute(SLEEP).await.unwrap();
    }
    assert_eq!(counted(), 5);
    for _ in 0..5 {
        lease.query_one(SLEEP, &[]).await.unwrap();
    }
    assert_eq!(counted(), 10, "to prepare a statement is no execution");
    let execution = pool.stats().execution;
    assert!(execution.p50 >= NAP && execution.mean >= NAP && execution.mean < 100 * NAP, "{execution:?}");
    let (one, two) = join!(lease.batch_execute(SLEEP), lease.batch_execute(SLEEP));
    one.and(two).unwrap();
    let execution = pool.stats().execution;
    assert_eq!(execution.count, 12, "each of those that are sent together has a time of its own");
    assert!(execution.p50 >= NAP, "{execution:?}");
    assert!(lease.batch_execute("SELECT 1/0").await.is_err());
    // Ready for more a moment after the error has been told.
    eventually("an error is an answer", async || counted() == 13).await;
    let before = counted();
    for _ in 0..1000 {
        lease.batch_execute("SELECT 1").await.unwrap();
    }
    let counted = counted() - before;
    assert!(counted.abs_diff(1000) < 16, "one of 16 stands for as many: {counted}");
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn what_the_pool_asks_is_not_counted() {
    let (_database, pool) = pool(1).await;
    let mut lease = pool.acquire().await.unwrap();
    pool.driver().ping(&mut lease).await.unwrap();
    drop(lease);
    pool.health().await.unwrap();
    assert_eq!(pool.stats().execution.count, 0, "pings");
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    assert_eq!(pool.stats().execution.count, 1, "not the ROLLBACK of the reset");
    {
        let abandoned = lease.batch_execute("SELECT pg_sleep(600)");
        pin_mut!(abandoned);
        assert!(futures_util::poll!(&mut abandoned).is_pending());
    }
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    let execution = pool.stats().execution;
    assert_eq!(execution.count, 2, "but what it has cancelled, for as long as that went on");
    assert!(execution.max >= CANCELLED_AFTER && execution.max < 500 * CANCELLED_AFTER, "{execution:?}");
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn executions_count_where_the_session_was_opened() {
    let (_database, pool) = pool(1).await;
    let connection = pool.driver().connect(&Attempt::default()).await.unwrap();
    connection.batch_execute("SELECT 1").await.unwrap();
    assert_eq!(pool.stats().execution.count, 1);
    pool.disconnect().await;
    drop(pool);
    connection.batch_execute("SELECT 1").await.unwrap();
}
