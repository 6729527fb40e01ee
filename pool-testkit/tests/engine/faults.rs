//! A backend that misbehaves.

use std::sync::Arc;
use std::time::Duration;

use pool_core::{AcquireError, OpenFailure, Pool};
use pool_testkit::fake::{Call, FakeDriver, Odds, Step};

use tokio::time::Instant;

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn connect_failures_are_retried_while_somebody_waits() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Fail, Step::Panic, Step::Hang, Step::Fail]);
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    assert_eq!((pool.stats().open_failures, driver.begun(Call::Connect)), (4, 5));
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

/// Whoever waits when a backend comes back does not wait for a pause that has grown while nobody did.
#[tokio::test(start_paused = true)]
async fn who_waits_out_an_outage_waits_for_a_tenth_more_at_most() {
    for _ in 0..8 {
        let driver = FakeDriver::new();
        driver.always(Call::Connect, Step::Fail);
        let mut config = quiet(1);
        config.min_size = 1;
        (config.backoff_initial, config.backoff_max) = (SECOND, 1_000 * SECOND);
        let pool = pool_with(&driver, config);
        let began = Instant::now();
        driver.reached(Call::Connect, 9).await;
        let outage = began.elapsed();
        driver.recover();
        let came = Instant::now();
        drop(pool.acquire_timeout(10_000 * SECOND).await.unwrap());
        // The timer's step is a millisecond.
        let most = (outage / 10).max(SECOND) + Duration::from_millis(2);
        assert!(came.elapsed() <= most, "{:?} after an outage of {outage:?}", came.elapsed());
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f106_a_panic_in_connect_is_a_failure_with_its_message() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Panic);
    let pool = quiet_pool(&driver, 1);
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    let AcquireError::Timeout { failure: Some(failure), .. } = &error else { panic!("{error:?}") };
    assert!(matches!(&**failure, OpenFailure::Panicked { message } if message.contains("told to panic")), "{error}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_connect_is_a_failure_with_its_budget() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Hang);
    let pool = quiet_pool(&driver, 1);
    let error = pool.acquire_timeout(6 * SECOND).await.unwrap_err();
    assert!(error.to_string().contains("connect took longer than 5s"), "{error}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_told_at_once() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::FailForGood);
    let pool = quiet_pool(&driver, 4);
    let started = tokio::time::Instant::now();
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::OpenFailed { .. }), "{error:?}");
    assert!(started.elapsed() < SECOND);
    prove_nothing_lost(&pool, &driver).await;
}

/// Whoever comes between two attempts is told what the last one has found, without one of its own; the next attempt is made when its time has come.
#[tokio::test(start_paused = true)]
async fn who_comes_after_a_permanent_failure_is_told_at_once_too() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::FailForGood);
    let mut config = quiet(4);
    (config.backoff_initial, config.backoff_max) = (SECOND, SECOND);
    let pool = pool_with(&driver, config);
    let started = Instant::now();
    let mut told = 0;
    while started.elapsed() < 10 * SECOND {
        let asked = Instant::now();
        let error = pool.acquire_timeout(Duration::from_millis(1)).await.map(drop).unwrap_err();
        assert!(matches!(error, AcquireError::OpenFailed { .. }), "{error}");
        assert_eq!(asked.elapsed(), Duration::ZERO);
        told += 1;
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let attempts = driver.begun(Call::Connect);
    assert!(told > 1_000 && (10..=101).contains(&attempts), "{attempts} attempts for {told} who were told");
    driver.recover();
    let served = async {
        while pool.acquire_timeout(Duration::from_millis(1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    };
    assert!(tokio::time::timeout(2 * SECOND, served).await.is_ok(), "one pause at most");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_does_not_disturb_those_who_can_be_served() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok]);
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire_owned().await.unwrap();
    driver.always(Call::Connect, Step::FailForGood);
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await }
    });
    driver.reached(Call::Connect, 3).await;
    assert!(!waiter.is_finished());
    drop(held);
    assert_eq!(waiter.await.unwrap().unwrap().id(), 0);
    prove_nothing_lost(&pool, &driver).await;
}

