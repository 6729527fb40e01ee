//! How many connections there are: minima, starts, and the pace of opening.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pool_core::{Config, Pool, WarmUpError};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::Instant;

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

fn with(driver: &FakeDriver, change: impl FnOnce(&mut Config)) -> Pool<FakeDriver> {
    let mut config = quiet(10);
    change(&mut config);
    pool_with(driver, config)
}

#[tokio::test(start_paused = true)]
async fn some_are_kept_ready_beyond_those_in_use() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.max_size, config.min_idle) = (4, 2));
    until(&pool, |state| state.idle == 2).await;
    let mut held = vec![pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    until(&pool, |state| state.idle == 2).await;
    held.push(pool.acquire().await.unwrap());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((pool.state().idle, pool.state().size), (1, 4), "within the maximum");
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn after_the_load_the_pool_returns_to_its_minimum() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| {
        (config.min_size, config.min_idle, config.idle_timeout) = (1, 2, Some(30 * SECOND));
    });
    let held: Vec<_> = futures_of(&pool, 10).await;
    drop(held);
    until(&pool, |state| state.idle == 10).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pool.state().size, 2);
    assert_eq!(pool.stats().idle_timed_out, 8);
    prove_nothing_lost(&pool, &driver).await;
}

/// A connection that is being pinged is not idle, and will be.
#[tokio::test(start_paused = true)]
async fn pings_open_no_more_than_the_idle_minimum() {
    let driver = FakeDriver::new();
    driver.always(Call::Ping, Step::Delay(SECOND));
    let pool = with(&driver, |config| (config.min_idle, config.health_check_interval) = (3, Some(10 * SECOND)));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((pool.state().size, driver.ledger().opened()), (3, 3));
    assert!(driver.begun(Call::Ping) >= 12);
    prove_nothing_lost(&pool, &driver).await;
}

async fn futures_of(pool: &Pool<FakeDriver>, leases: usize) -> Vec<pool_core::Lease<'_, FakeDriver>> {
    let mut held = Vec::new();
    for _ in 0..leases {
        held.push(pool.acquire().await.unwrap());
    }
    held
}

/// One caller at a time, on connections that its thread remembers: those that it could do without reach their idle timeout.
#[tokio::test(start_paused = true)]
async fn a_small_load_keeps_a_small_pool_warm() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| config.idle_timeout = Some(120 * SECOND));
    drop(futures_of(&pool, 8).await);
    for _ in 0..400 {
        drop(pool.acquire().await.unwrap());
        tokio::time::sleep(SECOND).await;
        // As another thread would that remembers another slot.
        drop(futures_of(&pool, 2).await);
        tokio::time::sleep(SECOND).await;
    }
    assert!(pool.state().size <= 3, "{:?}", pool.state());
    prove_nothing_lost(&pool, &driver).await;
}

/// However short their leases are: hardly ever does somebody see one.
#[tokio::test(start_paused = true)]
async fn threads_that_use_a_connection_each_keep_it() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |_| {});
    let held = pool.acquire().await.unwrap();
    let (mine, other_pool) = (held.id(), pool.clone());
    drop(pool.acquire().await.unwrap());
    let ((ask, asked), (answer, answered)) = (mpsc::channel::<()>(), mpsc::channel());
    let other = thread::spawn(move || {
        for () in asked {
            answer.send(other_pool.try_acquire().unwrap().id()).unwrap();
        }
    });
    let other_uses_one = || {
        ask.send(()).unwrap();
        answered.recv().unwrap()
    };
    let others = other_uses_one();
    drop(held);
    for second in 0..200 {
        let lease = pool.acquire().await.unwrap();
        let used = lease.id();
        drop(lease);
        assert_eq!((used, other_uses_one()), (mine, others), "after {second} s");
        tokio::time::sleep(SECOND).await;
    }
    drop(ask);
    other.join().unwrap();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_lazy_pool_opens_nothing_until_it_is_used_and_keeps_its_minimum_from_then_on() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.min_size, config.lazy) = (3, true));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(driver.begun(Call::Connect), 0);
    drop(pool.acquire().await.unwrap());
    until(&pool, |state| state.idle == 3).await;
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_the_minimum() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| (config.min_size, config.max_openers) = (3, 1));
    let started = Instant::now();
    pool.ready(10 * SECOND).await.unwrap();
    assert_eq!((pool.state().idle, started.elapsed()), (3, 3 * SECOND));
    pool.ready(SECOND).await.unwrap();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn ready_opens_one_in_a_pool_that_needs_none() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| config.lazy = true);
    pool.ready(SECOND).await.unwrap();
    assert_eq!(pool.state().idle, 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn ready_tells_why_it_is_not() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = with(&driver, |config| config.min_size = 2);
    let late = pool.ready(3 * SECOND).await.unwrap_err();
    assert!(matches!(&late, WarmUpError::Late { waited, failure: Some(_), .. } if *waited == 3 * SECOND), "{late}");
    assert!(late.to_string().starts_with("0 of 2 connections are open after 3s (0 leased, 0 idle, "), "{late}");
    driver.always(Call::Connect, Step::FailForGood);
    let never = pool.ready(60 * SECOND).await.unwrap_err();
    assert!(matches!(never, WarmUpError::OpenFailed { .. }), "{never}");
    // What failed before says nothing about the next attempt.
    driver.always(Call::Connect, Step::Ok);
    pool.ready(60 * SECOND).await.unwrap();
    let mut ending = Box::pin(pool.warm_up(5, SECOND, 60 * SECOND));
    assert!(crate::common::is_pending(&mut ending));
    pool.close().await;
    assert!(matches!(ending.await, Err(WarmUpError::Closed)));
    driver.ledger().settle(&pool.stats());
}

