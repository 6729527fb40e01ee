//! A pool for each key, under one budget.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use pool_core::{Budget, Pool, TenantError, Tenants, TenantsConfig};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::time::{sleep, timeout};

use crate::common::{SECOND, until};

/// Tenants of one backend that complains above the cap, and how often a pool was made.
struct World {
    tenants: Tenants<u32, FakeDriver>,
    budget: Budget,
    driver: FakeDriver,
    made: Arc<AtomicUsize>,
}

/// No pool for a key that is 13, and a guarantee beyond any cap for 14.
fn world(most: usize, change: impl FnOnce(&mut TenantsConfig)) -> World {
    let (budget, driver, made) = (Budget::new(most).unwrap(), FakeDriver::new(), Arc::<AtomicUsize>::default());
    driver.limit(most);
    let mut config = TenantsConfig::default();
    change(&mut config);
    let (of, count) = (driver.clone(), Arc::clone(&made));
    let pool_for = move |key: &u32| {
        count.fetch_add(1, Ordering::Relaxed);
        let guaranteed = if *key == 14 { 1_000 } else { 0 };
        if *key == 13 {
            Err("nobody has it".into())
        } else {
            Ok(Pool::builder(of.clone()).config(quiet(2_000)).guaranteed(guaranteed))
        }
    };
    World { tenants: Tenants::new(&budget, config, pool_for).unwrap(), budget, driver, made }
}

