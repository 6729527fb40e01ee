//! Who gets a connection, and when.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};

use pool_core::AcquireError;
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, is_pending, prove_nothing_lost, quiet_pool, ready, until};

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..50 {
        let (mine, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let _lease = mine.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        }));
        until(&pool, |state| state.waiting == number + 1).await;
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_waiter() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    drop(held);
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })), "the connection is the waiter's");
    let mut late = Box::pin(pool.acquire());
    assert!(is_pending(&mut late));
    drop(ready(&mut waiter).unwrap());
    drop(ready(&mut late).unwrap());
    drop((waiter, late));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_whichever_comes_first_the_opener_or_a_release() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Hold]);
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 2).await;
    drop(held);
    let lease = ready(&mut waiter).unwrap();
    assert_eq!(lease.id(), 0, "the one that was released");
    driver.let_go(Call::Connect, 1);
    until(&pool, |state| state.idle == 1).await;
    assert_eq!(pool.try_acquire().unwrap().id(), 1, "the opener finished for the pool");
    drop(lease);
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn every_waiter_asks_for_an_opener() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = quiet_pool(&driver, 10);
    let started = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.acquire_owned().await }
            })
        })
        .collect();
    let mut leases = Vec::new();
    for task in tasks {
        leases.push(task.await.unwrap().unwrap());
    }
    assert!(started.elapsed() < 2 * SECOND, "ten connections in the time of one: {:?}", started.elapsed());
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn openers_are_limited() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Hold);
    let mut config = crate::common::quiet(10);
    config.max_openers = 3;
    let pool = crate::common::pool_with(&driver, config);
    let mut waiters: Vec<_> = (0..10).map(|_| Box::pin(pool.acquire())).collect();
    assert!(waiters.iter_mut().all(is_pending));
    driver.reached(Call::Connect, 3).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!((driver.begun(Call::Connect), pool.state().opening), (3, 3));
    driver.let_go(Call::Connect, 10);
    until(&pool, |state| state.size == 10).await;
    drop(waiters);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_thread_gets_the_same_connection_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let (first, second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    drop(first);
    drop(second);
    for _ in 0..3 {
        assert_eq!(pool.acquire().await.unwrap().id(), 1, "released last, so still warm");
    }
    assert_eq!(pool.stats().acquired, 5);
    prove_nothing_lost(&pool, &driver).await;
}

/// Waiting costs nothing: a waiter is polled when it comes and when it is served, however long that takes and whatever the others do.
#[tokio::test(start_paused = true)]
async fn a_waiter_is_left_alone_until_it_is_served() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire_timeout(SECOND).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut polls = 0;
            let mut acquire = Box::pin(pool.acquire_timeout(10_000 * SECOND));
            let lease = poll_fn(|context| {
                polls += 1;
                acquire.as_mut().poll(context)
            });
            drop(lease.await.unwrap());
            polls
        }
    });
    tokio::task::yield_now().await;
    for _ in 0..100 {
        assert!(pool.acquire_timeout(60 * SECOND).await.is_err());
    }
    drop(held);
    let polls = waiting.await.unwrap();
    assert_eq!(polls, 2);
    prove_nothing_lost(&pool, &driver).await;
}
