//! What the pool does by itself.

use std::time::Duration;

use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn the_minimum_is_opened_and_kept() {
    let driver = FakeDriver::new();
    let mut config = quiet(5);
    config.min_size = 3;
    let pool = pool_with(&driver, config);
    until(&pool, |state| state.idle == 3).await;
    pool.try_acquire().unwrap().discard();
    until(&pool, |state| state.idle == 2).await;
    until(&pool, |state| state.idle == 3).await;
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.broken), (4, 1, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_above_the_minimum_are_retired() {
    let driver = FakeDriver::new();
    let mut config = quiet(5);
    config.min_size = 2;
    config.idle_timeout = Some(Duration::from_mins(5));
    let pool = pool_with(&driver, config);
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.push(pool.acquire().await.unwrap());
    }
    drop(leases);
    tokio::time::sleep(Duration::from_secs(298)).await;
    assert_eq!(pool.state().idle, 5);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let stats = pool.stats();
    assert_eq!((stats.state.idle, stats.idle_timed_out, stats.opened), (2, 3, 5));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((pool.stats().opened, pool.stats().closed), (5, 3), "no churn");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_is_not_idle() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.idle_timeout = Some(Duration::from_mins(5));
    let pool = pool_with(&driver, config);
    for _ in 0..20 {
        let lease = pool.acquire().await.unwrap();
        tokio::time::sleep(Duration::from_mins(4)).await;
        drop(lease);
        tokio::time::sleep(Duration::from_mins(4)).await;
    }
    assert_eq!(pool.stats().opened, 1);
    prove_nothing_lost(&pool, &driver).await;
}

/// A session that has to be reset after every use is idle from its release on, as any other.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_always_given_back_dirty_is_not_idle() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.idle_timeout = Some(Duration::from_mins(5));
    let pool = pool_with(&driver, config);
    for _ in 0..5 {
        let lease = pool.acquire().await.unwrap();
        lease.make_dirty();
        tokio::time::sleep(Duration::from_mins(4)).await;
        drop(lease);
        until(&pool, |state| state.idle == 1).await;
        tokio::time::sleep(Duration::from_mins(4)).await;
    }
    assert_eq!(pool.stats().opened, 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn old_connections_are_retired_when_idle_and_on_release() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.max_lifetime = Some(Duration::from_hours(1));
    let pool = pool_with(&driver, config);
    let held = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    tokio::time::sleep(Duration::from_mins(53)).await;
    assert_eq!(pool.state().size, 2, "a tenth earlier at most");
    tokio::time::sleep(Duration::from_mins(8)).await;
    assert_eq!((pool.state().idle, pool.state().leased, pool.stats().expired), (1, 1, 1));
    drop(held);
    assert_eq!(pool.state().idle, 1, "too old to become idle again; its replacement is there");
    until(&pool, |state| state.size == 1).await;
    assert_eq!(pool.stats().expired, 2);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn quiet_connections_are_pinged_and_dead_ones_replaced() {
    let driver = FakeDriver::new();
    driver.script(Call::Ping, [Step::Ok, Step::Fail]);
    let mut config = quiet(1);
    config.min_size = 1;
    config.health_check_interval = Some(30 * SECOND);
    let pool = pool_with(&driver, config);
    driver.reached(Call::Ping, 1).await;
    until(&pool, |state| state.idle == 1).await;
    assert_eq!(pool.stats().closed, 0);
    driver.reached(Call::Ping, 2).await;
    until(&pool, |state| state.idle == 1).await;
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.broken), (2, 1, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_frozen_ping_holds_up_nobody() {
    let driver = FakeDriver::new();
    driver.script(Call::Ping, [Step::Hang]);
    let mut config = quiet(2);
    config.min_size = 2;
    config.health_check_interval = Some(30 * SECOND);
    let pool = pool_with(&driver, config);
    driver.reached(Call::Ping, 2).await;
    until(&pool, |state| state.idle == 1).await;
    drop(pool.try_acquire().unwrap());
    until(&pool, |state| state.idle == 2).await;
    assert_eq!(pool.stats().broken, 1, "the ping timeout closed it");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn dirty_sessions_are_reset_before_anybody_gets_them() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    lease.make_dirty();
    drop(lease);
    assert!(pool.try_acquire().is_err(), "not before the reset");
    assert_eq!(pool.acquire().await.unwrap().id(), 0, "the same connection, reset");
    assert_eq!(driver.begun(Call::Reset), 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_reset_is_closed() {
    for step in [Step::Fail, Step::Hang, Step::Panic] {
        let driver = FakeDriver::new();
        driver.script(Call::Reset, [step]);
        let pool = quiet_pool(&driver, 1);
        let lease = pool.acquire().await.unwrap();
        lease.make_dirty();
        drop(lease);
        assert_eq!(pool.acquire().await.unwrap().id(), 1, "another connection after {step:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}
