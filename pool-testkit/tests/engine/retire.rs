//! Connections that have to go: all of them, one after the other, those to a host, or one.

use pool_core::Pool;
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn one_connection_is_evicted_whoever_has_it() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let [idle, held, other] = [(); 3].map(|()| pool.acquire_owned());
    let (idle, held, other) = (idle.await.unwrap(), held.await.unwrap(), other.await.unwrap());
    let [of_idle, of_held] = [idle.connection_id(), held.connection_id()];
    drop(idle);
    assert!(pool.evict(of_idle));
    until(&pool, |state| state.size == 2).await;
    assert!(!pool.evict(of_idle), "it has gone");
    assert!(pool.evict(of_held) && pool.evict(of_held));
    drop(held.take_in_hand());
    drop((held, other));
    until(&pool, |state| state.size == 1).await;
    assert_eq!((pool.stats().evicted, pool.stats().outdated), (2, 0));
    assert_eq!(pool.try_acquire().unwrap().id(), 2, "the one that nobody minded");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_on_its_way_out_is_not_evicted_again() {
    let driver = FakeDriver::new();
    driver.always(Call::Close, Step::Hang);
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    let id = lease.connection_id();
    lease.discard();
    assert!(!pool.evict(id), "its user discarded it a moment ago");
    driver.reached(Call::Close, 1).await;
    assert!(!pool.evict(id));
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_connection_names_its_pool() {
    let (driver, other_driver) = (FakeDriver::new(), FakeDriver::new());
    let (one, other) = (quiet_pool(&driver, 1), quiet_pool(&other_driver, 1));
    let (lease, of_other) = (one.acquire().await.unwrap(), other.acquire().await.unwrap());
    assert_ne!(lease.connection_id(), of_other.connection_id());
    assert!(!other.evict(lease.connection_id()));
    assert!(other.evict(of_other.connection_id()));
    drop((lease, of_other));
    until(&other, |state| state.size == 0).await;
    assert_eq!((one.state().idle, other.stats().evicted), (1, 1));
    prove_nothing_lost(&one, &driver).await;
    prove_nothing_lost(&other, &other_driver).await;
}

#[tokio::test(start_paused = true)]
async fn connections_to_one_host_are_replaced() {
    let driver = FakeDriver::new();
    driver.hosts(["a", "b"]);
    let pool = quiet_pool(&driver, 4);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.unwrap());
    }
    held.truncate(2);
    pool.retire_host("a");
    until(&pool, |state| state.size == 3).await;
    drop(held);
    until(&pool, |state| state.size == 2).await;
    assert_eq!(pool.stats().outdated, 2);
    let left = [pool.acquire().await.unwrap().id(), pool.acquire().await.unwrap().id()];
    assert!(left.iter().all(|id| id % 2 == 1), "{left:?}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_has_all_connections_replaced() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let [held, one, other] = [(); 3].map(|()| pool.acquire_owned());
    let (held, one, other) = (held.await.unwrap(), one.await.unwrap(), other.await.unwrap());
    drop((one, other));
    let recorder = driver.recorder().unwrap();
    recorder.retire_all_over(30 * SECOND);
    recorder.retire_all_over(60 * SECOND);
    tokio::time::sleep(35 * SECOND).await;
    assert_eq!((pool.stats().outdated, held.id()), (2, 0), "that of a user stays with him");
    drop(held);
    until(&pool, |_| pool.stats().outdated == 3).await;
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(pool.stats().outdated, 3, "those that came later stay");
    assert!(pool.acquire().await.unwrap().id() > 2);
    prove_nothing_lost(&pool, &driver).await;
}

