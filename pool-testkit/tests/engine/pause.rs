//! Pause and resume: everybody waits, nobody fails, nothing is lost.

use std::sync::{Arc, Mutex};

use pool_core::AcquireError;
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, quiet_pool, ready, until};

#[tokio::test(start_paused = true)]
async fn a_thousand_who_came_during_a_pause_are_served_in_order() {
    const CALLERS: usize = 1000;
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 20);
    pool.pause();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..CALLERS {
        let (mine, served) = (pool.clone(), Arc::clone(&served));
        tasks.push(tokio::spawn(async move {
            let _lease = mine.acquire().await.unwrap();
            served.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        }));
        until(&pool, |state| state.waiting == number + 1).await;
    }
    assert!(pool.state().paused && served.lock().unwrap().is_empty());
    assert_eq!(driver.begun(Call::Connect), 0, "nothing is opened meanwhile");
    pool.resume();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), (0..CALLERS).collect::<Vec<_>>());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_and_what_comes_back_rests() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire().await.unwrap();
    pool.pause();
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { state }) if state.paused));
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    drop(held.take_in_hand());
    drop(held);
    assert_eq!((pool.state().idle, pool.state().waiting), (1, 1), "it rests, whoever waits");
    assert!(is_pending(&mut waiter));
    pool.resume();
    drop(ready(&mut waiter).unwrap());
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_without_an_error() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let (first, second) = (pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap());
    second.make_dirty();
    pool.pause();
    let switch = tokio::spawn({
        let pool = pool.clone();
        async move {
            assert!(pool.drained().await);
            pool.retire_all();
            pool.resume();
        }
    });
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await }
    });
    tokio::time::sleep(SECOND).await;
    drop(first);
    tokio::time::sleep(SECOND).await;
    assert!(!switch.is_finished(), "one is out");
    drop(second);
    switch.await.unwrap();
    assert!(waiting.await.unwrap().unwrap().id() > 1, "a new one");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_drain_that_is_none() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    assert!(!pool.drained().await, "it is not paused");
    pool.pause();
    pool.pause();
    let mut drained = Box::pin(pool.drained());
    assert!(is_pending(&mut drained));
    pool.resume();
    assert!(!drained.await, "it is paused no more, however often it was");
    drop(held);
    pool.resume();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_and_a_close_ends_a_pause() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    drop(pool.acquire().await.unwrap());
    pool.pause();
    let error = pool.acquire_timeout(SECOND).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("; paused"), "{error}");
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    pool.close().await;
    assert!(matches!(ready(&mut waiter), Err(AcquireError::Closed)));
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_pause_neither_pings_nor_keeps_the_minimum_and_ages_go_on() {
    let driver = FakeDriver::new();
    let mut config = quiet(3);
    (config.min_size, config.health_check_interval, config.idle_timeout) = (1, Some(SECOND), Some(5 * SECOND));
    let pool = pool_with(&driver, config);
    drop([pool.acquire().await.unwrap(), pool.acquire().await.unwrap()]);
    pool.pause();
    pool.retire_all();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((driver.begun(Call::Ping), pool.state().size), (0, 0));
    pool.resume();
    until(&pool, |state| state.idle == 1).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// A server that is being moved may well refuse a password; those who wait for the end of the pause do not hear of it.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_for_good_during_a_pause_is_no_error_for_those_who_wait() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::FailForGood]);
    let pool = quiet_pool(&driver, 2);
    // As soon as the attempt has begun, before the pool hears of its end.
    let pausing = tokio::spawn({
        let (pool, driver) = (pool.clone(), driver.clone());
        async move {
            driver.reached(Call::Connect, 1).await;
            pool.pause();
        }
    });
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await }
    });
    pausing.await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(pool.stats().open_failures, 1);
    assert!(!waiter.is_finished());
    pool.resume();
    drop(waiter.await.unwrap().unwrap());
    prove_nothing_lost(&pool, &driver).await;
}

/// The backend was away for long and is back: nobody waits until the pause between two attempts is over that began before that.
#[tokio::test(start_paused = true)]
async fn the_first_attempt_after_a_pause_begins_at_once() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    (config.backoff_initial, config.backoff_max) = (1000 * SECOND, 1000 * SECOND);
    let pool = pool_with(&driver, config.clone());
    for resume in [true, false] {
        driver.script(Call::Connect, [Step::Fail]);
        let mut waiter = Box::pin(pool.acquire());
        assert!(is_pending(&mut waiter));
        until(&pool, |_| pool.stats().open_failures > u64::from(!resume)).await;
        if resume {
            pool.pause();
            pool.resume();
        } else {
            config.backoff_max += SECOND;
            pool.reconfigure(config.clone()).unwrap();
        }
        let lease = tokio::time::timeout(SECOND, waiter).await.expect("an attempt begins at once");
        lease.unwrap().discard();
        until(&pool, |state| state.size == 0).await;
    }
    prove_nothing_lost(&pool, &driver).await;
}
