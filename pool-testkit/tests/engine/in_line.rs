//! Those who wait in front of a pool are seen, and counted once, as all who wait for it.
#![allow(clippy::cast_precision_loss, clippy::float_cmp)] // of small whole numbers

use std::time::Duration;

use pool_core::{Config, MetricFamily, MetricValue, ObserveConfig, Pool, Preference, Request, Stats, Tag};
use pool_testkit::fake::FakeDriver;
use tokio::time::sleep;

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, ready};
use crate::schedule::schedule;

fn config() -> Config {
    let mut config = quiet(1);
    config.acquire_timeout = 20 * SECOND;
    config
}

/// A number, by the name of its family and the value of its own label, if it has one.
fn number(families: &[MetricFamily], name: &str, label: &str) -> f64 {
    let family = families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"));
    let own = |sample: &&pool_core::MetricSample| sample.labels.get(1).map_or("", |(_, value)| value) == label;
    match &family.samples.iter().find(own).unwrap_or_else(|| panic!("no {label} in {name}")).value {
        MetricValue::Count(count) => *count as f64,
        MetricValue::Number(number) => *number,
        MetricValue::Histogram(times) => times.count as f64,
        other => panic!("{name}: {other:?}"),
    }
}

fn adds_up(stats: &Stats) {
    let in_vain = stats.timeouts + stats.cancelled + stats.failed + stats.refused;
    assert_eq!(stats.acquired, stats.immediate + stats.waited - in_vain, "{stats:#?}");
    assert_eq!(stats.wait.count, stats.waited);
}

