//! One cap for several pools: never exceeded, lent fairly, given back. All pools of a test share a backend, which counts by itself.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use pool_core::{AdoptError, Budget, Config, OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, is_pending, until};

/// A budget, a backend that complains above its cap, and pools with these guarantees that would each take all of it.
fn world(cap: usize, guarantees: &[usize]) -> (Budget, FakeDriver, Vec<Pool<FakeDriver>>) {
    let (budget, driver) = (Budget::new(cap).unwrap(), FakeDriver::new());
    driver.limit(cap);
    let pools = guarantees.iter().map(|guaranteed| join(&budget, &driver, *guaranteed, quiet(cap))).collect();
    (budget, driver, pools)
}

fn join(budget: &Budget, driver: &FakeDriver, guaranteed: usize, config: Config) -> Pool<FakeDriver> {
    Pool::builder(driver.clone()).config(config).guaranteed(guaranteed).budget(budget).build().unwrap()
}

/// Somebody who waits, for as long as it takes.
type Waiter = Pin<Box<dyn Future<Output = OwnedLease<FakeDriver>>>>;

/// So many who come now, and have to wait.
fn wait(pool: &Pool<FakeDriver>, callers: usize) -> VecDeque<Waiter> {
    let call = |pool: Pool<FakeDriver>| -> Waiter { Box::pin(async move { pool.acquire_owned().await.unwrap() }) };
    let mut waiting: VecDeque<_> = (0..callers).map(|_| call(pool.clone())).collect();
    assert!(waiting.iter_mut().all(is_pending));
    waiting
}

/// The first of those who wait is served.
async fn served(waiting: &mut VecDeque<Waiter>) -> OwnedLease<FakeDriver> {
    timeout(SECOND, waiting.pop_front().unwrap()).await.expect("served at once")
}

async fn hold(pool: &Pool<FakeDriver>, leases: usize) -> Vec<OwnedLease<FakeDriver>> {
    let mut held = Vec::new();
    for _ in 0..leases {
        held.push(pool.acquire_owned().await.unwrap());
    }
    held
}

