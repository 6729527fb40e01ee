//! Many listeners, and a pool that does not have a connection for each of them.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use pool_postgres::{Event, ListenError, PostgresPool, Subscription};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::common::{eventually, pool, watcher};
use crate::stage::{all_before, next};

const LIMIT: Duration = Duration::from_secs(20);

/// So many listeners subscribe at the same time, each on a connection of its own. Those that have one, and what the others are told.
async fn all_at_once(pool: &PostgresPool, listeners: usize) -> (Vec<Subscription>, Vec<ListenError>) {
    let subscribing = (0..listeners).map(|_| {
        let listener = pool.listener();
        tokio::spawn(async move { listener.subscribe("a").await })
    });
    let (mut heard, mut refused) = (Vec::new(), Vec::new());
    for subscribing in subscribing.collect::<Vec<_>>() {
        match timeout(LIMIT, subscribing).await.expect("it is told").unwrap() {
            Ok(subscription) => heard.push(subscription),
            Err(error) => refused.push(error),
        }
    }
    (heard, refused)
}

/// One connection is left for callers, and nobody has a gap because somebody else has come.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_listeners_at_once_as_many_have_a_connection_as_leave_one_for_callers() {
    for max_size in [2, 2, 2, 3, 4] {
        let (_database, pool) = pool(max_size).await;
        let (mut heard, refused) = all_at_once(&pool, 12).await;
        assert_eq!((heard.len(), refused.len()), (max_size - 1, 13 - max_size));
        for error in refused {
            let ListenError::PoolTooSmall { max_size: max, kept } = error else { panic!("{error}") };
            assert_eq!((max, kept), (max_size, max_size - 1));
        }
        eventually("one is left", async || pool.state().reserved == max_size - 1).await;
        for subscription in &mut heard {
            assert!(all_before(subscription, &pool, "here").await.iter().all(|before| before == "here"));
        }
        pool.disconnect().await;
    }
}

/// Its connection is lost, and counts as kept until the listener hears of that: it is in nobody's way.
#[tokio::test]
async fn a_listener_is_not_refused_for_what_it_has_itself() {
    let (database, pool) = pool(2).await;
    let watch = watcher(&database).await;
    let listener = pool.listener();
    let mut subscription = listener.subscribe("a").await.unwrap();
    let subscribing = tokio::spawn(async move {
        loop {
            // At every moment, and not for longer than that.
            if let Poll::Ready(Err(error)) = poll!(pin!(listener.subscribe("a"))) {
                return error;
            }
            yield_now().await;
        }
    });
    for _ in 0..5 {
        let sql =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        watch.execute(sql, &[&database.name()]).await.unwrap();
        while !matches!(next(&mut subscription).await, Event::Gap { .. }) {}
    }
    assert!(!subscribing.is_finished(), "{:?}", subscribing.await);
    subscribing.abort();
}
