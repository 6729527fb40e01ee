//! Settings that are changed live, each for `settings.rs`: numbers of connections and of uses, and their order.

use std::time::Duration;

use pool_core::{IdleOrder, Lease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::sleep;

use crate::common::{SECOND, is_pending, until};
use crate::settings::{Setting, Trial};

async fn held(pool: &Pool<FakeDriver>, leases: usize) -> Vec<Lease<'_, FakeDriver>> {
    let mut held = Vec::new();
    for _ in 0..leases {
        held.push(pool.acquire().await.unwrap());
    }
    held
}

/// How many connections can be had at once.
async fn most(pool: &Pool<FakeDriver>) -> usize {
    let mut leases = Vec::new();
    while let Ok(lease) = pool.acquire_timeout(SECOND).await {
        leases.push(lease);
    }
    leases.len()
}

pub(crate) async fn there_may_be_more_or_fewer(setting: Setting) -> Trial {
    let trial = setting.begin(2, |_| {});
    let mut seen = vec![most(&trial.pool).await];
    for max_size in [5, 1, 3] {
        trial.driver.limit(max_size.max(trial.pool.state().size));
        trial.change(|config| config.max_size = max_size);
        until(&trial.pool, |state| state.size <= max_size).await;
        seen.push(most(&trial.pool).await);
    }
    assert_eq!((seen, trial.pool.stats().excess), (vec![2, 5, 1, 3], 4));
    trial
}

pub(crate) async fn more_or_fewer_are_kept(setting: Setting) -> Trial {
    let trial = setting.begin(5, |config| config.idle_timeout = Some(10 * SECOND));
    sleep(30 * SECOND).await;
    assert_eq!(trial.driver.begun(Call::Connect), 0);
    trial.change(|config| config.min_size = 3);
    until(&trial.pool, |state| state.idle == 3).await;
    sleep(30 * SECOND).await;
    assert_eq!(trial.pool.state().idle, 3, "kept, although nobody uses them");
    trial.change(|config| config.min_size = 1);
    until(&trial.pool, |state| state.size == 1).await;
    sleep(30 * SECOND).await;
    assert_eq!((trial.pool.state().idle, trial.pool.stats().idle_timed_out), (1, 2));
    trial
}

pub(crate) async fn more_or_fewer_are_kept_ready(setting: Setting) -> Trial {
    let trial = setting.begin(9, |config| (config.min_idle, config.idle_timeout) = (1, Some(10 * SECOND)));
    let leases = held(&trial.pool, 2).await;
    sleep(30 * SECOND).await;
    assert_eq!(trial.pool.state().idle, 1);
    trial.change(|config| config.min_idle = 3);
    until(&trial.pool, |state| state.idle == 3).await;
    sleep(30 * SECOND).await;
    assert_eq!((trial.pool.state().idle, trial.pool.state().size), (3, 5));
    trial.change(|config| config.min_idle = 0);
    until(&trial.pool, |state| state.size == 2).await;
    drop(leases);
    trial
}

pub(crate) async fn a_pool_that_was_never_used_becomes_lazy_or_eager(setting: Setting) -> Trial {
    let trial = setting.begin(5, |config| config.min_size = 2);
    trial.driver.always(Call::Connect, Step::Fail);
    trial.driver.reached(Call::Connect, 3).await;
    trial.change(|config| config.lazy = true);
    until(&trial.pool, |state| state.opening == 0).await;
    let begun = trial.driver.begun(Call::Connect);
    sleep(60 * SECOND).await;
    assert_eq!(trial.driver.begun(Call::Connect), begun, "nobody needs one");
    trial.driver.always(Call::Connect, Step::Ok);
    trial.change(|config| config.lazy = false);
    until(&trial.pool, |state| state.idle == 2).await;
    trial
}

/// The connections that one user after the other gets, two seconds apart: further than the steps of the pool's clock.
async fn in_turn(pool: &Pool<FakeDriver>, turns: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..turns {
        ids.push(pool.acquire().await.unwrap().id());
        sleep(2 * SECOND).await;
    }
    ids
}

