//! A future dropped at every place where it can be.

use pool_core::{AcquireError, OpenFailure};
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, is_pending, prove_nothing_lost, quiet_pool, ready, until};

#[tokio::test(start_paused = true)]
async fn cancel_while_queued_leaves_the_others_in_order() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire())).collect();
    assert!(waiters.iter_mut().all(is_pending));
    drop(waiters.remove(1));
    assert_eq!(pool.state().waiting, 2);
    assert_eq!(pool.stats().cancelled, 1);
    drop(held);
    let first = ready(&mut waiters[0]).unwrap();
    assert!(is_pending(&mut waiters[1]));
    drop(first);
    drop(ready(&mut waiters[1]).unwrap());
    drop(waiters);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn cancel_at_hand_over_passes_the_connection_on() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut first = Box::pin(pool.acquire());
    let mut second = Box::pin(pool.acquire());
    assert!(is_pending(&mut first) && is_pending(&mut second));
    drop(held);
    assert_eq!(pool.state().waiting, 1, "the first one has been promised the connection");
    drop(first);
    drop(ready(&mut second).unwrap());
    let mut third = Box::pin(pool.acquire());
    let held = ready(&mut third).unwrap();
    let mut fourth = Box::pin(pool.acquire());
    assert!(is_pending(&mut fourth));
    drop(held);
    drop(fourth);
    assert_eq!(pool.state().idle, 1, "nobody else waited, so it is idle again");
    drop((second, third));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn cancel_while_connecting_does_not_waste_the_attempt() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Hold]);
    let pool = quiet_pool(&driver, 1);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Connect, 1).await;
    drop(waiter);
    driver.let_go(Call::Connect, 1);
    until(&pool, |state| state.idle == 1).await;
    assert_eq!(driver.begun(Call::Connect), 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_tells_why() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = quiet_pool(&driver, 2);
    let error = pool.acquire_timeout(3 * SECOND).await.unwrap_err();
    let AcquireError::Timeout { situation, failure: Some(failure) } = &error else { panic!("{error:?}") };
    assert_eq!((situation.waited, situation.oldest_lease), (3 * SECOND, None));
    assert_eq!((situation.state.max_size, situation.state.leased), (2, 0));
    assert!(matches!(**failure, OpenFailure::Driver { .. }));
    let text = error.to_string();
    assert!(text.contains("3s") && text.contains("0 leased") && text.contains("refuses to Connect"), "{text}");
    assert_eq!((pool.stats().timeouts, pool.stats().cancelled), (1, 0));
    assert!(driver.begun(Call::Connect) > 3, "it went on trying");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_a_busy_pool_blames_nobody_else() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Fail]); // overcome, and so forgotten
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    assert!(
        matches!(&error, AcquireError::Timeout { failure: None, situation } if situation.state.leased == 1),
        "{error}"
    );
    assert!(
        (SECOND..SECOND + SECOND / 10).contains(&pool.stats().wait_time),
        "both waits: {:?}",
        pool.stats().wait_time
    );
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn f136g_a_timeout_longer_than_any_clock_waits() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire_timeout(std::time::Duration::MAX));
    assert!(is_pending(&mut waiter));
    drop(held);
    drop(ready(&mut waiter).unwrap());
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

/// Drops an acquire after each possible number of polls, in a pool where everything happens: opening, waiting, handing over.
#[tokio::test(start_paused = true)]
async fn cancel_after_every_number_of_polls_loses_nothing() {
    for polls in 0..6 {
        let driver = FakeDriver::new();
        driver.script(Call::Connect, [Step::Delay(SECOND), Step::Fail, Step::Hang, Step::Panic]);
        let pool = quiet_pool(&driver, 2);
        for _ in 0..4 {
            let mut future = Box::pin(pool.acquire_owned());
            for _ in 0..polls {
                if is_pending(&mut future) {
                    tokio::time::sleep(SECOND / 2).await;
                } else {
                    break;
                }
            }
            drop(future);
        }
        prove_nothing_lost(&pool, &driver).await;
    }
}
