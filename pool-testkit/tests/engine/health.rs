//! A monitor that watches over a pool.

use std::sync::Arc;
use std::time::Duration;

use pool_core::{Config, HealthChecker, HealthConfig, HealthReason, HealthState, MetricValue, ObserveConfig, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};
use crate::log::Log;

const MOMENT: Duration = Duration::from_millis(10);

fn monitor(pool: &Pool<FakeDriver>) -> HealthChecker<FakeDriver> {
    pool.monitor(HealthConfig::default()).unwrap()
}

/// Waits until the monitor says so; how long it takes. Gives up after an hour.
async fn becomes(checker: &HealthChecker<FakeDriver>, state: HealthState) -> Duration {
    let (started, mut health) = (Instant::now(), checker.subscribe());
    let wanted = timeout(Duration::from_hours(1), health.wait_for(|report| report.state == state)).await;
    assert!(wanted.is_ok(), "never {state}: {checker:?}");
    started.elapsed()
}

/// The pool without its monitor.
async fn prove(checker: HealthChecker<FakeDriver>, pool: &Pool<FakeDriver>, driver: &FakeDriver) {
    drop(checker);
    until(pool, |state| state.leased + state.reserved == 0).await;
    prove_nothing_lost(pool, driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_checks_on_a_connection_of_its_own() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    assert_eq!((checker.report().state, checker.is_ready(), checker.is_live()), (HealthState::Starting, false, true));
    becomes(&checker, HealthState::Healthy).await;
    assert!(checker.is_ready() && (pool.state().leased, pool.state().reserved) == (0, 1));
    sleep(Duration::from_mins(5) + SECOND).await;
    assert_eq!((driver.begun(Call::Ping), driver.begun(Call::Connect)), (11, 1), "one in thirty seconds");
    let stats = checker.stats();
    assert_eq!((stats.succeeded, stats.failed, stats.busy), (11, 0, 0));
    assert!(stats.last_success.unwrap().elapsed() <= 2 * SECOND && stats.last_failure.is_none());
    assert_eq!(pool.stats().check.count, 11);
    assert!(checker.report().at.elapsed() <= SECOND, "a look every second");
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_busy_and_not_sick() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let mut seen = checker.subscribe();
    let watcher = tokio::spawn(async move {
        let mut states = Vec::new();
        while seen.changed().await.is_ok() {
            states.push(seen.borrow_and_update().state);
        }
        states
    });
    let late = pool.acquire_timeout(Duration::from_mins(5)).await.map(drop).unwrap_err();
    let report = checker.report();
    assert_eq!(report.reasons, [HealthReason::Utilisation { leased: 2, of: 2 }, HealthReason::Waiting(1)]);
    assert_eq!(report.to_string(), "degraded: 2 of 2 connections are in use; a caller waits");
    assert!(checker.stats().succeeded >= 10 && checker.stats().failed == 0);
    // Its own lease is nobody's to be blamed.
    let oldest = late.situation().unwrap().oldest_lease.unwrap();
    assert_eq!(oldest.connection, held.0.connection_id());
    drop(held);
    becomes(&checker, HealthState::Healthy).await;
    prove(checker, &pool, &driver).await;
    pool.close().await;
    let states = watcher.await.unwrap();
    assert!(!states.contains(&HealthState::Unhealthy), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_has_gone_makes_it_unhealthy_after_three_tries_and_healthy_after_two() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    driver.always(Call::Ping, Step::Fail);
    driver.always(Call::Connect, Step::Fail);
    let took = becomes(&checker, HealthState::Unhealthy).await;
    // The next check is due in up to 30 s; then a ping fails at once, and two connects for five seconds each.
    assert!((10 * SECOND..43 * SECOND).contains(&took), "{took:?}");
    assert!(!checker.is_ready() && checker.is_live(), "a restart of this process would not help");
    let text = checker.report().to_string();
    assert!(text.starts_with("unhealthy: 3 checks have failed: connect failed: "), "{text}");
    assert!(text.contains("refuses to Connect"), "{text}");
    driver.recover();
    let took = becomes(&checker, HealthState::Healthy).await;
    assert!((SECOND..5 * SECOND).contains(&took), "two checks, a second apart: {took:?}");
    assert!(checker.report().reasons.is_empty());
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_in_the_pool_is_a_reason_to_look_sooner() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    sleep(5 * SECOND).await;
    driver.always(Call::Ping, Step::Fail);
    sleep(5 * SECOND).await;
    assert_eq!(checker.report().state, HealthState::Healthy, "nobody has noticed");
    pool.acquire().await.unwrap().discard();
    assert!(becomes(&checker, HealthState::Degraded).await <= SECOND);
    assert!(becomes(&checker, HealthState::Unhealthy).await <= 3 * SECOND);
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_a_panic_are_failures() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    driver.always(Call::Ping, Step::Hang);
    let started = Instant::now();
    let text = checker.check_health().await.to_string();
    assert_eq!(
        (text.as_str(), started.elapsed()),
        ("degraded: the last check has failed: no answer to a ping within 5s", 5 * SECOND)
    );
    driver.always(Call::Ping, Step::Panic);
    let text = checker.check_health().await.to_string();
    assert!(text.starts_with("degraded: 2 checks have failed: the ping panicked"), "{text}");
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_a_breaker_at_once() {
    let driver = FakeDriver::new();
    let mut config = quiet(3);
    (config.breaker_failures, config.breaker_after) = (Some(2), SECOND);
    let pool = pool_with(&driver, config);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    let held = pool.acquire().await.unwrap();
    driver.always(Call::Connect, Step::Fail);
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned_timeout(Duration::from_mins(1)).await.map(drop) }
    });
    until(&pool, |state| state.breaker.is_open()).await;
    sleep(MOMENT).await;
    let reasons = checker.report().reasons;
    assert!(matches!(reasons[..], [HealthReason::Breaker(_), ..]), "{reasons:?}");
    assert_eq!(checker.report().state, HealthState::Degraded, "its own connection still answers");
    driver.recover();
    waiter.await.unwrap().unwrap();
    drop(held);
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_does_not_hold_up_a_drain_or_a_close() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    pool.pause();
    assert!(timeout(SECOND, pool.drained()).await.unwrap());
    sleep(Duration::from_mins(2)).await;
    assert_eq!(checker.report().to_string(), "degraded: the pool is paused");
    assert_eq!((driver.begun(Call::Ping), checker.stats().failed), (1, 0));
    pool.resume();
    becomes(&checker, HealthState::Healthy).await;
    assert!(checker.check_health().await.is_ready() && pool.state().reserved == 1);
    // In the middle of a check.
    driver.always(Call::Ping, Step::Hang);
    let asked = Box::pin(checker.check_health());
    let (report, closed) = tokio::join!(asked, async {
        sleep(SECOND).await;
        timeout(SECOND, pool.close()).await
    });
    assert!(closed.is_ok() && report.state == HealthState::Closing, "{report}");
    assert_eq!(checker.check_health().await.to_string(), "closing", "and nobody waits for an answer");
    driver.ledger().settle(&pool.stats());
}

