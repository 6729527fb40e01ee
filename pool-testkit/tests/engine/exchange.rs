//! Connections that leave the pool open, or come into it open.

use pool_core::AdoptError;
use pool_testkit::fake::{Call, FakeDriver, Step};

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
    driver.script(Call::Connect, [Step::Hang]);
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

/// Nobody knows in what state it comes.
#[tokio::test(start_paused = true)]
async fn an_adopted_connection_is_looked_at_before_it_is_handed_out() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Hang]);
    driver.script(Call::Reset, [Step::Hold]);
    let pool = quiet_pool(&driver, 2);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 1).await;
    let broken = driver.open();
    broken.break_it();
    pool.adopt(broken).unwrap();
    assert!(is_pending(&mut waiter), "it is broken");
    until(&pool, |state| state.size == 1).await;
    let dirty = driver.open();
    dirty.make_dirty();
    let id = dirty.id();
    pool.adopt(dirty).unwrap();
    assert!(is_pending(&mut waiter), "it is dirty");
    driver.reached(Call::Reset, 1).await;
    driver.let_go(Call::Reset, 1);
    assert_eq!(waiter.await.unwrap().id(), id);
    assert_eq!((pool.stats().adopted, pool.stats().broken), (2, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[test]
fn a_connection_is_not_lost_that_is_adopted_where_nobody_can_look_after_it() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let adopt = std::panic::AssertUnwindSafe(|| timeless.block_on(async { pool.adopt(driver.open()) }));
    assert!(std::panic::catch_unwind(adopt).is_err(), "there is no timer for a janitor");
    assert_eq!((pool.state().idle, driver.ledger().live()), (1, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_says_so_even_if_it_has_no_room() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    driver.limit(2);
    assert!(is_pending(&mut Box::pin(pool.close())));
    let refused = pool.adopt(driver.open()).unwrap_err();
    assert!(matches!(refused, AdoptError::Closed { .. }), "{refused}");
    drop((refused, held));
    pool.close().await;
    driver.ledger().check();
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
