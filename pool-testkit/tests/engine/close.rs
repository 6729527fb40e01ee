//! The end of a pool.

use std::time::Duration;

use pool_core::AcquireError;
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, is_pending, quiet_pool, ready, until};

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_leases_and_leaves_nothing_open() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let held = pool.acquire_owned().await.unwrap();
    drop(pool.acquire().await.unwrap());
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    until(&pool, |state| state.closed && state.size == 1).await;
    assert!(!closing.is_finished());
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Closed)));
    assert_eq!(driver.ledger().live(), 1, "the lease still works");
    drop(held);
    closing.await.unwrap();
    assert_eq!(driver.ledger().live(), 0);
    pool.close().await;
    assert!(pool.is_closed());
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn close_sends_waiters_away() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire())).collect();
    assert!(waiters.iter_mut().all(is_pending));
    let mut closing = Box::pin(pool.close());
    assert!(is_pending(&mut closing));
    for waiter in &mut waiters {
        assert!(matches!(ready(waiter), Err(AcquireError::Closed)));
    }
    assert_eq!(pool.state().waiting, 0);
    drop(held);
    closing.await;
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn close_can_be_given_up_and_asked_for_by_many() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    assert!(tokio::time::timeout(SECOND, pool.close()).await.is_err());
    assert!(pool.is_closed(), "it stays closed");
    let many: Vec<_> = (0..5)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.close().await }
            })
        })
        .collect();
    drop(held);
    for task in many {
        task.await.unwrap();
    }
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn close_outlives_an_opener_and_a_close_that_hang() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Hang]);
    driver.always(Call::Close, Step::Hang);
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 2).await;
    drop(waiter);
    drop(held);
    let started = tokio::time::Instant::now();
    pool.close().await;
    assert!(
        started.elapsed() <= Duration::from_secs(11),
        "connect and close budgets bound it: {:?}",
        started.elapsed()
    );
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_connection_opened_for_a_closed_pool_is_closed() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Hold]);
    let pool = quiet_pool(&driver, 1);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 1).await;
    let mut closing = Box::pin(pool.close());
    assert!(is_pending(&mut closing));
    driver.let_go(Call::Connect, 1);
    closing.await;
    assert_eq!((driver.ledger().opened(), driver.ledger().live()), (1, 0));
    assert!(matches!(ready(&mut waiter), Err(AcquireError::Closed)));
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_pool_and_an_owned_lease_may_outlive_it() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire_owned().await.unwrap();
    drop(pool.acquire().await.unwrap());
    drop(pool.clone());
    drop(pool);
    let live = async |wanted| {
        while driver.ledger().live() != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let idle_one_closed = tokio::time::timeout(SECOND, live(1)).await;
    assert!(idle_one_closed.is_ok());
    assert_eq!(held.id(), 0, "still usable");
    drop(held);
    assert!(tokio::time::timeout(SECOND, live(0)).await.is_ok());
    driver.ledger().check();
}
