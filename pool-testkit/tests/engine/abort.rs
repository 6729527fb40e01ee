//! A close that does not wait for ever.

use std::time::Duration;

use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::Instant;

use crate::common::{SECOND, pool_with, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn a_close_in_time_aborts_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire_owned().await.unwrap();
    let user = tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        assert!(!held.is_broken());
    });
    assert_eq!(pool.close_within(2 * SECOND).await, 0);
    user.await.unwrap();
    assert_eq!(pool.close_within(Duration::ZERO).await, 0, "once more");
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_at_the_end_is_cut_off() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let (held, kept) = (pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap());
    drop(pool.acquire().await.unwrap());
    let started = Instant::now();
    assert_eq!(pool.close_within(SECOND).await, 2);
    assert_eq!(started.elapsed(), SECOND);
    assert!(held.is_broken() && kept.is_broken(), "and their users know");
    assert_eq!(driver.ledger().live(), 2);
    drop((held, kept));
    assert_eq!(pool.close_within(SECOND).await, 0);
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn what_the_pool_is_doing_at_the_end_is_dropped() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Ok, Step::Ok, Step::Hang]);
    driver.always(Call::Reset, Step::Hang);
    driver.always(Call::Ping, Step::Hang);
    driver.script(Call::Close, [Step::Hang]);
    let mut config = quiet(4);
    let forever = Duration::from_hours(10);
    (config.connect_timeout, config.reset_timeout, config.close_timeout) = (forever, forever, forever);
    (config.health_check_timeout, config.health_check_interval) = (forever, Some(SECOND));
    let pool = pool_with(&driver, config);
    let (dirty, broken, idle) =
        (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    dirty.make_dirty();
    broken.break_it();
    drop((dirty, broken, idle));
    driver.reached(Call::Ping, 1).await;
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await.map(drop) }
    });
    until(&pool, |state| (state.opening, state.in_maintenance) == (1, 3)).await;
    assert_eq!(pool.close_within(60 * SECOND).await, 0);
    assert!(waiter.await.unwrap().is_err());
    driver.ledger().settle(&pool.stats());
    assert_eq!(driver.ledger().live(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_close_and_the_shortest_limit_counts() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire_owned().await.unwrap();
    let patient = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert_eq!(pool.close_within(SECOND).await, 1);
    assert!(held.is_broken() && !patient.is_finished());
    drop(held);
    patient.await.unwrap();
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_closing_that_is_given_up_before_its_limit_aborts_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire_owned().await.unwrap();
    assert!(tokio::time::timeout(SECOND, pool.close_within(60 * SECOND)).await.is_err());
    tokio::time::sleep(120 * SECOND).await;
    assert!(!held.is_broken());
    drop(held);
    pool.close().await;
    driver.ledger().settle(&pool.stats());
}
