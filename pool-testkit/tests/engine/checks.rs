//! Connections that have to be checked before they are handed out, and what comes in between.

use std::time::Duration;

use pool_core::{AcquireError, Config, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, ready, until};

/// So many connections that have to be checked, and nobody who uses them.
async fn unchecked(driver: &FakeDriver, size: usize, change: impl FnOnce(&mut Config)) -> Pool<FakeDriver> {
    let mut config = quiet(size);
    config.check_after_idle = Some(10 * SECOND);
    change(&mut config);
    let pool = pool_with(driver, config);
    pool.warm_up(size, Duration::ZERO, SECOND).await.unwrap();
    sleep(60 * SECOND).await;
    pool
}

/// Idle connections are left alone because enough are being checked; somebody looks at all idle ones at that moment.
async fn nobody_is_handed_one_unchecked_after(operation: impl AsyncFn(&Pool<FakeDriver>)) {
    let driver = FakeDriver::new();
    let pool = unchecked(&driver, 2, |config| config.max_uses = Some(1000)).await;
    driver.always(Call::Ping, Step::Hold);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Ping, 1).await;
    assert_eq!(pool.state().idle, 1);
    operation(&pool).await;
    assert!(is_pending(&mut waiter), "the other one was idle for a minute, too");
    driver.let_go(Call::Ping, 3);
    drop(waiter.await.unwrap());
    driver.always(Call::Ping, Step::Ok);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_unchecked_connection_because_others_are_retired() {
    nobody_is_handed_one_unchecked_after(async |pool| pool.retire_host("some other host")).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_unchecked_connection_because_of_other_settings() {
    nobody_is_handed_one_unchecked_after(async |pool| {
        let mut config = (*pool.config()).clone();
        config.max_uses = Some(500);
        pool.reconfigure(config).unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_unchecked_connection_in_a_round() {
    nobody_is_handed_one_unchecked_after(async |_| sleep(2 * SECOND).await).await;
}

/// Ten connections are dead without saying so, as after a failover; the server that is there now opens others at once.
#[tokio::test(start_paused = true)]
async fn checks_that_hang_do_not_keep_callers_from_a_server_that_works() {
    let driver = FakeDriver::new();
    let pool = unchecked(&driver, 10, |_| {}).await;
    let mut config = (*pool.config()).clone();
    config.max_size = 20;
    driver.limit(20);
    pool.reconfigure(config).unwrap();
    driver.always(Call::Ping, Step::Hang);
    let caller = |pool: Pool<FakeDriver>| {
        let started = Instant::now();
        tokio::spawn(async move {
            let _lease = pool.acquire_owned().await.unwrap();
            let waited = started.elapsed();
            sleep(SECOND).await;
            waited
        })
    };
    let callers: Vec<_> = (0..10).map(|_| caller(pool.clone())).collect();
    for caller in callers {
        let waited = caller.await.unwrap();
        assert!(waited <= SECOND / 5, "{waited:?} for pings that nobody answers, with room for others");
    }
    sleep(10 * SECOND).await;
    assert_eq!((pool.stats().errors.pings, pool.stats().broken), (10, 10));
    prove_nothing_lost(&pool, &driver).await;
}

/// The first is late; the second answers, though not at once.
#[tokio::test(start_paused = true)]
async fn a_check_that_is_late_is_followed_by_another() {
    let driver = FakeDriver::new();
    let pool = unchecked(&driver, 2, |config| config.check_timeout = SECOND).await;
    driver.script(Call::Ping, [Step::Delay(SECOND / 2), Step::Delay(SECOND / 20)]);
    let started = Instant::now();
    drop(pool.acquire().await.unwrap());
    assert_eq!(started.elapsed(), SECOND / 10 + SECOND / 20);
    until(&pool, |state| state.idle == 2).await;
    assert_eq!((pool.stats().errors.pings, pool.state().checking), (0, 0));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_names_the_checks_that_go_on() {
    let driver = FakeDriver::new();
    let pool = unchecked(&driver, 1, |_| {}).await;
    driver.always(Call::Ping, Step::Hang);
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    assert!(
        matches!(&error, AcquireError::Timeout { situation, .. } if situation.step() == pool_core::Step::Check && situation.state.checking == 1),
        "{error}"
    );
    assert!(error.to_string().contains("1 in maintenance (1 being checked) of 1; "), "{error}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_checked_before_a_pause_is_not_pinged_in_it() {
    let driver = FakeDriver::new();
    let pool = unchecked(&driver, 1, |_| {}).await;
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    pool.pause();
    sleep(SECOND).await;
    assert_eq!((driver.begun(Call::Ping), pool.state().idle, pool.state().checking), (0, 1, 0));
    assert!(pool.drained().await);
    pool.resume();
    driver.reached(Call::Ping, 1).await;
    sleep(SECOND / 100).await;
    drop(ready(&mut waiter).unwrap());
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}
