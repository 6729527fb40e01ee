//! Pools that outlive runtimes, and leases dropped where there is none.

use std::time::Duration;

use pool_core::{AcquireError, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::runtime::{Builder, Runtime};

use crate::common::{pool_with, prove_nothing_lost, quiet, quiet_pool};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn a_pool_can_be_built_and_leases_dropped_outside_of_a_runtime() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })));
    let runtime = runtime();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    let dirty = runtime.block_on(pool.acquire_owned()).unwrap();
    dirty.make_dirty();
    drop(lease);
    drop(dirty);
    assert_eq!(pool.try_acquire().unwrap().id(), 0);
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn waiting_outside_of_a_runtime_is_an_error_not_a_panic() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let mut acquire = Box::pin(pool.acquire());
    assert!(matches!(crate::common::ready(&mut acquire), Err(AcquireError::NoRuntime { .. })));
}

#[test]
fn the_next_runtime_takes_over_from_one_that_ended() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Hang]);
    let pool = quiet_pool(&driver, 3);
    let first = runtime();
    let lease = first.block_on(pool.acquire_owned()).unwrap();
    first.block_on(async {
        // Leaves an opener behind that never ends.
        let _ = pool.acquire_timeout(Duration::from_secs(1)).await;
    });
    drop(first);
    lease.make_dirty();
    drop(lease);
    let second = runtime();
    second.block_on(async {
        assert_eq!(pool.acquire().await.unwrap().id(), 0, "reset by the second janitor");
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn those_who_wait_on_another_runtime_start_the_next_janitor() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Hang]);
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    first.block_on(async {
        let _ = pool.acquire_timeout(Duration::from_secs(1)).await;
    });
    let second = runtime();
    second.block_on(async {
        let waiter = tokio::spawn({
            let pool = pool.clone();
            async move { pool.acquire_owned().await.map(drop) }
        });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        waiter.await.unwrap().unwrap();
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn a_runtime_that_stands_still_stops_no_clock_but_its_own() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    let held = first.block_on(pool.acquire_owned()).unwrap();
    // The janitor is on the first runtime, which nobody drives from here on.
    runtime().block_on(async {
        let error = pool.acquire_timeout(Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { waited, .. } if waited == Duration::from_secs(2)));
    });
    drop(held);
    first.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn a_waiter_whose_janitor_goes_away_keeps_its_deadline() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let (first, second) = (runtime(), runtime());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    // Joins where the janitor keeps the time for it, and waits on elsewhere.
    let mut waiting = Box::pin(pool.acquire_timeout(Duration::from_secs(5)));
    first.block_on(async { assert!(crate::common::is_pending(&mut waiting)) });
    second.block_on(async {
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        let before = tokio::time::Instant::now();
        assert!(matches!(waiting.await, Err(AcquireError::Timeout { .. })));
        assert!(before.elapsed() > Duration::from_secs(4), "not at once: {:?}", before.elapsed());
        drop(held);
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn the_epoch_does_not_start_again_with_the_next_runtime() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.idle_timeout = Some(Duration::from_mins(5));
    let pool = pool_with(&driver, config);
    let first = runtime();
    first.block_on(async {
        drop(pool.acquire().await.unwrap());
        tokio::time::sleep(Duration::from_mins(4)).await;
        let held = pool.acquire().await.unwrap();
        tokio::time::sleep(Duration::from_hours(1)).await;
        drop(held);
    });
    drop(first);
    runtime().block_on(async {
        drop([pool.acquire().await.unwrap(), pool.acquire().await.unwrap()]);
        tokio::time::sleep(Duration::from_mins(6)).await;
        assert_eq!((pool.stats().state.size, pool.stats().reaped), (0, 2));
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn close_moves_to_another_runtime_when_the_first_ends() {
    let driver = FakeDriver::new();
    driver.always(Call::Close, Step::Hang);
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    drop(first.block_on(pool.acquire()).unwrap());
    let second = runtime();
    second.block_on(async {
        let mut closing = Box::pin(pool.close());
        assert!(crate::common::is_pending(&mut closing));
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        closing.await;
    });
    driver.ledger().settle(&pool.stats());
}

#[test]
fn a_pool_dropped_outside_of_a_runtime_closes_its_connections() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let runtime = runtime();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    drop(runtime.block_on(pool.acquire()).unwrap());
    drop(runtime);
    drop(pool);
    drop(lease);
    assert_eq!((driver.ledger().opened(), driver.ledger().live()), (2, 0));
    driver.ledger().check();
}

#[test]
fn a_lease_dropped_by_a_panic_comes_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let runtime = runtime();
    runtime.block_on(async {
        let task = tokio::spawn({
            let pool = pool.clone();
            async move {
                let _lease = pool.acquire_owned().await.unwrap();
                panic!("on purpose");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(pool.try_acquire().unwrap().id(), 0);
        prove_nothing_lost(&pool, &driver).await;
    });
}

/// Threads on a real clock: the only test here that is not on virtual time, and it waits for nothing.
#[test]
fn many_threads_share_a_few_connections() {
    let driver = FakeDriver::new();
    driver.limit(3);
    let pool = Pool::builder(driver.clone()).config(quiet(3)).build().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let users: Vec<_> = (0..16)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for round in 0..500 {
                        let lease = pool.acquire().await.unwrap();
                        let in_hand = lease.take_in_hand();
                        if round % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        drop(in_hand);
                        if round % 50 == 0 {
                            lease.discard();
                        }
                    }
                })
            })
            .collect();
        for user in users {
            user.await.unwrap();
        }
        assert_eq!(pool.stats().acquired, 16 * 500);
        prove_nothing_lost(&pool, &driver).await;
    });
}
