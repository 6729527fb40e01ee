//! Promises of `docs/promises.md` that no other test here proves as they are put there.

use std::sync::Arc;
use std::time::Duration;

use pool_core::{AcquireError, Config, Pool, Preference, Tag};
use pool_testkit::fake::{Call, FakeDriver, Odds, Step};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, until};

/// After the last fault everything can be had within this time, if the backend answers at once: no call that began before lasts longer than its budget, and no pause between two attempts is
/// longer than `backoff_max`.
fn bound(config: &Config) -> Duration {
    let pings = config.health_check_timeout.max(config.check_timeout);
    let calls = config.connect_timeout.max(config.reset_timeout).max(config.close_timeout).max(pings);
    calls + config.backoff_max
}

/// With budgets of its own for each call, so that a bound that forgets one is too short.
fn settings(seed: u64) -> Config {
    let mut config = quiet(4);
    let budget = |call: u64| Duration::from_millis(400 + 700 * ((seed + call) % 5));
    config.connect_timeout = budget(0);
    config.reset_timeout = budget(1);
    config.close_timeout = budget(2);
    config.health_check_timeout = budget(3);
    config.check_timeout = budget(4);
    (config.min_size, config.max_openers) = (1, 2);
    config.max_lifetime = Some(20 * SECOND);
    config.health_check_interval = Some(SECOND);
    config.check_after_idle = seed.is_multiple_of(2).then_some(SECOND / 2);
    (config.breaker_failures, config.breaker_after) = (Some(3), SECOND);
    config.backoff_max = Duration::from_millis(300);
    config
}

/// A user for a while, who has no luck with the backend.
async fn suffer(pool: Arc<Pool<FakeDriver>>, user: u64, until: Instant) {
    while Instant::now() < until {
        if let Ok(lease) = pool.acquire_timeout(Duration::from_millis(50 + 37 * user)).await {
            sleep(Duration::from_millis(user * 7 % 40)).await;
            lease.make_dirty();
        } else {
            // An open breaker answers at once.
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// How long after the last fault everything can be had, whoever is sent away meanwhile.
async fn recovery(pool: &Pool<FakeDriver>) -> Duration {
    let (began, mut leases) = (Instant::now(), Vec::new());
    while leases.len() < pool.config().max_size {
        match pool.acquire_timeout(SECOND / 10).await {
            Ok(lease) => leases.push(lease),
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn p7_after_the_last_fault_everything_can_be_had_within_a_computed_time() {
    let (mut longest, mut breakers) = (0.0, 0);
    for seed in 0..80 {
        let driver = FakeDriver::seeded(seed, Odds { fail: 350, delay: 100, hang: 250, panic: 20 });
        let config = settings(seed);
        let bound = bound(&config);
        let pool = Arc::new(pool_with(&driver, config));
        let last = Instant::now() + Duration::from_millis(3_000 + 137 * seed);
        let users: Vec<_> = (0..8).map(|user| tokio::spawn(suffer(Arc::clone(&pool), user, last))).collect();
        for user in users {
            user.await.unwrap();
        }
        breakers += pool.stats().breaker_openings;
        driver.recover();
        let took = timeout(Duration::from_hours(1), recovery(&pool)).await.expect("it recovers");
        assert!(took <= bound, "seed {seed}: {took:?}, and not within {bound:?}");
        longest = f64::max(longest, took.as_secs_f64() / bound.as_secs_f64());
        prove_nothing_lost(&pool, &driver).await;
    }
    println!("the longest took {longest:.2} of its bound; breakers have opened {breakers} times");
    // A bound that nothing comes near would prove little.
    assert!(longest > 0.8 && breakers > 20, "{longest} {breakers}");
}

#[tokio::test(start_paused = true)]
async fn p7_a_backend_whose_calls_all_hang_is_left_within_the_same_time() {
    for call in Call::ALL {
        let driver = FakeDriver::new();
        let config = settings(2);
        let bound = bound(&config);
        let pool = pool_with(&driver, config);
        let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        driver.always(call, Step::Hang);
        for lease in &leases {
            lease.make_dirty();
        }
        drop(leases);
        drop(pool.acquire_timeout(SECOND / 4).await);
        driver.recover();
        let took = timeout(Duration::from_hours(1), recovery(&pool)).await.expect("it recovers");
        assert!(took <= bound, "{call:?}: {took:?}, and not within {bound:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn p10_a_user_who_panics_costs_one_connection_at_most() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(3));
    let bystander = pool.acquire().await.unwrap();
    for round in 0..60 {
        let (before, pool) = (driver.ledger().closed(), pool.clone());
        let user = tokio::spawn(async move {
            let lease = pool.acquire_owned().await.unwrap();
            match round % 3 {
                0 => {}
                1 => lease.make_dirty(),
                _ => lease.break_it(),
            }
            panic!("a user panics on purpose");
        });
        assert!(user.await.unwrap_err().is_panic());
        sleep(SECOND).await;
        let costs = driver.ledger().closed() - before;
        assert_eq!(costs, u64::from(round % 3 == 2), "only one that is broken is not used again");
    }
    assert_eq!(bystander.id(), 0);
    drop(bystander);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn p10_a_call_of_the_driver_that_panics_costs_one_connection_at_most() {
    for call in Call::ALL {
        let driver = FakeDriver::new();
        let mut config = quiet(3);
        config.health_check_interval = Some(5 * SECOND);
        let pool = pool_with(&driver, config);
        let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        let before = driver.begun(call);
        driver.script(call, [Step::Panic]);
        leases[0].make_dirty();
        drop(leases);
        if call == Call::Close {
            pool.acquire().await.unwrap().discard();
        }
        if call == Call::Convert {
            let preference = Preference::tag(Tag::new("tenant", "7").unwrap());
            let outcome = pool.acquire_preferring(&preference).await;
            assert!(matches!(outcome, Err(AcquireError::Convert { .. })), "{outcome:?}");
        }
        if call == Call::Connect {
            pool.acquire().await.unwrap().discard();
            until(&pool, |state| state.size == 2).await;
            let three = tokio::join!(pool.acquire(), pool.acquire(), pool.acquire());
            assert!(
                three.0.is_ok() && three.1.is_ok() && three.2.is_ok(),
                "whoever waits is served by the next attempt"
            );
        }
        sleep(6 * SECOND).await;
        assert!(driver.begun(call) > before, "{call:?} has panicked");
        assert!(driver.ledger().closed() <= 1, "{call:?} cost {}", driver.ledger().closed());
        prove_nothing_lost(&pool, &driver).await;
    }
}
