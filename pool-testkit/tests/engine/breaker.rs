//! A backend that cannot be reached for a while: callers are spared the wait.

use std::error::Error;
use std::time::Duration;

use pool_core::{AcquireError, BreakerState, Config, Pool};
use pool_testkit::fake::{Call, FakeDriver, FakeError, Step};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, ready, until};
use crate::settings::{Setting, Trial};

const MOMENT: Duration = Duration::from_millis(1);

/// Quiet but for a breaker: three failures over five seconds.
fn breaking(max_size: usize) -> Config {
    let mut config = quiet(max_size);
    (config.breaker_failures, config.breaker_after) = (Some(3), 5 * SECOND);
    config
}

/// Waits until the breaker opens; how long it takes from now on.
async fn opens(pool: &Pool<FakeDriver>) -> Duration {
    let started = Instant::now();
    until(pool, |state| state.breaker.is_open()).await;
    started.elapsed()
}

fn is_refused(outcome: Result<pool_core::Lease<'_, FakeDriver>, AcquireError>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, AcquireError::BreakerOpen { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_and_whoever_comes_is_told_at_once_with_the_cause_until_it_closes_by_itself() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = pool_with(&driver, breaking(2));
    let mut breaker = pool.breaker();
    let started = Instant::now();
    let outcomes = tokio::join!(pool.acquire(), pool.acquire(), pool.acquire());
    let waited = started.elapsed();
    assert!((5 * SECOND..8 * SECOND).contains(&waited), "at the first failure after five seconds: {waited:?}");
    [outcomes.0, outcomes.1, outcomes.2].into_iter().for_each(is_refused);
    // Nobody waits from now on.
    let error = ready(&mut Box::pin(pool.acquire())).unwrap_err();
    let AcquireError::BreakerOpen { situation, failure } = &error else { panic!("{error}") };
    let BreakerState::Open { next_probe } = situation.state.breaker else { panic!("{error}") };
    let left = next_probe - Instant::now();
    assert!(left <= 2 * SECOND, "{left:?}");
    let text = error.to_string();
    assert!(text.starts_with("no connection after 0s, the breaker is open, next attempt in "), "{text}");
    assert!(text.contains("refuses to Connect"), "{text}");
    assert!(failure.source().and_then(|cause| cause.downcast_ref::<FakeError>()).is_some(), "the cause for programs");
    assert_eq!((pool.stats().failed, pool.stats().breaker_openings), (4, 1));
    // It goes on trying, though nobody asks.
    let begun = driver.begun(Call::Connect);
    sleep(10 * SECOND).await;
    assert!((begun + 4..=begun + 55).contains(&driver.begun(Call::Connect)), "one in up to two seconds");
    let _ = breaker.borrow_and_update();
    driver.always(Call::Connect, Step::Ok);
    let healed = Instant::now();
    breaker.wait_for(|state| !state.is_open()).await.unwrap();
    assert!(healed.elapsed() <= 2 * SECOND, "one pause at most");
    assert_eq!(ready(&mut Box::pin(pool.acquire())).unwrap().id(), 0, "what was opened to try is there to be used");
    assert_eq!(pool.stats().breaker_openings, 1, "counted once, however often it tried");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_decides_is_one_at_a_time_and_spares_a_wait_too() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = pool_with(&driver, breaking(4));
    is_refused(pool.acquire().await);
    driver.always(Call::Connect, Step::Hold);
    until(&pool, |state| state.breaker == BreakerState::HalfOpen).await;
    for _ in 0..4 {
        is_refused(ready(&mut Box::pin(pool.acquire())));
    }
    assert_eq!(pool.state().opening, 1);
    driver.let_go(Call::Connect, 1);
    until(&pool, |state| state.breaker == BreakerState::Closed && state.idle == 1).await;
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn who_hears_late_that_it_was_open_is_not_told_that_it_is_closed() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = pool_with(&driver, breaking(2));
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    opens(&pool).await;
    driver.recover();
    until(&pool, |state| !state.breaker.is_open()).await;
    let error = ready(&mut waiter).unwrap_err();
    assert!(matches!(error, AcquireError::BreakerOpen { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("no connection after ") && text.contains(", the breaker was open ("), "{text}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_is_not_said_to_be_earlier_than_it_may_be() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = breaking(2);
    config.opener_interval = Some(20 * SECOND);
    let pool = pool_with(&driver, config);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned_timeout(Duration::from_mins(5)).await.map(drop) }
    });
    opens(&pool).await;
    let BreakerState::Open { next_probe } = pool.state().breaker else { panic!("{:?}", pool.state()) };
    let begun = driver.begun(Call::Connect);
    driver.reached(Call::Connect, begun + 1).await;
    assert!(Instant::now() <= next_probe, "{:?} late", Instant::now() - next_probe);
    assert!(waiting.await.unwrap().is_err());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_can_wait_for_a_connection_in_use_does() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, breaking(2));
    let held = pool.acquire().await.unwrap();
    driver.always(Call::Connect, Step::Fail);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    opens(&pool).await;
    assert!(is_pending(&mut waiter), "there is one that will come back");
    let mut newcomer = Box::pin(pool.acquire());
    assert!(is_pending(&mut newcomer));
    drop(held);
    drop(ready(&mut waiter).unwrap());
    drop(waiter);
    // The last one that could have come back is gone: the next failure is for those who wait.
    ready(&mut newcomer).unwrap().discard();
    drop(newcomer);
    until(&pool, |state| state.size == state.opening).await;
    is_refused(ready(&mut Box::pin(pool.acquire())));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_pool_and_users_who_fail_do_not_open_it() {
    let driver = FakeDriver::new();
    let mut config = breaking(2);
    (config.breaker_failures, config.breaker_after) = (Some(1), MOMENT);
    let pool = pool_with(&driver, config);
    let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    for _ in 0..10 {
        let error = pool.acquire_timeout(SECOND).await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    }
    drop(held);
    // Sessions that break while others can be opened, or that their users discard.
    for _ in 0..10 {
        pool.acquire().await.unwrap().discard();
        sleep(SECOND).await;
    }
    assert_eq!((pool.state().breaker, pool.stats().breaker_openings), (BreakerState::Closed, 0));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_through_a_short_outage_is_served() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, breaking(2));
    driver.always(Call::Connect, Step::Fail);
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire_owned().await.map(drop) })
        })
        .collect();
    sleep(4 * SECOND).await;
    driver.always(Call::Connect, Step::Ok);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(pool.stats().breaker_openings, 0);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_count_once_until_the_next_attempt() {
    let driver = FakeDriver::new();
    let mut config = breaking(8);
    (config.breaker_failures, config.breaker_after) = (Some(4), MOMENT);
    (config.backoff_initial, config.backoff_max) = (10 * SECOND, 10 * SECOND);
    let pool = pool_with(&driver, config);
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(pool.acquire().await.unwrap());
    }
    driver.always(Call::Connect, Step::Fail);
    leases.into_iter().for_each(pool_core::Lease::discard);
    let mut waiter = Box::pin(pool.acquire());
    for failures in 1..=3 {
        assert!(is_pending(&mut waiter));
        until(&pool, |_| pool.stats().open_failures == failures).await;
        sleep(MOMENT).await;
    }
    is_refused(ready(&mut waiter));
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_pause_everybody_waits_and_after_it_the_next_attempt_tells() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let pool = pool_with(&driver, breaking(1));
    is_refused(pool.acquire().await);
    pool.pause();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    sleep(20 * SECOND).await;
    assert!(is_pending(&mut waiter));
    driver.always(Call::Connect, Step::Ok);
    pool.resume();
    drop(waiter.await.unwrap());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_waiting_does_not_cure_is_told_as_such() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::FailForGood);
    let pool = pool_with(&driver, breaking(1));
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::OpenFailed { .. }), "the first failure: {error}");
    assert!(!pool.state().breaker.is_open());
    prove_nothing_lost(&pool, &driver).await;
}

