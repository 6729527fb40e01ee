//! Connections that are kept for something that lasts.

use std::time::Duration;

use pool_core::{HealthConfig, KeptLease, Pool};
use pool_testkit::fake::FakeDriver;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

async fn keep(pool: &Pool<FakeDriver>) -> KeptLease<FakeDriver> {
    pool.acquire_owned().await.unwrap().keep()
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