pub(crate) async fn another_one_comes_first(setting: Setting) -> Trial {
    let trial = setting.begin(3, |_| {});
    drop(held(&trial.pool, 3).await);
    in_turn(&trial.pool, 1).await;
    let mut turns = in_turn(&trial.pool, 2).await;
    for order in [IdleOrder::Fifo, IdleOrder::Recent, IdleOrder::LeastRecentlyUsed] {
        trial.change(|config| config.idle_order = order);
        turns.extend(in_turn(&trial.pool, 4).await);
    }
    // The one that was used last; all in turn; the one that was used last; all in turn.
    let [a, b, c] = [turns[2], turns[3], turns[4]];
    assert!(turns.starts_with(&[c, c]) && a != b, "{turns:?}");
    assert_eq!(turns[2..], [a, b, c, a, a, a, a, a, b, c, a, b], "of {a}, {b} and {c}");
    trial
}

/// The fewest that were idle at a time, while all of them reach their lifetime.
async fn fewest_idle(pool: &Pool<FakeDriver>) -> usize {
    let mut fewest = usize::MAX;
    for _ in 0..1_500 {
        sleep(SECOND / 10).await;
        fewest = fewest.min(pool.state().idle);
    }
    // A replacement may be under way.
    until(pool, |state| (state.idle, state.size) == (3, 3)).await;
    fewest
}

pub(crate) async fn a_replacement_comes_first_or_second(setting: Setting) -> Trial {
    let trial = setting.begin(3, |config| (config.min_size, config.max_lifetime) = (3, Some(100 * SECOND)));
    trial.driver.always(Call::Connect, Step::Delay(SECOND));
    trial.pool.ready(10 * SECOND).await.unwrap();
    assert_eq!(fewest_idle(&trial.pool).await, 2);
    trial.driver.limit(4);
    trial.change(|config| config.rotation_headroom = 1);
    assert_eq!(fewest_idle(&trial.pool).await, 3);
    assert_eq!(trial.driver.ledger().peak(), 4);
    trial.driver.limit(3);
    trial.change(|config| config.rotation_headroom = 0);
    assert_eq!(fewest_idle(&trial.pool).await, 2);
    trial
}

async fn uses(pool: &Pool<FakeDriver>, id: u64, times: usize) {
    for _ in 0..times {
        assert_eq!(pool.acquire().await.unwrap().id(), id);
    }
}

/// More often than leases are all looked at: also what was not to be looked at for long notices.
pub(crate) async fn a_connection_is_used_more_or_less_often(setting: Setting) -> Trial {
    let trial = setting.begin(1, |_| {});
    uses(&trial.pool, 0, 300).await;
    // More than it was used, no limit, fewer; each time for the connection that is there.
    let steps = [(Some(310), 0, 10), (None, 1, 320), (Some(100), 2, 60), (Some(300), 2, 240), (Some(2), 3, 2)];
    for (limit, id, times) in steps {
        trial.change(|config| config.max_uses = limit);
        uses(&trial.pool, id, times).await;
    }
    assert_eq!(trial.pool.stats().worn, 4);
    trial
}

pub(crate) async fn more_or_fewer_are_opened_at_once(setting: Setting) -> Trial {
    let trial = setting.begin(8, |config| (config.max_openers, config.connect_timeout) = (2, 600 * SECOND));
    let Trial { pool, driver, .. } = &trial;
    driver.always(Call::Connect, Step::Hold);
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(pool.acquire_timeout(600 * SECOND))).collect();
    assert!(waiting.iter_mut().all(is_pending));
    let opening = async |expected: (usize, u64)| {
        sleep(5 * SECOND).await;
        assert_eq!((pool.state().opening, driver.begun(Call::Connect)), expected);
    };
    opening((2, 2)).await;
    trial.change(|config| config.max_openers = 4);
    opening((4, 4)).await;
    trial.change(|config| config.max_openers = 1);
    driver.let_go(Call::Connect, 3);
    opening((1, 4)).await;
    driver.let_go(Call::Connect, 2);
    opening((1, 6)).await;
    driver.let_go(Call::Connect, 3);
    let mut leases = Vec::new();
    for one in waiting {
        leases.push(tokio::time::timeout(Duration::from_mins(1), one).await.unwrap().unwrap());
    }
    drop(leases);
    trial
}
