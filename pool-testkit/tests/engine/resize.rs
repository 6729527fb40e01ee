//! Other settings while the pool is in use.

use std::sync::atomic::{AtomicBool, Ordering};

use pool_core::AcquireError;
use pool_testkit::fake::FakeDriver;

use crate::common::{SECOND, is_pending, prove_nothing_lost, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn a_higher_maximum_serves_those_who_wait() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiters: Vec<_> = (0..40).map(|_| Box::pin(pool.acquire())).collect();
    assert!(waiters.iter_mut().all(is_pending));
    driver.limit(41);
    pool.reconfigure(quiet(41)).unwrap();
    let mut leases = Vec::new();
    for waiter in waiters {
        leases.push(waiter.await.unwrap());
    }
    assert_eq!((pool.state().leased, pool.state().max_size), (41, 41));
    drop((held, leases));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_lower_maximum_the_surplus_leaves_and_nobody_loses_a_lease() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 10);
    let mut leases = Vec::new();
    for _ in 0..10 {
        leases.push(pool.acquire().await.unwrap());
    }
    drop(leases.split_off(6));
    pool.reconfigure(quiet(3)).unwrap();
    until(&pool, |state| state.size == 6).await;
    assert_eq!(pool.state().leased, 6, "the idle ones have gone, the leased ones are still in use");
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    drop(leases.split_off(3));
    until(&pool, |state| state.size == 3).await;
    assert!(is_pending(&mut waiter), "what was one too many has not gone to the waiter");
    drop(leases);
    drop(waiter.await.unwrap());
    assert_eq!((pool.state().size, pool.stats().closed), (3, 7));
    driver.limit(3);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test]
async fn settings_that_were_replaced_do_not_come_back() {
    const LOW: usize = 1;
    const HIGH: usize = 3;
    let pool = quiet_pool(&FakeDriver::new(), HIGH);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.reconfigure(quiet(HIGH)).unwrap();
            }
        });
        let seen: Vec<_> = (0..20_000)
            .map(|_| {
                pool.reconfigure(quiet(LOW)).unwrap();
                pool.reconfigure(quiet(HIGH)).unwrap();
                // Nobody else wants few, and it takes a while until whoever was late is there.
                (0..20).map(|_| pool.state().max_size).min().unwrap()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(seen.iter().all(|max_size| *max_size == HIGH));
    });
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_change_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut wrong = quiet(5);
    wrong.min_size = 6;
    let error = pool.reconfigure(wrong).unwrap_err();
    assert_eq!(error.refused[0].field, "min_size");
    assert_eq!((pool.config().max_size, pool.state().max_size), (2, 2));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_minimum_is_opened_and_a_new_idle_timeout_is_kept() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 5);
    drop(pool.acquire().await.unwrap());
    let mut config = quiet(5);
    config.min_size = 3;
    pool.reconfigure(config.clone()).unwrap();
    until(&pool, |state| state.idle == 3).await;
    (config.min_size, config.idle_timeout) = (0, Some(60 * SECOND));
    pool.reconfigure(config).unwrap();
    tokio::time::sleep(61 * SECOND).await;
    until(&pool, |state| state.size == 0).await;
    assert_eq!(pool.stats().idle_timed_out, 3);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_keeps_the_deadline_it_came_with() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.acquire_timeout = 3 * SECOND;
    let pool = crate::common::pool_with(&driver, config.clone());
    let held = pool.acquire().await.unwrap();
    let waiting = pool.acquire();
    config.acquire_timeout = 10 * SECOND;
    let (outcome, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        pool.reconfigure(config).unwrap();
    });
    assert!(matches!(outcome, Err(AcquireError::Timeout { situation, .. }) if situation.waited == 3 * SECOND));
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}