/// A pool of ten that leaves the same to chance each time: all ten could have their turn in the same half of a time.
fn seeded_pool_of_ten(driver: &FakeDriver) -> Pool<FakeDriver> {
    driver.limit(10);
    Pool::builder(driver.clone()).config(quiet(10)).seed(6).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_go_one_after_the_other_even_those_that_nobody_needs() {
    let driver = FakeDriver::new();
    let pool = seeded_pool_of_ten(&driver);
    pool.warm_up(10, std::time::Duration::ZERO, SECOND).await.unwrap();
    tokio::time::sleep(200 * SECOND).await;
    pool.retire_all_over(100 * SECOND);
    let mut gone = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(10 * SECOND).await;
        gone.push(pool.stats().outdated);
    }
    assert!(gone[4] > 0 && gone[4] < 10, "spread over the time: {gone:?}");
    assert_eq!((gone[9], pool.stats().expired, pool.stats().opened), (10, 0, 10), "{gone:?}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn all_are_replaced_one_after_the_other() {
    let driver = FakeDriver::new();
    let pool = seeded_pool_of_ten(&driver);
    pool.warm_up(10, std::time::Duration::ZERO, SECOND).await.unwrap();
    // So that all of them are needed, and replaced.
    let mut config = quiet(10);
    config.min_size = 10;
    pool.reconfigure(config).unwrap();
    pool.retire_all_over(100 * SECOND);
    let mut seen = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(10 * SECOND).await;
        seen.push(pool.stats().outdated);
        assert!(pool.state().idle >= 9, "{:?}", pool.state());
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!((pool.stats().outdated, pool.stats().expired), (10, 0));
    assert!(seen[4] > 0 && seen[4] < 10, "spread over the time: {seen:?}");
    assert!(pool.try_acquire().unwrap().id() >= 10);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_leased_for_longer_goes_when_it_comes_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire().await.unwrap();
    pool.retire_all_over(10 * SECOND);
    tokio::time::sleep(20 * SECOND).await;
    drop(held);
    assert_eq!(pool.state().idle, 0);
    until(&pool, |state| state.size == 0).await;
    assert_eq!((pool.stats().outdated, pool.stats().expired), (1, 0));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_opened_is_judged_when_it_is_open() {
    let driver = FakeDriver::new();
    driver.hosts(["a"]);
    driver.script(Call::Connect, [Step::Hold]);
    let pool = quiet_pool(&driver, 1);
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await.unwrap().id() }
    });
    driver.reached(Call::Connect, 1).await;
    pool.retire_host("b");
    pool.retire_host("a");
    driver.let_go(Call::Connect, 1);
    assert_eq!(waiter.await.unwrap(), 1, "the second one");
    prove_nothing_lost(&pool, &driver).await;
}

/// Each demand is remembered until nobody is left who has not heard of it.
#[tokio::test(start_paused = true)]
async fn a_lease_outlives_many_demands() {
    let driver = FakeDriver::new();
    driver.hosts(["a", "b"]);
    let pool = quiet_pool(&driver, 2);
    let (first, second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    for _ in 0..100 {
        pool.retire_host("c");
    }
    pool.retire_host("b");
    drop((first, second));
    until(&pool, |state| state.size == 1).await;
    assert_eq!(pool.try_acquire().unwrap().id(), 0);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_worn_connection_goes_when_it_comes_back() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.max_uses = Some(3);
    let pool = pool_with(&driver, config.clone());
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(pool.acquire().await.unwrap().id());
    }
    assert_eq!(ids, [0, 0, 0, 1, 1, 1, 2]);
    config.max_uses = Some(300);
    pool.reconfigure(config).unwrap();
    for _ in 0..299 {
        assert_eq!(pool.acquire().await.unwrap().id(), 2);
    }
    assert_eq!(pool.acquire().await.unwrap().id(), 3);
    assert_eq!(pool.stats().worn, 3);
    prove_nothing_lost(&pool, &driver).await;
}

/// It has not been looked at for long when fewer uses are allowed, and somebody waits for it.
#[tokio::test(start_paused = true)]
async fn a_connection_in_use_that_has_been_used_too_often_goes_when_it_comes_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..299 {
        drop(pool.acquire().await.unwrap());
    }
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(crate::common::is_pending(&mut waiter));
    let mut config = quiet(1);
    config.max_uses = Some(300);
    pool.reconfigure(config).unwrap();
    drop(held);
    assert_eq!(waiter.await.unwrap().id(), 1);
    assert_eq!(pool.stats().worn, 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_for_the_one_that_replaces_a_worn_connection() {
    let driver = FakeDriver::new();
    let mut config = quiet(4);
    (config.min_size, config.max_uses) = (1, Some(10));
    let pool = pool_with(&driver, config);
    pool.ready(SECOND).await.unwrap();
    driver.always(Call::Connect, Step::Delay(SECOND));
    for _ in 0..50 {
        let started = tokio::time::Instant::now();
        let lease = pool.acquire().await.unwrap();
        assert_eq!(started.elapsed(), std::time::Duration::ZERO, "there is room for the replacement");
        tokio::time::sleep(SECOND).await;
        drop(lease);
    }
    let stats = pool.stats();
    assert!((4..=6).contains(&stats.worn) && stats.opened <= stats.worn + 2, "{stats:?}");
    prove_nothing_lost(&pool, &driver).await;
}

/// One in ten uses is left when a connection is replaced before it is worn; if it may be used after all, it stays.
#[tokio::test(start_paused = true)]
async fn a_connection_that_may_be_used_more_often_is_not_replaced() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let mut config = quiet(2);
    (config.min_size, config.max_uses) = (1, Some(10));
    let pool = pool_with(&driver, config.clone());
    pool.ready(2 * SECOND).await.unwrap();
    for _ in 0..9 {
        drop(pool.acquire().await.unwrap());
    }
    until(&pool, |state| state.opening == 1).await;
    config.max_uses = None;
    pool.reconfigure(config).unwrap();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((pool.state().idle, pool.stats().worn), (2, 0));
    prove_nothing_lost(&pool, &driver).await;
}
