//! Connections that are kept for something that lasts.

use std::sync::Barrier;
use std::time::Duration;

use pool_core::{HealthConfig, KeptLease, Pool};
use pool_testkit::fake::FakeDriver;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, pool_with, prove_nothing_lost, prove_whole, quiet, quiet_pool, until};

async fn keep(pool: &Pool<FakeDriver>) -> KeptLease<FakeDriver> {
    pool.acquire_owned().await.unwrap().keep().unwrap()
}

/// How long it takes until it is wanted back; `None` if it never is.
async fn wanted_within(kept: &mut KeptLease<FakeDriver>) -> Option<Duration> {
    let started = Instant::now();
    timeout(Duration::from_hours(3), kept.wanted_back()).await.ok().map(|()| started.elapsed())
}

/// What is done to a pool.
type Act = fn(&Pool<FakeDriver>);

#[tokio::test(start_paused = true)]
async fn it_counts_within_the_maximum_and_is_nobodys_lease() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    (config.leak_after, config.reclaim_after) = (Some(SECOND), Some(2 * SECOND));
    config.max_lifetime = Some(Duration::from_mins(1));
    let pool = pool_with(&driver, config);
    let mut health = HealthConfig::default();
    (health.leak_after, health.reserve) = (Some(SECOND), false);
    let checker = pool.monitor(health).unwrap();
    let mut kept = keep(&pool).await;
    assert_eq!((pool.state().reserved, pool.state().leased), (1, 0));
    assert!(pool.state().to_string().contains(", 1 kept of 2;"), "{}", pool.state());
    let other = pool.acquire().await.unwrap();
    assert!(timeout(SECOND / 2, pool.acquire()).await.is_err(), "there are no more");
    drop(other);
    // Its age is no reason either.
    assert_eq!(wanted_within(&mut kept).await, None);
    assert!(pool.holders().is_empty());
    assert_eq!(pool.stats().reclaimed, 0);
    assert!(checker.check_health().await.reasons.is_empty(), "{}", checker.report());
    drop((checker, kept));
    until(&pool, |state| state.reserved == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// Of several who keep one at the same moment, all but one may, whoever that is.
#[test]
fn one_at_least_is_left_for_callers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let driver = FakeDriver::new();
    let pool = runtime.block_on(async { quiet_pool(&driver, 3) });
    for _ in 0..500 {
        let leases = runtime
            .block_on(async { [pool.acquire_owned().await, pool.acquire_owned().await, pool.acquire_owned().await] });
        let barrier = Barrier::new(leases.len());
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let keeping = leases.into_iter().map(|lease| {
                let (lease, barrier) = (lease.unwrap(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    lease.keep()
                })
            });
            let keeping: Vec<_> = keeping.collect();
            keeping.into_iter().map(|keeping| keeping.join().unwrap()).collect()
        });
        assert_eq!((pool.state().reserved, pool.state().leased), (2, 1));
        let mut refused = Vec::new();
        for outcome in outcomes {
            outcome.map_or_else(|error| refused.push(error), KeptLease::give_back);
        }
        let [error] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((error.max_size, error.kept), (3, 2));
        let text = "to keep another connection would leave none for callers; max_size = 3, kept = 2";
        assert_eq!(error.to_string(), text);
    }
    // The pool may be looking at one at this moment.
    let all_idle = async { timeout(20 * SECOND, until(&pool, |state| state.idle == 3)).await };
    assert!(runtime.block_on(all_idle).is_ok(), "the lease comes back in the error");
    assert_eq!(pool.stats().opened, 3);
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

/// Whoever has kept one for longest, keeps it.
#[tokio::test(start_paused = true)]
async fn a_smaller_pool_wants_the_latest_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let mut kept = [keep(&pool).await, keep(&pool).await, keep(&pool).await];
    let mut config = (*pool.config()).clone();
    config.max_size = 3;
    pool.reconfigure(config.clone()).unwrap();
    let [first, second, third] = &mut kept;
    assert_eq!(wanted_within(third).await, Some(Duration::ZERO));
    assert_eq!((wanted_within(first).await, wanted_within(second).await), (None, None));
    config.max_size = 2;
    pool.reconfigure(config).unwrap();
    let [first, second, third] = kept;
    third.give_back();
    second.give_back();
    let mut first = first;
    assert_eq!(wanted_within(&mut first).await, None);
    first.give_back();
    driver.limit(2);
    prove_nothing_lost(&pool, &driver).await;
}