#[test]
fn another_runtime_begins_with_a_closed_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (driver, first) = (FakeDriver::new(), runtime());
    driver.always(Call::Connect, Step::Fail);
    let pool = first.block_on(async { pool_with(&driver, breaking(1)) });
    first.block_on(async { is_refused(pool.acquire().await) });
    drop(first);
    driver.always(Call::Connect, Step::Ok);
    runtime().block_on(async {
        // Nobody tries any more: the first who comes starts a janitor, and is told what was known.
        drop(pool.acquire().await);
        drop(pool.acquire().await.unwrap());
        assert_eq!(pool.state().breaker, BreakerState::Closed);
        prove_nothing_lost(&pool, &driver).await;
    });
}

/// Lets it open, for as long as nothing can be opened; how long that takes.
async fn after_an_outage(trial: &Trial) -> (Duration, u64) {
    let failures = trial.pool.stats().open_failures;
    trial.driver.always(Call::Connect, Step::Fail);
    let mut waiter = Box::pin(trial.pool.acquire_timeout(1000 * SECOND));
    assert!(is_pending(&mut waiter));
    let took = opens(&trial.pool).await;
    let failed = trial.pool.stats().open_failures - failures;
    is_refused(waiter.await);
    trial.driver.always(Call::Connect, Step::Ok);
    until(&trial.pool, |state| !state.breaker.is_open()).await;
    trial.pool.retire_all();
    until(&trial.pool, |state| state.size == 0).await;
    (took, failed)
}

