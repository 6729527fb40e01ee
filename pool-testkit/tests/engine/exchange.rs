//! Connections that leave the pool open, or come into it open.

use pool_core::AdoptError;
use pool_testkit::fake::{Call, FakeDriver};

use crate::common::{is_pending, prove_nothing_lost, quiet_pool, ready, until};

#[tokio::test(start_paused = true)]
async fn a_detached_connection_makes_room_for_another() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.limit(2);
    let connection = lease.detach();
    assert_eq!((pool.state().size, pool.stats().detached, pool.stats().closed), (0, 1, 1));
    let other = waiter.await.unwrap();
    assert_eq!((connection.id(), other.id()), (0, 1));
    drop(connection.take_in_hand());
    drop((connection, other));
    driver.limit(1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn an_adopted_connection_goes_to_the_one_who_waits() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [pool_testkit::fake::Step::Hang]);
    let pool = quiet_pool(&driver, 2);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 1).await;
    let connection = driver.open();
    let id = connection.id();
    pool.adopt(connection).unwrap();
    assert_eq!(ready(&mut waiter).unwrap().id(), id);
    assert_eq!((pool.stats().adopted, pool.stats().opened), (1, 1));
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_adopted_comes_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    pool.adopt(driver.open()).unwrap();
    driver.limit(2);
    let full = pool.adopt(driver.open()).unwrap_err();
    assert_eq!(full.to_string(), "the pool has no room for another connection; max_size = 1");
    assert!(matches!(&full, AdoptError::Full { connection, max_size: 1 } if connection.id() == 1));
    drop(full.into_connection());
    pool.close().await;
    let closed = pool.adopt(driver.open()).unwrap_err();
    assert_eq!((format!("{closed:?}"), closed.to_string()), ("Closed".to_owned(), "the pool is closed".to_owned()));
    assert_eq!(pool.state().size, 0);
    drop(closed);
    driver.ledger().check();
}

#[tokio::test(start_paused = true)]
async fn the_last_one_to_be_detached_ends_a_close() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire_owned().await.unwrap();
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    until(&pool, |state| state.closed).await;
    let connection = lease.detach();
    closing.await.unwrap();
    drop(connection);
    driver.ledger().settle(&pool.stats());
}