/// When a pool of this seed has tried to connect to a backend that fails, in milliseconds.
async fn attempts_of(seed: u64) -> Vec<u128> {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = quiet(1);
    (config.backoff_initial, config.backoff_max) = (SECOND, 8 * SECOND);
    let pool = Pool::builder(driver.clone()).config(config).seed(seed).build().unwrap();
    let (started, mut attempts) = (Instant::now(), Vec::new());
    let waiting = pool.acquire_timeout(60 * SECOND);
    let watching = async {
        for number in 1..=8 {
            driver.reached(Call::Connect, number).await;
            attempts.push(started.elapsed().as_millis());
        }
    };
    tokio::select! {
        _ = waiting => panic!("there is nothing to be had"),
        () = watching => {}
    }
    prove_nothing_lost(&pool, &driver).await;
    attempts
}

/// Pools that fail together do not try again together.
#[tokio::test(start_paused = true)]
async fn pauses_are_left_to_chance() {
    let seeds = [1, 2, 3, 4];
    let mut all = Vec::new();
    for seed in seeds {
        let attempts = attempts_of(seed).await;
        assert_eq!(attempts, attempts_of(seed).await, "the same chance");
        all.push(attempts);
    }
    let firsts: std::collections::BTreeSet<_> = all.iter().map(|attempts| attempts[1]).collect();
    assert!(firsts.len() >= 3, "the first pauses differ: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_backend_is_not_stormed() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = quiet_pool(&driver, 10);
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.acquire_timeout(60 * SECOND).await.map(drop) }
            })
        })
        .collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_err());
    }
    let attempts = driver.begun(Call::Connect);
    assert!((30..=400).contains(&attempts), "{attempts} attempts in a minute");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_broke_while_idle_are_not_handed_out() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    drop(leases);
    driver.script(Call::Inspect, [Step::Fail, Step::Panic]);
    assert_eq!(pool.acquire().await.unwrap().id(), 2);
    assert_eq!(pool.stats().broken, 2);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn dead_idle_connections_are_found_without_anybody_asking() {
    let driver = FakeDriver::new();
    let mut config = quiet(4);
    config.min_size = 2;
    let pool = pool_with(&driver, config);
    until(&pool, |state| state.idle == 2).await;
    driver.always(Call::Connect, Step::Fail);
    driver.script(Call::Inspect, [Step::Fail, Step::Fail]);
    until(&pool, |state| state.size == 0).await;
    driver.recover();
    until(&pool, |state| state.idle == 2).await;
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_after_some_use_are_replaced_for_those_who_wait() {
    let driver = FakeDriver::new();
    driver.break_after(3);
    let pool = quiet_pool(&driver, 2);
    for _ in 0..100 {
        drop(pool.acquire_timeout(SECOND).await.unwrap());
    }
    assert!(pool.stats().broken > 20);
    prove_nothing_lost(&pool, &driver).await;
}

/// Everything at once, drawn with a seed: faults in every call, leases held for a while, callers that give up.
#[tokio::test(start_paused = true)]
async fn a_storm_of_seeded_faults_loses_nothing() {
    for seed in 0..40 {
        let driver = FakeDriver::seeded(seed, Odds { fail: 60, delay: 200, hang: 20, panic: 30 });
        let mut config = quiet(4);
        config.min_size = 1;
        config.max_lifetime = Some(20 * SECOND);
        config.idle_timeout = Some(5 * SECOND);
        config.health_check_interval = Some(2 * SECOND);
        let pool = Arc::new(pool_with(&driver, config));
        let users: Vec<_> =
            (0..12u64).map(|user| tokio::spawn(use_roughly(Arc::clone(&pool), seed * 100 + user))).collect();
        for user in users {
            user.await.unwrap();
        }
        driver.ledger().check();
        prove_nothing_lost(&pool, &driver).await;
    }
}

async fn use_roughly(pool: Arc<pool_core::Pool<FakeDriver>>, seed: u64) {
    for round in 0..20 {
        let chance = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17).wrapping_mul(round + 1);
        let limit = Duration::from_millis(chance % 400 + 1);
        let Ok(lease) = pool.acquire_timeout(limit).await else { continue };
        let in_hand = lease.take_in_hand();
        tokio::time::sleep(Duration::from_millis(chance % 13)).await;
        if chance.is_multiple_of(7) {
            lease.make_dirty();
        }
        if chance.is_multiple_of(11) {
            lease.break_it();
        }
        drop(in_hand);
    }
}