pub(crate) async fn it_opens_after_more_or_fewer_failures(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| (config.breaker_failures, config.breaker_after) = (Some(3), MOMENT));
    for failures in [3, 7, 1] {
        if trial.pool.config().breaker_failures != Some(failures) {
            trial.change(|config| config.breaker_failures = Some(failures));
        }
        // A single failure has not lasted.
        assert_eq!(after_an_outage(&trial).await.1, u64::from(failures.max(2)));
    }
    // Without one it closes at once, and whoever waits does.
    trial.driver.always(Call::Connect, Step::Fail);
    is_refused(trial.pool.acquire().await);
    trial.change(|config| config.breaker_failures = None);
    until(&trial.pool, |state| !state.breaker.is_open()).await;
    let error = trial.pool.acquire().await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    trial
}

pub(crate) async fn it_opens_later_or_sooner(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| (config.breaker_failures, config.breaker_after) = (Some(1), 5 * SECOND));
    for after in [5 * SECOND, 60 * SECOND, SECOND] {
        if trial.pool.config().breaker_after != after {
            trial.change(|config| config.breaker_after = after);
        }
        let took = after_an_outage(&trial).await.0;
        assert!((after..=after + 2 * SECOND + 2 * MOMENT).contains(&took), "{took:?} of {after:?}");
    }
    trial
}

/// Its replacement cannot be opened, so the only connection stays, and comes back.
#[tokio::test(start_paused = true)]
async fn whoever_can_wait_for_the_only_connection_does_though_it_is_to_be_replaced() {
    let driver = FakeDriver::new();
    let mut config = breaking(1);
    (config.breaker_failures, config.breaker_after) = (Some(1), MOMENT);
    (config.rotation_headroom, config.max_lifetime) = (1, Some(1000 * SECOND));
    let pool = pool_with(&driver, config);
    driver.limit(2);
    let lease = pool.acquire_owned().await.unwrap();
    driver.always(Call::Connect, Step::Hang);
    until(&pool, |state| state.breaker == BreakerState::HalfOpen).await;
    let mut waiter = Box::pin(pool.acquire_timeout(1000 * SECOND));
    assert!(is_pending(&mut waiter), "there is a connection that it can wait for");
    drop(lease);
    drop(waiter.await.unwrap());
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}
