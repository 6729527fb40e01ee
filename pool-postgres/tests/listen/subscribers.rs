//! Many who are subscribed, slow ones, and such that end badly.

use std::num::NonZeroUsize;

use futures_util::StreamExt;
use pool_postgres::Event;

use crate::common::{eventually, pool, watcher};
use crate::stage::{all_before, listening, next, payload};

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_them_share_one_connection_and_all_hear_everything() {
    let (database, pool) = pool(4).await;
    let watch = watcher(&database).await;
    let listener = pool.listener();
    let subscribing = (0..300).map(|number| {
        let listener = listener.clone();
        tokio::spawn(async move { listener.subscribe_all(["all".to_owned(), format!("own {number}")]).await.unwrap() })
    });
    let mut subscriptions = Vec::new();
    for subscribing in subscribing.collect::<Vec<_>>() {
        subscriptions.push(subscribing.await.unwrap());
    }
    assert_eq!((listening(&watch, database.name()).await.len(), pool.state().reserved), (1, 1));
    let reading = subscriptions.into_iter().enumerate().map(|(number, mut subscription)| {
        tokio::spawn(async move {
            let mut heard = Vec::new();
            while heard.last().is_none_or(|last| last != "end") {
                let Event::Notification(notification) = next(&mut subscription).await else { panic!("a hole") };
                if notification.channel() == "all" {
                    heard.push(notification.payload().to_owned());
                } else {
                    assert_eq!(notification.channel(), format!("own {number}"));
                    assert_eq!(notification.payload(), number.to_string());
                }
            }
            heard
        })
    });
    let reading: Vec<_> = reading.collect();
    let send = "SELECT pg_notify('own ' || n, n::text) FROM generate_series(0, 299) n";
    pool.query(send, &[]).await.unwrap();
    let expected: Vec<_> = (1..=100).map(|number| number.to_string()).chain(["end".to_owned()]).collect();
    for text in &expected {
        pool.notify("all", text).await.unwrap();
    }
    for reading in reading {
        assert_eq!(reading.await.unwrap(), expected);
    }
    eventually("it goes back", async || pool.state().reserved == 0).await;
}

#[tokio::test]
async fn one_that_is_slow_loses_the_oldest_and_is_told_how_many_and_the_others_lose_none() {
    let (_database, pool) = pool(3).await;
    let listener = pool.listener();
    let mut slow = listener.keeping(NonZeroUsize::new(3).unwrap()).subscribe("a").await.unwrap();
    let mut other = listener.subscribe("a").await.unwrap();
    for number in 1..=10 {
        pool.notify("a", &number.to_string()).await.unwrap();
    }
    // What one has, the other one has, too, or has lost.
    for number in 1..=10 {
        assert_eq!(payload(&mut other).await, number.to_string());
    }
    assert_eq!(next(&mut slow).await, Event::Lagged(7));
    for number in 8..=10 {
        assert_eq!(payload(&mut slow).await, number.to_string());
    }
    assert!(all_before(&mut slow, &pool, "last").await.is_empty());
}

#[tokio::test]
async fn a_thousand_are_kept_that_nobody_has_read() {
    let (_database, pool) = pool(3).await;
    let listener = pool.listener();
    let mut slow = listener.subscribe("a").await.unwrap();
    let send = |from: i32, to: i32| {
        let pool = pool.clone();
        async move {
            let sql = format!("SELECT pg_notify('a', n::text) FROM generate_series({from}, {to}) n");
            pool.query(&sql, &[]).await.unwrap();
        }
    };
    let mut end = listener.subscribe("end").await.unwrap();
    for (from, to, lost) in [(1, 1024, 0), (2001, 5000, 1976)] {
        send(from, to).await;
        pool.notify("end", "").await.unwrap();
        payload(&mut end).await;
        if lost > 0 {
            assert_eq!(next(&mut slow).await, Event::Lagged(lost));
        }
        for number in to - 1023..=to {
            assert_eq!(payload(&mut slow).await, number.to_string());
        }
    }
}

#[tokio::test]
async fn one_that_panics_harms_nobody() {
    let (_database, pool) = pool(3).await;
    let listener = pool.listener();
    let mut other = listener.subscribe("a").await.unwrap();
    let mut panics = listener.subscribe("a").await.unwrap();
    let task = tokio::spawn(async move {
        next(&mut panics).await;
        panic!("on purpose");
    });
    pool.notify("a", "1").await.unwrap();
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(all_before(&mut other, &pool, "2").await, ["1"]);
}

#[tokio::test]
async fn one_whose_waker_panics_harms_nobody() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("on purpose");
        }
    }
    let (_database, pool) = pool(3).await;
    let listener = pool.listener();
    // The one that panics is woken first.
    let mut panics = listener.subscribe("a").await.unwrap();
    let mut other = listener.subscribe("a").await.unwrap();
    let waker = std::sync::Arc::new(Panics).into();
    let polled = panics.poll_next_unpin(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    assert!(all_before(&mut other, &pool, "1").await.is_empty(), "there is no gap");
}

#[tokio::test]
async fn it_is_a_stream() {
    let (_database, pool) = pool(3).await;
    let subscription = pool.listener().subscribe("a").await.unwrap();
    for number in 1..=3 {
        pool.notify("a", &number.to_string()).await.unwrap();
    }
    let read = subscription.take(3).map(|event| match event {
        Event::Notification(notification) => notification.payload().to_owned(),
        other => format!("{other:?}"),
    });
    assert_eq!(read.collect::<Vec<_>>().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn two_listeners_have_two_connections() {
    let (_database, pool) = pool(3).await;
    let mut first = pool.listener().subscribe("a").await.unwrap();
    let mut second = pool.listener().subscribe("a").await.unwrap();
    assert_eq!(pool.state().reserved, 2);
    pool.notify("a", "both").await.unwrap();
    assert_eq!((payload(&mut first).await, payload(&mut second).await), ("both".to_owned(), "both".to_owned()));
}

/// A subscription goes on where its runtime has ended, in the one that reads.
#[test]
fn a_runtime_that_ends_takes_no_subscription_with_it() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (build(), build());
    let (database, pool) = first.block_on(pool(3));
    let listener = pool.listener();
    let mut subscription = first.block_on(listener.subscribe("a")).unwrap();
    let reading = second.spawn(async move {
        let gap = next(&mut subscription).await;
        (gap, payload(&mut subscription).await)
    });
    drop(first);
    second.block_on(async {
        let mut other = listener.subscribe("a").await.unwrap();
        // The first one hears it only after its gap is over.
        let deadline = async || {
            pool.notify("a", "here").await.unwrap();
            reading.is_finished()
        };
        eventually("it is heard", deadline).await;
        assert_eq!(payload(&mut other).await, "here");
        let heard = reading.await.unwrap();
        assert_eq!(heard, (Event::Gap { outages: 1 }, "here".to_owned()));
    });
    drop(database);
}