impl World {
    fn keys(&self) -> Vec<u32> {
        let mut keys = self.tenants.keys();
        keys.sort_unstable();
        keys
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    async fn prove_nothing_lost(self) {
        timeout(60 * SECOND, self.tenants.close_all()).await.unwrap();
        assert!(matches!(self.tenants.pool(&1), Err(TenantError::Closed)));
        sleep(SECOND).await;
        assert_eq!((self.budget.stats().held, self.budget.stats().pools.len()), (0, 0));
        self.driver.ledger().check();
        assert_eq!(self.driver.ledger().live(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_made_when_it_is_asked_for_and_closed_when_nobody_uses_it() {
    let world = world(4, |config| config.reap_after = 10 * SECOND);
    let pool = world.tenants.pool(&1).unwrap();
    drop(pool.acquire().await.unwrap());
    drop(world.tenants.pool(&2).unwrap());
    assert_eq!((world.keys(), world.made()), (vec![1, 2], 2));
    sleep(60 * SECOND).await;
    assert_eq!(world.keys(), [1], "somebody has a handle to it");
    let lease = pool.acquire_owned().await.unwrap();
    drop(pool);
    sleep(60 * SECOND).await;
    assert_eq!(world.keys(), [1], "somebody has a connection of it");
    drop(lease);
    sleep(9 * SECOND).await;
    drop(world.tenants.pool(&1).unwrap());
    sleep(9 * SECOND).await;
    assert_eq!((world.keys(), world.driver.ledger().live()), (vec![1], 1), "somebody has asked for it");
    sleep(4 * SECOND).await;
    assert_eq!((world.keys(), world.driver.ledger().live()), (vec![], 0), "closed, and its connection with it");
    assert_eq!(world.budget.stats().pools.len(), 0);
    let again = world.tenants.pool(&1).unwrap();
    drop(again.acquire().await.unwrap());
    assert_eq!((again.stats().opened, world.made()), (1, 3), "another one");
    drop(again);
    world.prove_nothing_lost().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_uses_the_pool() {
    let world = world(1, |config| config.reap_after = SECOND);
    let pool = world.tenants.pool(&1).unwrap();
    let lease = pool.acquire_owned().await.unwrap();
    let other = world.tenants.pool(&2).unwrap();
    let waiter = tokio::spawn(async move { other.acquire_timeout(20 * SECOND).await.map(drop) });
    drop(pool);
    sleep(10 * SECOND).await;
    assert_eq!(world.keys(), [1, 2]);
    drop(lease);
    assert!(waiter.await.unwrap().is_ok(), "lent by the other tenant");
    sleep(4 * SECOND).await;
    assert_eq!(world.keys(), [0; 0]);
    world.prove_nothing_lost().await;
}

#[test]
fn all_who_ask_at_once_get_the_same_pool() {
    let world = world(4, |_| {});
    let start = Barrier::new(8);
    let states = thread::scope(|scope| {
        let ask = || {
            start.wait();
            (0..100).map(|key| world.tenants.pool(&(key + 100)).unwrap().budget_share().map_or(0, |_| 1)).sum::<usize>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!((states, world.made(), world.budget.stats().pools.len()), (800, 100, 100));
}

#[tokio::test(start_paused = true)]
async fn of_too_many_the_one_goes_that_has_rested_for_longest() {
    let world = world(9, |config| config.max_pools = 3);
    let held = world.tenants.pool(&1).unwrap().acquire_owned().await.unwrap();
    for key in [2, 3] {
        drop(world.tenants.pool(&key).unwrap());
        sleep(2 * SECOND).await;
    }
    drop(world.tenants.pool(&2).unwrap());
    let pool = world.tenants.pool(&4).unwrap();
    assert_eq!(world.keys(), [1, 2, 4], "the third was asked for first");
    let other = world.tenants.pool(&2).unwrap();
    let refused = world.tenants.pool(&5).unwrap_err();
    assert_eq!(refused.to_string(), "all 3 pools are in use; max_pools = 3");
    assert!(matches!(refused, TenantError::Full { max_pools: 3 }));
    drop((pool, other));
    drop(world.tenants.pool(&5).unwrap());
    drop(held);
    assert_eq!((world.keys().len(), world.made()), (3, 5));
    world.prove_nothing_lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_be_made_takes_no_place_and_is_tried_again() {
    let world = world(4, |config| config.max_pools = 1);
    for made in 1..3 {
        let error = world.tenants.pool(&13).unwrap_err();
        assert_eq!(error.to_string(), "no pool can be made for this key: nobody has it");
        assert_eq!((world.keys(), world.made()), (vec![], made));
    }
    let error = world.tenants.pool(&14).unwrap_err();
    assert!(matches!(error, TenantError::Refused(_)), "{error}");
    assert_eq!((world.keys(), world.budget.stats().pools.len()), (vec![], 0));
    drop(world.tenants.pool(&1).unwrap());
    world.prove_nothing_lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_somebody_has_closed_is_made_anew() {
    let world = world(4, |_| {});
    let pool = world.tenants.pool(&1).unwrap();
    pool.close().await;
    let another = world.tenants.pool(&1).unwrap();
    drop(another.acquire().await.unwrap());
    assert_eq!((world.keys(), world.made()), (vec![1], 2));
    drop((pool, another));
    world.prove_nothing_lost().await;
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_all_pools_are_closed() {
    let World { tenants, budget, driver, .. } = world(4, |_| {});
    let kept = tenants.pool(&1).unwrap();
    drop((kept.acquire().await.unwrap(), tenants.pool(&2).unwrap().acquire_owned().await.unwrap()));
    let other = tenants.clone();
    drop(tenants);
    sleep(SECOND).await;
    assert_eq!(driver.ledger().live(), 2);
    drop(other);
    until(&kept, |state| state.idle == 1).await;
    sleep(SECOND).await;
    assert_eq!((driver.ledger().live(), budget.stats().pools.len()), (1, 1), "but the one that somebody has");
    assert!(!kept.is_closed());
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let mut config = TenantsConfig::default();
    (config.max_pools, config.reap_after) = (0, Duration::ZERO);
    let make = |_: &u32| Ok(Pool::builder(FakeDriver::new()));
    let refused = Tenants::new(&Budget::new(1).unwrap(), config, make).unwrap_err();
    let expected =
        "max_pools = 0 is not allowed; allowed: 1 and more; reap_after = 0ns is not allowed; allowed: 1 ms to 10 years";
    assert_eq!(refused.to_string(), expected);
}