fn families(pool: &Pool<FakeDriver>) -> Vec<MetricFamily> {
    pool.observe(ObserveConfig::default()).unwrap().families()
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_a_line_is_a_waiter_and_has_an_age() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, config());
    let scheduler = schedule(&pool, |_| {});
    let lease = scheduler.acquire(Request::new()).await.unwrap();
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(scheduler.acquire(Request::new().key("tenant 7")))).collect();
    assert!(waiting.iter_mut().all(is_pending));
    sleep(10 * SECOND).await;
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let (snapshot, seen) = (observer.snapshot(), observer.families());
    assert_eq!((snapshot.stats.state.waiting, snapshot.stats.state.in_line), (0, 5));
    assert_eq!((snapshot.stats.state.callers(), snapshot.oldest_waiter), (5, Some(10 * SECOND)));
    assert_eq!(number(&seen, "pool.waiters", ""), 5.0);
    assert_eq!(number(&seen, "db.client.connection.pending_requests", ""), 5.0);
    assert_eq!(number(&seen, "pool.waiters.oldest.age", ""), 10.0);
    assert!(pool.state().to_string().contains("0 waiting and 5 in line"), "{}", pool.state());
    drop((waiting, lease));
    assert_eq!((pool.state().callers(), observer.snapshot().oldest_waiter), (0, None));
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_quota_is_a_waiter_too() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(4));
    let scheduler = schedule(&pool, |config| config.quota.max = Some(1));
    let asked = || Request::new().key("tenant 7");
    let lease = scheduler.acquire(asked()).await.unwrap();
    let mut next = Box::pin(scheduler.acquire(asked()));
    assert!(is_pending(&mut next));
    sleep(3 * SECOND).await;
    let seen = families(&pool);
    assert_eq!(number(&seen, "pool.waiters", ""), 1.0);
    assert_eq!(number(&seen, "pool.waiters.oldest.age", ""), 3.0);
    drop(lease);
    drop(ready(&mut next).unwrap());
    drop(next);
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_of_a_request_counts_once() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, config());
    let scheduler = schedule(&pool, |config| config.max_waiting = Some(3));
    let lease = scheduler.acquire(Request::new()).await.unwrap();
    let before = pool.stats();
    assert_eq!((before.immediate, before.waited), (0, 1), "it had to be opened");
    let (mut served, mut given_up) =
        (Box::pin(scheduler.acquire(Request::new())), Box::pin(scheduler.acquire(Request::new())));
    assert!(is_pending(&mut served) && is_pending(&mut given_up));
    assert!(scheduler.acquire(Request::new().within(5 * SECOND)).await.is_err(), "its time is over");
    drop(given_up);
    drop(lease);
    drop(ready(&mut served).unwrap());
    let stats = pool.stats();
    adds_up(&stats);
    assert_eq!((stats.acquired, stats.immediate, stats.waited), (2, 0, 4), "{stats:#?}");
    assert_eq!((stats.timeouts, stats.cancelled, stats.shed, stats.slow_acquires), (1, 1, 0, 3));
    assert_eq!(stats.wait_time.saturating_sub(before.wait_time), 15 * SECOND, "three that waited for five seconds");
    let seen = families(&pool);
    assert_eq!(number(&seen, "pool.acquires", "timeout"), 1.0);
    assert_eq!(number(&seen, "pool.acquires", "cancelled"), 1.0);
    assert_eq!(number(&seen, "pool.acquires", "waited"), 2.0);
    assert_eq!(number(&seen, "db.client.connection.timeouts", ""), 1.0);
    assert_eq!(number(&seen, "db.client.connection.wait_time", ""), 4.0);
    drop(served);
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_or_sent_away_counts_once() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, config());
    let scheduler = schedule(&pool, |config| config.max_waiting = Some(1));
    let lease = scheduler.acquire(Request::new()).await.unwrap();
    let mut waits = Box::pin(scheduler.acquire(Request::new()));
    assert!(is_pending(&mut waits));
    assert!(scheduler.acquire(Request::new()).await.is_err(), "the line is full");
    assert!(scheduler.try_acquire(Request::new()).is_err());
    assert_eq!(pool.stats().shed, 2);
    sleep(3 * SECOND).await;
    drop(lease);
    drop(waits);
    let lease = scheduler.acquire(Request::new()).await.unwrap();
    let mut waits = Box::pin(scheduler.acquire(Request::new()));
    assert!(is_pending(&mut waits));
    let close = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert!(waits.await.is_err(), "the pool is closed");
    let stats = pool.stats();
    adds_up(&stats);
    assert_eq!((stats.cancelled, stats.refused, stats.slow_acquires), (1, 1, 1), "{stats:#?}");
    drop(lease);
    close.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_in_the_line_and_then_in_the_queue_waits_once() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, config());
    let scheduler = schedule(&pool, |_| {});
    let first = scheduler.acquire(Request::new()).await.unwrap();
    let mut second = Box::pin(scheduler.acquire(Request::new()));
    assert!(is_pending(&mut second));
    let mut before_it = Box::pin(pool.acquire());
    assert!(is_pending(&mut before_it), "one that does not go through the line");
    sleep(3 * SECOND).await;
    drop(first);
    let held = ready(&mut before_it).unwrap();
    assert!(is_pending(&mut second), "it is called, and there is nothing for it yet");
    let oldest = pool.observe(ObserveConfig::default()).unwrap().snapshot().oldest_waiter;
    assert_eq!(oldest, Some(3 * SECOND), "since it came to the line");
    sleep(3 * SECOND).await;
    drop(held);
    drop(ready(&mut second).unwrap());
    let stats = pool.stats();
    adds_up(&stats);
    assert_eq!((stats.acquired, stats.waited, stats.slow_acquires), (3, 3, 2), "{stats:#?}");
    assert_eq!(stats.wait_time, 9 * SECOND);
    drop((before_it, second));
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_prefers_something_and_several_at_once_wait_once() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(2));
    pool.warm_up(2, Duration::ZERO, 60 * SECOND).await.unwrap();
    let scheduler = schedule(&pool, |_| {});
    let preference = Preference::sticky(Tag::new("user", "7").unwrap());
    let all = scheduler.acquire_many(Request::new(), 2).await.unwrap();
    let mut prefers = Box::pin(scheduler.acquire_preferring(Request::new(), &preference));
    assert!(is_pending(&mut prefers));
    sleep(3 * SECOND).await;
    drop(all);
    let preferred = ready(&mut prefers).unwrap();
    let mut both = Box::pin(scheduler.acquire_many(Request::new(), 2));
    assert!(is_pending(&mut both));
    sleep(4 * SECOND).await;
    drop(preferred);
    drop(ready(&mut both).unwrap());
    let stats = pool.stats();
    adds_up(&stats);
    assert_eq!((stats.acquired, stats.waited, stats.slow_acquires), (5, 2, 2), "{stats:#?}");
    assert_eq!(stats.wait_time, 7 * SECOND);
    drop((prefers, both));
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}
