//! Which of several idle connections is handed out, and connections that are all replaced.

use pool_core::{IdleOrder, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, until};

/// A pool with the connections 0, 1, 2 in the slots 0, 1, 2, that became idle in the order of `released`.
async fn pool_of_three(driver: &FakeDriver, order: IdleOrder, released: [usize; 3]) -> Pool<FakeDriver> {
    let mut config = quiet(3);
    config.idle_order = order;
    let pool = pool_with(driver, config);
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(Some(pool.acquire().await.unwrap()));
    }
    for place in released {
        drop(leases[place].take());
    }
    drop(leases);
    pool
}

/// The connections that one user after the other gets.
async fn in_turn(pool: &Pool<FakeDriver>, turns: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..turns {
        ids.push(pool.acquire().await.unwrap().id());
    }
    ids
}

/// The connections that users get who hold them at the same time.
async fn at_once(pool: &Pool<FakeDriver>) -> Vec<u64> {
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(pool.acquire().await.unwrap());
    }
    leases.iter().map(|lease| lease.id()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_most_recently_used_connection_comes_first_then_the_lowest() {
    let driver = FakeDriver::new();
    let pool = pool_of_three(&driver, IdleOrder::Recent, [2, 0, 1]).await;
    assert_eq!(in_turn(&pool, 3).await, [1, 1, 1]);
    assert_eq!(at_once(&pool).await, [1, 0, 2]);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn first_idle_first_used() {
    let driver = FakeDriver::new();
    let pool = pool_of_three(&driver, IdleOrder::Fifo, [2, 0, 1]).await;
    assert_eq!(in_turn(&pool, 7).await, [2, 0, 1, 2, 0, 1, 2]);
    assert_eq!(at_once(&pool).await, [0, 1, 2]);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_connection_comes_first() {
    let driver = FakeDriver::new();
    let pool = pool_of_three(&driver, IdleOrder::LeastRecentlyUsed, [2, 0, 1]).await;
    assert_eq!(in_turn(&pool, 4).await, [2, 0, 1, 2]);
    assert_eq!(at_once(&pool).await, [0, 1, 2]);
    prove_nothing_lost(&pool, &driver).await;
}

/// A ping takes a connection by its name: it keeps its turn, in both orders that have one.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_looked_after_keeps_its_turn() {
    for order in [IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed] {
        let driver = FakeDriver::new();
        let pool = pool_of_three(&driver, order, [2, 0, 1]).await;
        let mut config = (*pool.config()).clone();
        config.health_check_interval = Some(SECOND);
        pool.reconfigure(config.clone()).unwrap();
        tokio::time::sleep(2 * SECOND).await;
        until(&pool, |state| state.idle == 3).await;
        assert!(driver.begun(Call::Ping) >= 3, "all were pinged");
        config.health_check_interval = None;
        pool.reconfigure(config).unwrap();
        until(&pool, |state| state.idle == 3).await;
        assert_eq!(in_turn(&pool, 3).await, [2, 0, 1], "{order:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// What takes the place of a connection that died while it was idle became idle last.
#[tokio::test(start_paused = true)]
async fn a_new_connection_does_not_inherit_a_turn() {
    for order in [IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed] {
        let driver = FakeDriver::new();
        let pool = pool_of_three(&driver, order, [2, 0, 1]).await;
        let mut config = (*pool.config()).clone();
        config.min_size = 3;
        config.health_check_interval = Some(SECOND);
        driver.script(Call::Ping, [Step::Fail]);
        pool.reconfigure(config).unwrap();
        driver.reached(Call::Connect, 4).await;
        until(&pool, |state| state.idle == 3).await;
        assert_eq!(in_turn(&pool, 4).await, [0, 1, 3, 0], "{order:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// Nor does a connection keep a turn from an earlier time when turns were kept.
#[tokio::test(start_paused = true)]
async fn turns_are_forgotten_when_the_order_changes() {
    for order in [IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed] {
        let driver = FakeDriver::new();
        let pool = pool_of_three(&driver, order, [2, 0, 1]).await;
        let in_order = (*pool.config()).clone();
        let mut recent = in_order.clone();
        recent.idle_order = IdleOrder::Recent;
        pool.reconfigure(recent).unwrap();
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(pool.acquire().await.unwrap());
        }
        leases.sort_by_key(|lease| lease.id());
        for lease in leases {
            drop(lease);
            // The order of uses is known to within the step of the janitor's clock, a second, while nobody asks for it.
            tokio::time::sleep(2 * SECOND).await;
        }
        pool.reconfigure(in_order).unwrap();
        assert_eq!(in_turn(&pool, 4).await, [0, 1, 2, 0], "{order:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_order_changes_while_the_pool_is_in_use() {
    let driver = FakeDriver::new();
    let pool = pool_of_three(&driver, IdleOrder::Recent, [2, 0, 1]).await;
    assert_eq!(in_turn(&pool, 2).await, [1, 1]);
    let mut config = (*pool.config()).clone();
    let held = pool.acquire().await.unwrap();
    assert_eq!(held.id(), 1);
    config.idle_order = IdleOrder::Fifo;
    pool.reconfigure(config.clone()).unwrap();
    drop(held);
    assert_eq!(in_turn(&pool, 4).await, [0, 2, 1, 0]);
    config.idle_order = IdleOrder::Recent;
    pool.reconfigure(config).unwrap();
    assert_eq!(in_turn(&pool, 2).await, [0, 0]);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn all_connections_are_replaced_and_nobody_loses_a_lease() {
    let driver = FakeDriver::new();
    let pool = pool_of_three(&driver, IdleOrder::Recent, [2, 0, 1]).await;
    let held = pool.acquire().await.unwrap();
    let number = held.id();
    pool.retire_all();
    until(&pool, |state| state.size == 1).await;
    let in_use = held.take_in_hand();
    assert_eq!(held.id(), number);
    let next = pool.acquire().await.unwrap();
    assert_eq!(next.id(), 3, "opened for this caller");
    drop((in_use, held));
    until(&pool, |state| state.size == 1).await;
    drop(next);
    assert_eq!(in_turn(&pool, 2).await, [3, 3], "and stays");
    prove_nothing_lost(&pool, &driver).await;
}

/// What was being opened when all connections were to be replaced is replaced, too.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_on_its_way_is_replaced_too() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(1));
    driver.script(Call::Connect, [Step::Hold]);
    let mut waiting = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiting));
    driver.reached(Call::Connect, 1).await;
    pool.retire_all();
    driver.let_go(Call::Connect, 1);
    let lease = waiting.await.unwrap();
    assert_eq!(lease.id(), 1, "the first one was opened before");
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}