/// The last step of a failover is to wait until the new connections are there.
#[tokio::test(start_paused = true)]
async fn a_pool_whose_connections_are_all_on_their_way_out_is_not_ready() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| config.min_size = 3);
    pool.ready(SECOND).await.unwrap();
    driver.always(Call::Connect, Step::Fail);
    driver.always(Call::Close, Step::Hang);
    pool.pause();
    assert!(pool.drained().await);
    pool.retire_all();
    pool.resume();
    let late = pool.ready(3 * SECOND).await.unwrap_err();
    assert!(matches!(late, WarmUpError::Late { open: 0, wanted: 3, .. }), "{late}");
    driver.recover();
    pool.ready(10 * SECOND).await.unwrap();
    prove_nothing_lost(&pool, &driver).await;
}

/// Neither who waits for the pool nor who waits for a connection has to wait for connections that are on their way out to be closed.
#[tokio::test(start_paused = true)]
async fn nobody_expects_anything_of_connections_that_are_on_their_way_out() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let held = pool.acquire().await.unwrap();
    driver.always(Call::Connect, Step::FailForGood);
    driver.always(Call::Close, Step::Hang);
    // No task of the pool has run since, so that it is still in its slot.
    held.discard();
    let mut waiter = Box::pin(pool.acquire());
    assert!(crate::common::is_pending(&mut waiter));
    let never = pool.ready(SECOND).await.unwrap_err();
    assert!(matches!(never, WarmUpError::OpenFailed { .. }), "{never}");
    let never = tokio::time::timeout(SECOND, waiter).await.expect("it is told at once").unwrap_err();
    assert!(matches!(never, pool_core::AcquireError::OpenFailed { .. }), "{never}");
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn ready_goes_by_the_settings_in_force() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| (config.min_size, config.max_openers) = (3, 1));
    let change = async |min_size| {
        let mut config = (*pool.config()).clone();
        config.min_size = min_size;
        pool.reconfigure(config).unwrap();
    };
    let started = Instant::now();
    let (ready, ()) = tokio::join!(pool.ready(60 * SECOND), async {
        tokio::time::sleep(SECOND / 2).await;
        change(5).await;
    });
    ready.unwrap();
    assert_eq!((pool.state().idle, started.elapsed()), (5, 5 * SECOND));
    change(10).await;
    let (ready, ()) = tokio::join!(pool.ready(60 * SECOND), async {
        tokio::time::sleep(SECOND / 2).await;
        change(5).await;
    });
    ready.unwrap();
    assert_eq!(started.elapsed(), 5 * SECOND + SECOND / 2, "at once");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_is_late_says_how_far_it_came() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 10);
    let late = pool.warm_up(20, 10 * SECOND, 35 * SECOND).await.unwrap_err();
    assert!(matches!(&late, WarmUpError::Late { open: 4, wanted: 10, failure: None, .. }), "{late:?}");
    let text =
        "4 of 10 connections are open after 35s (0 leased, 4 idle, 0 opening, 0 in maintenance of 10; 0 waiting)";
    assert_eq!(late.to_string(), text);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_hears_of_a_lower_maximum() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 10);
    let warm = tokio::spawn({
        let pool = pool.clone();
        async move { pool.warm_up(10, 3600 * SECOND, 60 * SECOND).await }
    });
    until(&pool, |state| state.idle == 1).await;
    tokio::time::sleep(SECOND).await;
    let started = Instant::now();
    pool.reconfigure(quiet(1)).unwrap();
    warm.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "all of them are open");
    driver.limit(1);
    prove_nothing_lost(&pool, &driver).await;
}

/// Neither an interval nor a limit that no clock can count to ends the janitor.
#[tokio::test(start_paused = true)]
async fn f136g_times_longer_than_any_clock_harm_nobody() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let late = pool.warm_up(2, Duration::MAX, SECOND).await.unwrap_err();
    assert!(matches!(late, WarmUpError::Late { open: 1, .. }), "{late}");
    assert_eq!(pool.stats().errors.open_abandoned, 0, "no janitor has ended with an attempt in its hands");
    pool.ready(Duration::MAX).await.unwrap();
    pool.warm_up(2, Duration::ZERO, Duration::MAX).await.unwrap();
    pool.retire_all_over(Duration::MAX);
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!((pool.state().idle, pool.stats().closed), (2, 0));
    drop(pool.acquire_timeout(Duration::MAX).await.unwrap());
    assert_eq!(pool.close_within(Duration::MAX).await, 0);
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_opens_one_after_the_other() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 10);
    let started = Instant::now();
    pool.warm_up(5, SECOND, 60 * SECOND).await.unwrap();
    assert_eq!((pool.state().idle, started.elapsed()), (5, 4 * SECOND), "the first at once");
    pool.warm_up(100, Duration::ZERO, 60 * SECOND).await.unwrap();
    assert_eq!(pool.state().idle, 10, "the maximum");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_is_dropped_has_ended() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 10);
    assert!(tokio::time::timeout(SECOND / 2, pool.warm_up(5, SECOND, 60 * SECOND)).await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pool.state().idle, 1);
    let started = Instant::now();
    pool.warm_up(2, 20 * SECOND, SECOND).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "it does not wait for the pace of another that has ended");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn attempts_keep_their_distance() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.min_size, config.opener_interval) = (4, Some(SECOND)));
    let started = Instant::now();
    until(&pool, |state| state.idle == 4).await;
    let took = started.elapsed();
    assert!((3 * SECOND..3 * SECOND + SECOND / 10).contains(&took), "{took:?}");
    prove_nothing_lost(&pool, &driver).await;
}