/// What an operator does who pauses a pool because its server is gone.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_paused_while_it_is_unhealthy_is_ready_until_it_is_resumed() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let checker = Arc::new(monitor(&pool));
    let observer = pool.observe(ObserveConfig::default()).unwrap().with_health(Arc::clone(&checker));
    let is_shown = |state: &str| {
        let families = observer.families();
        let family = families.iter().find(|family| family.name == "pool.health.state").unwrap();
        let sample = family.samples.iter().find(|sample| sample.labels.iter().any(|(_, value)| value == state));
        matches!(sample.unwrap().value, MetricValue::Number(1.0) | MetricValue::Count(1))
    };
    becomes(&checker, HealthState::Healthy).await;
    driver.always(Call::Connect, Step::Fail);
    driver.always(Call::Ping, Step::Fail);
    becomes(&checker, HealthState::Unhealthy).await;
    assert!(!checker.is_ready() && is_shown("unhealthy"));
    pool.pause();
    assert!(becomes(&checker, HealthState::Degraded).await <= SECOND);
    sleep(10 * SECOND).await;
    let checks = checker.stats().failed;
    for _ in 0..600 {
        sleep(SECOND).await;
        assert!(checker.is_ready() && is_shown("degraded") && !is_shown("unhealthy"), "{checker:?}");
    }
    let reasons = checker.report().reasons;
    assert!(matches!(reasons[0], HealthReason::CheckFailed { .. }) && reasons.contains(&HealthReason::Paused));
    assert_eq!(checker.stats().failed, checks, "nobody has asked");
    pool.resume();
    assert!(becomes(&checker, HealthState::Unhealthy).await <= SECOND, "nobody knows better");
    sleep(30 * SECOND).await;
    assert!(!checker.is_ready() && is_shown("unhealthy"));
    pool.pause();
    becomes(&checker, HealthState::Degraded).await;
    driver.always(Call::Connect, Step::Ok);
    driver.always(Call::Ping, Step::Ok);
    sleep(60 * SECOND).await;
    let succeeded = checker.stats().succeeded;
    pool.resume();
    becomes(&checker, HealthState::Healthy).await;
    assert_eq!(checker.stats().succeeded, succeeded + 2, "by as many checks as it takes without a pause");
    drop((observer, checker));
    until(&pool, |state| state.leased + state.reserved == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// It was healthy before, so that the next check would be half a minute away.
#[tokio::test(start_paused = true)]
async fn a_pool_whose_backend_went_away_during_a_pause_is_found_out_when_it_is_resumed() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    pool.pause();
    becomes(&checker, HealthState::Degraded).await;
    driver.always(Call::Connect, Step::Fail);
    driver.always(Call::Ping, Step::Fail);
    sleep(100 * SECOND).await;
    assert_eq!(checker.stats().failed, 0, "nobody has asked");
    pool.resume();
    sleep(MOMENT).await;
    assert_eq!(checker.stats().failed, 1, "at once");
    let took = becomes(&checker, HealthState::Unhealthy).await;
    assert!(took <= 15 * SECOND, "two more checks, each of which waits for a connection: {took:?}");
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_goes_to_and_fro_does_not_fill_the_log() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.listener());
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    for _ in 0..300 {
        pool.pause();
        becomes(&checker, HealthState::Degraded).await;
        pool.resume();
        becomes(&checker, HealthState::Healthy).await;
        sleep(SECOND).await;
    }
    sleep(11 * SECOND).await;
    let text = log.text();
    let told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("message=the pool is ")).collect();
    let degraded = told.iter().filter(|told| told.starts_with("degraded")).count();
    assert!((10..=70).contains(&degraded) && told.len() <= 2 * degraded + 1, "{told:#?}");
    assert_eq!(told.last(), Some(&"healthy"), "it knows how it is now");
    assert!(text.contains("suppressed="), "{text}");
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_pool_does_not_keep_it_does_not_keep_either() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    pool.retire_all();
    until(&pool, |state| state.size == 0).await;
    assert!(checker.check_health().await.is_ready());
    assert_eq!((pool.stats().outdated, pool.state().reserved), (1, 1));
    let mut config = (*pool.config()).clone();
    config.max_size = 1;
    driver.limit(4);
    pool.reconfigure(config).unwrap();
    assert!(checker.check_health().await.is_ready());
    until(&pool, |state| state.reserved == 0).await;
    drop(timeout(SECOND, pool.acquire()).await.unwrap().unwrap());
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_old_is_given_back_for_another() {
    let driver = FakeDriver::new();
    let mut config: Config = quiet(4);
    config.max_lifetime = Some(Duration::from_mins(10));
    let pool = pool_with(&driver, config);
    let checker = monitor(&pool);
    sleep(Duration::from_mins(65)).await;
    assert_eq!(checker.stats().failed, 0);
    assert!((5..=9).contains(&pool.stats().expired), "{:?}", pool.stats());
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_of_its_own_it_waits_for_nobody() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut config = HealthConfig::default();
    config.reserve = false;
    let checker = pool.monitor(config).unwrap();
    becomes(&checker, HealthState::Healthy).await;
    assert_eq!((pool.state().leased, pool.state().idle), (0, 1));
    let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let started = Instant::now();
    assert_eq!(checker.check_health().await.state, HealthState::Degraded);
    assert_eq!((started.elapsed(), checker.stats().busy), (Duration::ZERO, 1));
    sleep(Duration::from_mins(10)).await;
    assert_eq!(checker.stats().failed, 0);
    drop(held);
    let succeeded = checker.stats().succeeded;
    becomes(&checker, HealthState::Healthy).await;
    checker.check_health().await;
    assert!(checker.stats().succeeded > succeeded);
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_may_be_forgotten_is_named() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 9);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    let held = pool.acquire().await.unwrap();
    let took = becomes(&checker, HealthState::Degraded).await;
    assert!((600 * SECOND..=602 * SECOND).contains(&took), "{took:?}");
    let [HealthReason::OldLease(lease)] = checker.report().reasons[..] else { panic!("{checker:?}") };
    assert_eq!(lease.connection, held.connection_id());
    drop(held);
    becomes(&checker, HealthState::Healthy).await;
    prove(checker, &pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn other_settings_are_in_force_at_once() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let checker = monitor(&pool);
    becomes(&checker, HealthState::Healthy).await;
    let mut config = HealthConfig::default();
    config.tries = 0;
    assert_eq!(
        checker.reconfigure(config.clone()).unwrap_err().to_string(),
        "tries = 0 is not allowed; allowed: 1 and more"
    );
    assert_eq!(checker.config().tries, 3);
    config.tries = 1;
    (config.interval, config.timeout) = (2 * SECOND, SECOND);
    checker.reconfigure(config.clone()).unwrap();
    let pings = driver.begun(Call::Ping);
    sleep(20 * SECOND).await;
    assert!((9..=11).contains(&(driver.begun(Call::Ping) - pings)));
    driver.always(Call::Ping, Step::Fail);
    assert!(becomes(&checker, HealthState::Unhealthy).await <= 2 * SECOND, "after one try");
    assert!(pool.monitor(HealthConfig::default()).is_ok());
    config.successes = 0;
    assert!(pool.monitor(config).is_err());
    prove(checker, &pool, &driver).await;
}

#[test]
fn it_goes_on_in_the_runtime_of_who_asks_and_is_not_live_without_a_janitor_that_runs() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (driver, first, second) = (FakeDriver::new(), runtime(), runtime());
    let (pool, checker) = first.block_on(async {
        let pool = quiet_pool(&driver, 2);
        let checker = monitor(&pool);
        becomes(&checker, HealthState::Healthy).await;
        (pool, checker)
    });
    assert!(checker.is_live());
    second.block_on(async {
        // The first one stands still meanwhile, and the janitor with it.
        sleep(20 * SECOND).await;
        assert!(!checker.is_live());
    });
    drop(first);
    second.block_on(async {
        assert!(checker.check_health().await.is_ready());
        assert!(checker.is_live());
        prove(checker, &pool, &driver).await;
    });
}
