//! What an operator does to the pool meanwhile.

use std::time::Duration;

use pool_postgres::PostgresPool;
use pool_postgres::pool_core::HealthConfig;
use tokio::time::timeout;

use crate::common::{config, database, eventually, pool, sessions_on_server, watcher};
use crate::stage::{all_before, one_gap, payload};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_pool_that_is_closed_ends_subscriptions_when_all_is_read_and_waits_for_none() {
    let (database, pool) = pool(3).await;
    let watch = watcher(&database).await;
    let listener = pool.listener();
    let mut subscription = listener.subscribe("a").await.unwrap();
    let mut other = listener.subscribe("b").await.unwrap();
    let waiting = tokio::spawn(async move { other.recv().await });
    pool.notify("a", "unread").await.unwrap();
    // On its way no more.
    let mut end = listener.subscribe("a").await.unwrap();
    pool.notify("a", "read").await.unwrap();
    while payload(&mut end).await != "read" {}
    timeout(LIMIT, pool.disconnect()).await.expect("nothing is left open");
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(payload(&mut subscription).await, "unread");
    assert_eq!(payload(&mut subscription).await, "read");
    assert_eq!((subscription.recv().await, subscription.recv().await), (None, None));
    assert_eq!(sessions_on_server(&watch, database.name()).await, 0);
}

#[tokio::test]
async fn a_pool_that_is_closed_without_mercy_ends_subscriptions() {
    let (_database, pool) = pool(3).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let left = timeout(LIMIT, pool.close_within(Duration::from_millis(100))).await.unwrap();
    assert_eq!(left, 1, "the lease, and not the connection that listens");
    assert_eq!(timeout(LIMIT, subscription.recv()).await.unwrap(), None);
    drop(lease);
}

#[tokio::test]
async fn a_pool_that_is_paused_can_be_drained_and_there_is_one_gap_afterwards() {
    let (database, pool) = pool(3).await;
    let watch = watcher(&database).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    assert!(all_before(&mut subscription, &pool, "before").await.is_empty());
    pool.pause();
    assert!(timeout(LIMIT, pool.drained()).await.expect("it is drained"));
    watch.batch_execute("SELECT 1").await.unwrap();
    pool.resume();
    one_gap(&mut subscription).await;
    assert!(all_before(&mut subscription, &pool, "after").await.is_empty());
}

#[tokio::test]
async fn whoever_subscribes_while_the_pool_is_paused_waits() {
    let (_database, pool) = pool(3).await;
    pool.pause();
    let listener = pool.listener();
    let subscribing = tokio::spawn(async move { listener.subscribe("a").await });
    eventually("it waits for a connection", async || pool.state().waiting == 1).await;
    assert!(!subscribing.is_finished());
    pool.resume();
    let mut subscription = timeout(LIMIT, subscribing).await.unwrap().unwrap().unwrap();
    assert!(all_before(&mut subscription, &pool, "first").await.is_empty(), "there was no gap");
}

#[tokio::test]
async fn a_connection_that_is_retired_is_replaced_with_one_gap_and_others_leave_it_alone() {
    let (_database, pool) = pool(3).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let lease = pool.acquire_owned().await.unwrap();
    assert!(pool.evict(lease.connection_id()));
    pool.retire_host("elsewhere:1");
    drop(lease);
    eventually("the other one is gone", async || pool.stats().evicted == 1).await;
    // Longer than it takes to look at it.
    eventually("it is looked at", {
        let began = tokio::time::Instant::now();
        move || async move { began.elapsed() > Duration::from_secs(3) }
    })
    .await;
    assert!(all_before(&mut subscription, &pool, "still").await.is_empty());
    pool.retire_all();
    one_gap(&mut subscription).await;
    assert!(all_before(&mut subscription, &pool, "after").await.is_empty());
}

/// It is no lease that somebody has forgotten, and takes nothing from the health of the pool.
#[tokio::test]
async fn a_connection_that_listens_is_neither_reported_nor_cut_off_nor_a_reason_to_worry() {
    let database = database();
    let mut settings = config(database.url(), 3);
    settings.pool.leak_after = Some(Duration::from_millis(1));
    // Longer than a machine that is busy stands still: what is sent takes a lease, too, and that is not to be cut off.
    settings.pool.reclaim_after = Some(Duration::from_secs(4));
    let pool = PostgresPool::connect(settings).await.unwrap();
    let mut health = HealthConfig::default();
    health.leak_after = Some(Duration::from_millis(1));
    let checker = pool.monitor(health).unwrap();
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    // One that is, for comparison.
    let lease = pool.acquire().await.unwrap();
    eventually("a lease is cut off", async || pool.stats().reclaimed == 1).await;
    drop(lease);
    assert!(pool.holders().is_empty(), "{:?}", pool.holders());
    // All that callers may have was in use, which is told for some seconds more.
    eventually("there is no reason to worry", async || checker.check_health().await.reasons.is_empty()).await;
    assert!(all_before(&mut subscription, &pool, "1").await.is_empty());
    assert_eq!(pool.stats().reclaimed, 1);
}

#[tokio::test]
async fn a_pool_that_shrinks_to_one_has_its_connection_back() {
    let (_database, pool) = pool(2).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let mut settings = (*pool.config()).clone();
    settings.max_size = 1;
    pool.reconfigure(settings.clone()).unwrap();
    pool.batch_execute("SELECT 1").await.unwrap();
    settings.max_size = 2;
    pool.reconfigure(settings).unwrap();
    one_gap(&mut subscription).await;
    assert!(all_before(&mut subscription, &pool, "after").await.is_empty());
}
