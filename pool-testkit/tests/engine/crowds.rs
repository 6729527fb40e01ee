//! Connections that several use at a time, and that take no more of them.

use pool_core::Pool;
use pool_testkit::fake::{Door, FakeDriver};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, ready, until};

/// A pool in which two share a connection.
fn shared_pool(driver: &FakeDriver, max_size: usize) -> Pool<FakeDriver> {
    driver.share_by(2);
    pool_with(driver, quiet(max_size))
}

/// Whatever the driver has against another user, or if it panics instead of saying so.
#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_more_users_comes_back_first() {
    for door in [Door::Shut, Door::Broken] {
        let driver = FakeDriver::new();
        driver.share_by(4);
        let pool = pool_with(&driver, quiet(1));
        let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
        driver.door(door);
        assert!(pool.try_share().is_err());
        let mut waiter = Box::pin(pool.share());
        assert!(is_pending(&mut waiter));
        driver.door(Door::Open);
        drop(one);
        assert!(is_pending(&mut waiter), "it has to come back");
        drop(other);
        let waiter = ready(&mut waiter).unwrap();
        drop(pool.try_share().expect("others may join again"));
        drop(waiter);
        assert_eq!(pool.stats().opened, 1);
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// One who waits and would be let in.
#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_where_the_driver_takes_no_more() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter));
    driver.door(Door::Shut);
    drop(one);
    assert!(is_pending(&mut waiter));
    drop(other);
    drop(ready(&mut waiter).expect("it has the connection for itself"));
    driver.door(Door::Open);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_shuts_is_the_last() {
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = pool_with(&driver, quiet(1));
    let (one, other) = (pool.share().await.unwrap(), pool.share_owned().await.unwrap());
    other.shut();
    assert!(pool.try_share().is_err());
    drop(other);
    assert!(pool.try_share().is_err(), "it is shut until it has come back");
    drop(one);
    drop(pool.try_share().unwrap());
    assert_eq!((pool.stats().opened, pool.stats().closed), (1, 0));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn another_one_is_opened_before_anybody_has_to_wait() {
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = pool_with(&driver, quiet(2));
    let mut leases = vec![pool.share().await.unwrap(), pool.share().await.unwrap()];
    tokio::time::sleep(SECOND).await;
    assert_eq!(pool.stats().opened, 1, "half of the places are free");
    leases.push(pool.share().await.unwrap());
    until(&pool, |state| state.idle == 1).await;
    leases.push(pool.share().await.unwrap());
    assert_eq!(leases.iter().map(|lease| lease.id()).collect::<Vec<_>>(), [0, 0, 0, 1]);
    leases.extend([(); 4].map(|()| pool.try_share().unwrap()));
    tokio::time::sleep(SECOND).await;
    assert_eq!((pool.stats().opened, pool.stats().waited), (2, 1), "there are not more than there may be");
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_when_it_is_asked_how_many_shares_nothing() {
    let driver = FakeDriver::new();
    driver.door(Door::Broken);
    let pool = shared_pool(&driver, 1);
    driver.door(Door::Open);
    let one = pool.share().await.unwrap();
    assert!(pool.try_share().is_err());
    drop(one);
    prove_nothing_lost(&pool, &driver).await;
}
