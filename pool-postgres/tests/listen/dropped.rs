//! Futures that are dropped, after every number of polls.

use pool_postgres::{Event, PostgresOwnedLease};
use pool_testkit::cancel::for_each_cancellation;
use tokio::runtime::Builder;

use crate::common::{eventually, pool, watcher};
use crate::stage::{all_before, last_statement, listening, next, payload};

async fn nothing_else_is_listened_for(watch: &PostgresOwnedLease, database: &str) {
    let [process] = listening(watch, database).await[..] else { panic!("one listens") };
    let unlistened = async || last_statement(watch, process).await.starts_with("UNLISTEN \"");
    eventually("nothing else is listened for", unlistened).await;
}

#[test]
fn whoever_stops_to_subscribe_is_not_subscribed_and_nobody_else_notices() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (database, pool) = runtime.block_on(pool(3));
    let watch = runtime.block_on(watcher(&database));
    let listener = pool.listener();
    for others in [false, true] {
        let mut other = others.then(|| runtime.block_on(listener.subscribe("other")).unwrap());
        let mut number = 0;
        let cases = for_each_cancellation(|cut| {
            runtime.block_on(async {
                number += 1;
                let name = format!("{others} {number}");
                let ended = cut.apply(listener.subscribe_all(["a", &name])).await;
                let is_subscribed = ended.is_some();
                if let Some(subscription) = ended {
                    let mut subscription = subscription.unwrap();
                    pool.notify(&name, "here").await.unwrap();
                    assert_eq!(payload(&mut subscription).await, "here");
                }
                match &mut other {
                    Some(other) => assert!(all_before(other, &pool, "still").await.is_empty()),
                    None => eventually("it goes back", async || pool.state().reserved == 0).await,
                }
                is_subscribed
            })
        });
        assert!(cases >= 3, "{cases}");
        if others {
            runtime.block_on(nothing_else_is_listened_for(&watch, database.name()));
        }
    }
    runtime.block_on(async {
        eventually("it goes back", async || pool.state().reserved == 0).await;
        let lease = pool.acquire().await.unwrap();
        assert!(lease.query("SELECT pg_listening_channels()", &[]).await.unwrap().is_empty());
        drop(lease);
        assert_eq!(pool.stats().broken, 0);
        pool.disconnect().await;
    });
}

#[test]
fn whoever_stops_to_wait_loses_nothing() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_database, pool) = runtime.block_on(pool(3));
    let mut subscription = runtime.block_on(pool.listener().subscribe("a")).unwrap();
    let (mut sent, mut heard) = (0, 0);
    let cases = for_each_cancellation(|cut| {
        runtime.block_on(async {
            sent += 1;
            let text = sent.to_string();
            let (event, sending) = tokio::join!(cut.apply(subscription.recv()), pool.notify("a", &text));
            sending.unwrap();
            let mut take = |event| {
                let Event::Notification(notification) = event else { panic!("{event:?}") };
                heard += 1;
                assert_eq!(notification.payload(), heard.to_string());
            };
            let ended = event.is_some();
            if let Some(event) = event {
                take(event.unwrap());
            } else {
                take(next(&mut subscription).await);
            }
            ended
        })
    });
    assert!(cases >= 4, "{cases}");
    assert_eq!(sent, heard);
}