/// They check on what is left, as in a pool of one.
#[tokio::test(start_paused = true)]
async fn monitors_leave_one_for_callers() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let first = pool.monitor(HealthConfig::default()).unwrap();
    let second = pool.monitor(HealthConfig::default()).unwrap();
    for _ in 0..100 {
        assert!(first.check_health().await.is_ready() && second.check_health().await.is_ready());
        sleep(SECOND).await;
        assert_eq!((pool.state().reserved, pool.state().leased), (1, 0));
        drop(pool.acquire_timeout(SECOND).await.expect("one is left"));
    }
    drop((first, second));
    until(&pool, |state| state.reserved == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_back_is_used_again_and_one_that_is_dropped_is_closed() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    keep(&pool).await.give_back();
    assert_eq!((pool.state().idle, pool.state().reserved), (1, 0));
    drop(keep(&pool).await);
    until(&pool, |state| state.size == 0).await;
    assert_eq!((pool.stats().opened, pool.stats().broken), (1, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_wanted_back_when_nobody_is_to_have_one_or_this_one_is_to_go() {
    let reasons: [(&str, Act); 4] = [
        ("a pause", Pool::pause),
        ("a retirement", Pool::retire_all),
        ("one over a while", |pool| pool.retire_all_over(Duration::from_mins(1))),
        ("a smaller pool", |pool| {
            let mut config = (*pool.config()).clone();
            config.max_size = 1;
            pool.reconfigure(config).unwrap();
        }),
    ];
    for (name, act) in reasons {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 3);
        let mut kept = keep(&pool).await;
        let waiting = tokio::spawn(async move {
            let waited = wanted_within(&mut kept).await;
            kept.give_back();
            waited
        });
        sleep(SECOND / 2).await;
        act(&pool);
        let waited = waiting.await.unwrap().unwrap_or_else(|| panic!("{name} is noticed"));
        let expected = if name.contains("while") { 58..=63 } else { 0..=0 };
        assert!(expected.contains(&waited.as_secs()), "{name}: {waited:?}");
        if name == "a pause" {
            assert!(pool.drained().await);
            pool.resume();
        }
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_concerns_others_leaves_it_alone() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let mut kept = keep(&pool).await;
    let other = pool.acquire().await.unwrap();
    assert!(pool.evict(other.connection_id()));
    drop(other);
    pool.retire_host("elsewhere");
    assert_eq!(wanted_within(&mut kept).await, None);
    kept.give_back();
    assert_eq!((pool.state().idle, pool.stats().evicted), (1, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_has_it_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut kept = keep(&pool).await;
    let keeping = tokio::spawn(async move {
        kept.wanted_back().await;
        kept.give_back();
    });
    timeout(SECOND, pool.close()).await.expect("nothing is left open");
    keeping.await.unwrap();
    driver.ledger().settle(&pool.stats());
}

/// A pool whose connections live for 100 seconds.
fn mortal(driver: &FakeDriver, size: usize, min_size: usize, headroom: usize) -> Pool<FakeDriver> {
    let mut config = quiet(size);
    (config.min_size, config.max_lifetime) = (min_size, Some(100 * SECOND));
    config.rotation_headroom = headroom;
    let pool = pool_with(driver, config);
    driver.limit(size + headroom);
    pool
}

/// Its age is no reason to give it back: what was opened in its place would be one too many, and would be replaced itself.
#[tokio::test(start_paused = true)]
async fn one_that_has_grown_old_is_not_replaced() {
    let driver = FakeDriver::new();
    let pool = mortal(&driver, 3, 1, 0);
    let kept = keep(&pool).await;
    sleep(1000 * SECOND).await;
    assert_eq!((pool.state().size, pool.stats().opened), (1, 1));
    kept.give_back();
    until(&pool, |state| state.idle == 1).await;
    assert_eq!((pool.stats().opened, pool.stats().expired), (2, 1), "others do not get it");
    prove_nothing_lost(&pool, &driver).await;
}

/// The headroom is for replacements that are under way, and this is none.
#[tokio::test(start_paused = true)]
async fn one_that_has_grown_old_takes_no_headroom() {
    let driver = FakeDriver::new();
    let pool = mortal(&driver, 2, 2, 1);
    let kept = keep(&pool).await;
    let (mut run, mut longest) = (0, 0);
    for _ in 0..1_000 {
        sleep(SECOND).await;
        run = if pool.state().size > 2 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    assert!(longest <= 5, "more than max_size for {longest} s on end");
    assert!(pool.stats().expired >= 9, "the other one is replaced: {:?}", pool.stats());
    kept.give_back();
    until(&pool, |state| state.idle == 2).await;
    driver.limit(3);
    prove_whole(&pool).await;
}

/// It has been used nearly as often as it may be, and is used no more often while it is kept, by a monitor or by somebody else.
#[tokio::test(start_paused = true)]
async fn one_that_is_nearly_worn_is_not_replaced() {
    for by_monitor in [false, true] {
        let driver = FakeDriver::new();
        let mut config = quiet(3);
        config.max_uses = Some(2);
        let pool = pool_with(&driver, config);
        let checker = by_monitor.then(|| pool.monitor(HealthConfig::default()).unwrap());
        let kept = if by_monitor { None } else { Some(keep(&pool).await) };
        sleep(1000 * SECOND).await;
        assert_eq!((pool.state().reserved, pool.state().size, pool.stats().opened), (1, 1, 1), "{by_monitor}");
        drop((checker, kept));
        until(&pool, |state| state.reserved == 0).await;
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// All are replaced one after the other; one that knows its turn already is kept, and goes in its turn all the same.
#[tokio::test(start_paused = true)]
async fn one_whose_turn_to_leave_has_been_set_is_wanted_back_for_that() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    drop(pool.acquire().await.unwrap());
    pool.retire_all_over(Duration::from_mins(1));
    let mut kept = keep(&pool).await;
    let waited = wanted_within(&mut kept).await.expect("it is wanted back");
    assert!(waited <= Duration::from_secs(63), "{waited:?}");
    kept.give_back();
    until(&pool, |state| state.size == 1).await;
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.outdated, stats.state.idle), (2, 1, 1), "its replacement is there");
    prove_nothing_lost(&pool, &driver).await;
}