/// Everything comes back: each pool can have all but what is guaranteed to the others.
pub(crate) async fn prove_nothing_lost(budget: &Budget, driver: &FakeDriver, pools: &[Pool<FakeDriver>]) {
    driver.recover();
    for pool in pools {
        let kept: usize = pools.iter().filter_map(Pool::budget_share).map(|share| share.guaranteed).sum();
        let own = pool.budget_share().map_or(0, |share| share.guaranteed);
        let most = (budget.stats().cap + own - kept).min(pool.config().max_size);
        let held = timeout(60 * SECOND, hold(pool, most)).await;
        assert_eq!(held.map(|held| held.len()), Ok(most), "{budget:?} {:?}", pool.state());
    }
    for pool in pools {
        timeout(60 * SECOND, pool.close()).await.unwrap();
    }
    let stats = budget.stats();
    assert_eq!((stats.held, stats.wanted, stats.guaranteed), (0, 0, 0), "{stats:?}");
    driver.ledger().check();
    assert_eq!(driver.ledger().live(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_do_not_use_is_lent_and_comes_back_with_the_next_return() {
    let (budget, driver, pools) = world(4, &[2, 2]);
    let mut held = hold(&pools[0], 4).await;
    let mut waiting = wait(&pools[1], 1);
    sleep(SECOND).await;
    assert!(is_pending(&mut waiting[0]), "a lease is never taken away");
    let stats = budget.stats();
    assert_eq!((stats.held, stats.wanted, stats.pools[0].owed, stats.pools[1].wants), (4, 1, 1, 1), "{stats:?}");
    // Somebody waits there, too, who has waited for longer.
    let mut other = wait(&pools[0], 1);
    drop(held.pop());
    let lease = served(&mut waiting).await;
    assert!(is_pending(&mut other[0]));
    drop(held.pop());
    drop(served(&mut other).await);
    assert_eq!((pools[0].stats().excess, driver.ledger().opened()), (1, 5), "one was closed for another");
    drop((held, lease));
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_beyond_the_guarantee_is_given_back_at_once() {
    let (budget, driver, pools) = world(6, &[1, 1, 2]);
    drop((hold(&pools[0], 2).await, hold(&pools[1], 4).await));
    let started = Instant::now();
    let held = hold(&pools[2], 2).await;
    assert_eq!(started.elapsed(), Duration::ZERO, "no time passes while everybody can go on");
    let held_by = budget.stats().pools.iter().map(|pool| pool.held).collect::<Vec<_>>();
    assert_eq!(held_by, [2, 2, 2], "the one with most beyond its guarantee gave");
    drop(held);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_guaranteed_is_served_one_return_for_each() {
    let (budget, driver, pools) = world(5, &[1, 0, 3]);
    let (mut one, mut other) = (hold(&pools[0], 3).await, hold(&pools[1], 2).await);
    let mut waiting = wait(&pools[2], 3);
    sleep(SECOND).await;
    let owed: Vec<_> = budget.stats().pools.iter().map(|pool| pool.owed).collect();
    assert_eq!(owed, [2, 1, 0], "as much as is beyond their guarantees, and lacking to that of the third");
    let mut leases = Vec::new();
    for lent in [one.pop(), other.pop(), one.pop()] {
        drop(lent);
        leases.push(served(&mut waiting).await);
    }
    assert_eq!(budget.stats().pools.iter().map(|pool| pool.held).collect::<Vec<_>>(), [1, 1, 3]);
    drop((one, other, leases));
    prove_nothing_lost(&budget, &driver, &pools).await;
}

/// Calls for a connection again and again, each held for a while, and counts how often it had one.
async fn be_hungry(pool: Pool<FakeDriver>, callers: usize, until: Instant) -> u64 {
    let calls = (0..callers).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            while Instant::now() < until {
                let lease = pool.acquire().await.unwrap();
                sleep(Duration::from_millis(10)).await;
                drop(lease);
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    pool.stats().acquired
}

#[tokio::test(start_paused = true)]
async fn of_three_hungry_pools_none_starves() {
    for (cap, least, most_opened) in [(2, 150, u64::MAX), (6, 350, 30)] {
        let (budget, driver, pools) = world(cap, &[0, 0, 0]);
        let end = Instant::now() + 3 * SECOND;
        let hungry: Vec<_> = pools.iter().map(|pool| tokio::spawn(be_hungry(pool.clone(), 8, end))).collect();
        for one in hungry {
            let served = one.await.unwrap();
            assert!(served > least, "{served} with a cap of {cap}, {budget:?}");
        }
        let opened = driver.ledger().opened();
        assert!(opened < most_opened, "with equal parts nobody takes from others: {opened}");
        prove_nothing_lost(&budget, &driver, &pools).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_want_everything_come_to_rest_with_equal_parts_beyond_their_guarantees() {
    let (budget, driver, pools) = world(10, &[4, 0]);
    let end = Instant::now() + 3 * SECOND;
    let hungry: Vec<_> = pools.iter().map(|pool| tokio::spawn(be_hungry(pool.clone(), 20, end))).collect();
    sleep(2 * SECOND).await;
    assert_eq!(budget.stats().pools.iter().map(|pool| pool.held).collect::<Vec<_>>(), [7, 3]);
    for one in hungry {
        one.await.unwrap();
    }
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_for_a_while_is_lent_to_one_that_has_more() {
    let (budget, driver, pools) = world(6, &[1, 0]);
    drop(hold(&pools[0], 3).await);
    let held = hold(&pools[1], 3).await;
    let waiting = pools[1].acquire();
    let lease = timeout(3 * SECOND, waiting).await.unwrap().unwrap();
    assert_eq!(budget.stats().pools[0].held, 2);
    let more = timeout(3 * SECOND, hold(&pools[1], 1)).await.unwrap();
    assert!(pools[1].acquire_timeout(10 * SECOND).await.is_err(), "not what is guaranteed");
    assert_eq!(budget.stats().pools[0].held, 1);
    drop((held, lease, more));
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_hangs_or_panics_gives_back_what_it_took() {
    for step in [Step::Fail, Step::FailForGood, Step::Hang, Step::Panic] {
        let (budget, driver, mut pools) = world(1, &[0]);
        let broken = FakeDriver::new();
        broken.always(Call::Connect, step);
        pools.push(join(&budget, &broken, 0, quiet(1)));
        let first = wait(&pools[1], 1);
        broken.reached(Call::Connect, 1).await;
        let lease = timeout(6 * SECOND, pools[0].acquire()).await;
        assert!(matches!(lease, Ok(Ok(_))), "after {step:?}: {budget:?}");
        drop((lease, first));
        broken.recover();
        // What was wrong for good is believed until the next attempt.
        sleep(10 * SECOND).await;
        prove_nothing_lost(&budget, &driver, &pools).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_dropped_while_it_opens_leaves_everything_to_the_others() {
    let (budget, driver, mut pools) = world(2, &[0, 2]);
    driver.script(Call::Connect, [Step::Hold, Step::Hang]);
    let other = pools.pop().unwrap();
    let waiting = wait(&other, 2);
    driver.reached(Call::Connect, 2).await;
    drop((waiting, other));
    assert_eq!((budget.stats().held, budget.stats().guaranteed), (2, 0));
    let mut held = Vec::new();
    driver.let_go(Call::Connect, 1);
    held.extend(timeout(SECOND, hold(&pools[0], 1)).await.expect("one came too late, and was closed"));
    held.extend(timeout(6 * SECOND, hold(&pools[0], 1)).await.expect("the other attempt took too long"));
    assert_eq!(budget.stats().pools.len(), 1);
    drop(held);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_without_mercy_frees_what_was_being_opened() {
    let (budget, driver, mut pools) = world(1, &[0, 0]);
    driver.script(Call::Connect, [Step::Hang]);
    let other = pools.pop().unwrap();
    let waiting = wait(&other, 1);
    driver.reached(Call::Connect, 1).await;
    assert_eq!(other.close_within(SECOND).await, 0);
    drop(timeout(SECOND, pools[0].acquire()).await.unwrap().unwrap());
    drop(waiting);
    drop(other);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[test]
fn what_a_runtime_leaves_behind_is_free_and_idle_connections_there_are_lent() {
    let (budget, driver) = (Budget::new(3).unwrap(), FakeDriver::new());
    driver.limit(3);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let left = first.block_on(async {
        let pool = join(&budget, &driver, 0, quiet(3));
        drop(hold(&pool, 2).await);
        driver.script(Call::Connect, [Step::Hang]);
        let (_held, _third) = (hold(&pool, 2).await, wait(&pool, 1));
        driver.reached(Call::Connect, 2 + 1).await;
        assert_eq!(budget.stats().held, 3);
        pool
    });
    drop(first);
    assert_eq!((budget.stats().held, budget.stats().wanted), (2, 0), "the attempt has ended, and nobody wants more");
    runtime().block_on(async {
        let pool = join(&budget, &driver, 3, quiet(3));
        let held = timeout(SECOND, hold(&pool, 3)).await.expect("idle ones are closed by whoever needs them");
        assert_eq!(left.stats().excess, 2);
        drop(held);
        prove_nothing_lost(&budget, &driver, &[pool, left]).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_cap_is_changed_while_everything_is_in_use() {
    let (budget, driver, pools) = world(6, &[1, 1]);
    let (mut one, mut other) = (hold(&pools[0], 4).await, hold(&pools[1], 2).await);
    assert_eq!(budget.resize(1).unwrap_err().refused[0].field, "cap");
    budget.resize(3).unwrap();
    assert_eq!(
        (budget.stats().held, budget.stats().pools[0].owed),
        (6, 3),
        "beyond the guarantee, not beyond the other's"
    );
    one.truncate(1);
    until(&pools[0], |state| state.size == 1).await;
    assert_eq!((budget.stats().held, budget.stats().pools[0].owed), (3, 0));
    driver.limit(3);
    let mut waiting = wait(&pools[0], 1);
    sleep(SECOND).await;
    assert!(is_pending(&mut waiting[0]));
    driver.limit(4);
    budget.resize(4).unwrap();
    drop(served(&mut waiting).await);
    other.clear();
    drop(one);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn more_than_there_is_cannot_be_guaranteed() {
    let (budget, driver, mut pools) = world(4, &[3]);
    let build = |guaranteed| Pool::builder(driver.clone()).config(quiet(4)).guaranteed(guaranteed);
    let refused = build(2).budget(&budget).build().unwrap_err();
    let allowed = "0 to what the cap of the budget leaves beside the guarantees of its other pools";
    assert_eq!(refused.to_string(), format!("guaranteed = 2 is not allowed; allowed: {allowed}"));
    let refused = build(2).build().unwrap_err();
    assert_eq!(refused.to_string(), "guaranteed = 2 is not allowed; allowed: with a budget");
    // By its minimum, which may change.
    let by_minimum = Pool::builder(driver.clone()).config(quiet(4)).budget(&budget).build().unwrap();
    let mut config = (*by_minimum.config()).clone();
    config.min_size = 2;
    assert!(by_minimum.reconfigure(config.clone()).unwrap_err().to_string().starts_with("guaranteed = 2 "));
    assert_eq!(by_minimum.config().min_size, 0, "nothing has changed");
    config.min_size = 1;
    by_minimum.reconfigure(config).unwrap();
    assert_eq!((budget.stats().guaranteed, by_minimum.budget_share().unwrap().guaranteed), (4, 1));
    pools[0].close().await;
    assert_eq!(budget.stats().guaranteed, 1, "a pool that is closed needs none");
    pools.push(by_minimum);
    pools.remove(0);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_budget_keeps_place_and_deadline_and_is_told() {
    let (budget, driver, pools) = world(2, &[1, 0]);
    let (one, other) = (hold(&pools[0], 1).await, hold(&pools[1], 1).await);
    let started = Instant::now();
    let error = pools[1].acquire_timeout(SECOND).await.unwrap_err();
    assert_eq!(started.elapsed(), SECOND);
    let situation = error.situation().unwrap();
    assert!(situation.state.budget_exhausted && error.to_string().contains("; the budget is exhausted"), "{error}");
    let mut waiting = wait(&pools[1], 2);
    one.into_iter().for_each(OwnedLease::discard);
    let first = served(&mut waiting).await;
    assert!(is_pending(&mut waiting[0]));
    drop(other);
    drop(served(&mut waiting).await);
    drop(first);
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_detached_is_free_and_what_is_adopted_counts() {
    let (budget, driver, pools) = world(2, &[0, 1]);
    driver.limit(3);
    let mut held = hold(&pools[0], 2).await;
    let detached = held.pop().unwrap().detach();
    assert_eq!(budget.stats().held, 1);
    pools[1].adopt(detached).unwrap();
    assert_eq!(budget.stats().held, 2);
    let Err(AdoptError::Budget { connection }) = pools[0].adopt(driver.open()) else { panic!("there is none left") };
    drop((connection, held));
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn rotation_stays_within_the_cap() {
    let (budget, driver) = (Budget::new(4).unwrap(), FakeDriver::new());
    driver.limit(4);
    let mut config = quiet(4);
    (config.max_lifetime, config.rotation_headroom) = (Some(20 * SECOND), 2);
    let pools: Vec<_> = (0..2).map(|_| join(&budget, &driver, 2, config.clone())).collect();
    let end = Instant::now() + 120 * SECOND;
    let hungry: Vec<_> = pools.iter().map(|pool| tokio::spawn(be_hungry(pool.clone(), 2, end))).collect();
    for one in hungry {
        assert!(one.await.unwrap() > 20_000);
    }
    assert!(driver.ledger().opened() > 20, "they were replaced");
    prove_nothing_lost(&budget, &driver, &pools).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_a_member_until_it_is_gone() {
    let (budget, driver, mut pools) = world(3, &[1, 2]);
    let (pool, held) = (pools.remove(1), hold(&pools[0], 1).await);
    let lease = hold(&pool, 1).await;
    drop(pool);
    sleep(SECOND).await;
    let stats = budget.stats();
    assert_eq!((stats.held, stats.guaranteed, stats.pools.len()), (2, 1, 2), "somebody has one of its connections");
    drop(lease);
    sleep(SECOND).await;
    assert_eq!((budget.stats().held, budget.stats().pools.len()), (1, 1));
    drop(held);
    prove_nothing_lost(&budget, &driver, &pools).await;
    drop(pools);
    sleep(SECOND).await;
    assert_eq!(budget.stats().pools, []);
}
