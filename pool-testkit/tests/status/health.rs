//! Whether a process is alive, and callers can be sent to it.

use std::sync::Arc;

use axum::http::StatusCode;
use pool_core::http::Status;
use pool_core::{HealthChecker, HealthConfig, HealthState, MetricValue, PoolObserver};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::common::{Answer, SECOND, Shown, ask, get, observer};

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_monitor_is_ready_when_it_has_a_connection() {
    let mut config = quiet(3);
    config.min_size = 1;
    (config.breaker_failures, config.breaker_after) = (Some(3), 5 * SECOND);
    let shown = Shown::new(config);
    shown.driver.always(Call::Connect, Step::Fail);
    let starting = shown.get("/health/ready").await;
    assert_eq!(
        (starting.status, &starting.json()["pools"][0]["state"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"starting".into())
    );
    tokio::time::sleep(20 * SECOND).await;
    let down = shown.get("/health/ready").await.json();
    assert_eq!((&down["ready"], &down["pools"][0]["state"]), (&false.into(), &"unhealthy".into()));
    assert!(down["pools"][0]["reasons"][0].as_str().unwrap().starts_with("the breaker is"), "{down}");
    assert_eq!(shown.get("/health/live").await.status, StatusCode::OK, "a restart would not help");
    shown.driver.recover();
    shown.pool.ready(60 * SECOND).await.unwrap();
    assert_eq!(shown.get("/health/ready").await.status, StatusCode::OK);
    shown.pool.pause();
    let paused = shown.get("/health/ready").await;
    assert_eq!(
        (paused.status, &paused.json()["pools"][0]["reasons"][0]),
        (StatusCode::OK, &"the pool is paused".into())
    );
    shown.pool.close().await;
    let closed = shown.get("/health/ready").await;
    assert_eq!(
        (closed.status, &closed.json()["pools"][0]["state"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"closing".into())
    );
}

#[tokio::test(start_paused = true)]
async fn one_with_a_monitor_is_what_that_says() {
    let shown = Shown::new(quiet(3));
    let checker = Arc::new(shown.pool.monitor(HealthConfig::default()).unwrap());
    let status = Status::new().pool(observer(&shown.pool, "main").with_health(checker.clone()));
    assert_eq!(
        ask(&status, get("/health/ready")).await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing is known yet"
    );
    let mut health = checker.subscribe();
    health.wait_for(|report| report.state == HealthState::Healthy).await.unwrap();
    let ready = ask(&status, get("/health/ready")).await;
    assert_eq!((ready.status, ready.json()["pools"][0]["reasons"].to_string()), (StatusCode::OK, "[]".into()));
    shown.driver.always(Call::Ping, Step::Fail);
    shown.driver.always(Call::Connect, Step::Fail);
    health.wait_for(|report| report.state == HealthState::Unhealthy).await.unwrap();
    let sick = ask(&status, get("/health/ready")).await;
    let reasons = sick.json()["pools"][0]["reasons"].to_string();
    assert!(sick.status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("refuses to"), "{reasons}");
}

#[tokio::test(start_paused = true)]
async fn one_pool_of_two_that_is_not_ready_is_enough() {
    let shown = Shown::new(quiet(3));
    let other = Shown::new(quiet(3));
    let status = shown.status.clone().pool(observer(&other.pool, "other"));
    assert_eq!(ask(&status, get("/health/ready")).await.status, StatusCode::OK);
    other.pool.close().await;
    let answer = ask(&status, get("/health/ready")).await;
    let ready: Vec<_> = answer.json()["pools"].as_array().unwrap().iter().map(|pool| pool["ready"].clone()).collect();
    assert_eq!((answer.status, ready), (StatusCode::SERVICE_UNAVAILABLE, vec![true.into(), false.into()]));
}

/// A check that is not answered holds up the monitor; what it has seen before may be over.
#[tokio::test(start_paused = true)]
async fn reasons_are_not_older_than_the_figures_beside_them() {
    let shown = Shown::new(quiet(3));
    let checker = Arc::new(shown.pool.monitor(HealthConfig::default()).unwrap());
    let status = Status::new().pool(observer(&shown.pool, "main").with_health(checker.clone()));
    let mut health = checker.subscribe();
    health.wait_for(|report| report.state == HealthState::Healthy).await.unwrap();
    let (one, other) = (shown.pool.acquire().await.unwrap(), shown.pool.acquire().await.unwrap());
    health.wait_for(|report| report.state == HealthState::Degraded).await.unwrap();
    let reasons = || {
        let json: serde_json::Value = serde_json::from_str(&status.readiness()).unwrap();
        json["pools"][0]["reasons"].to_string()
    };
    assert!(reasons().contains("2 of 2 connections are in use"), "{}", reasons());
    drop(one);
    assert_eq!(reasons(), r#"["1 of 2 connections are in use, and 2 were a moment ago"]"#);
    drop(other);
    assert_eq!(reasons(), r#"["what was the reason is over"]"#, "at once, and not when the monitor looks");
    let json: serde_json::Value = serde_json::from_str(&status.json()).unwrap();
    let (pool, counts) = (&json["pools"][0], json["pools"][0]["leak_after_seconds"].as_f64());
    assert_eq!((counts, &pool["settings"]["leak_after_seconds"]), (Some(600.0), &serde_json::Value::Null));
    assert_eq!(pool["health_settings"]["leak_after_seconds"], 600.0);
}

#[tokio::test(start_paused = true)]
async fn the_cause_comes_first_and_the_breaker_once() {
    let mut config = quiet(3);
    (config.breaker_failures, config.breaker_after) = (Some(3), SECOND);
    let shown = Shown::new(config);
    let checker = Arc::new(shown.pool.monitor(HealthConfig::default()).unwrap());
    let status = Status::new().pool(observer(&shown.pool, "main").with_health(checker.clone()));
    shown.driver.always(Call::Connect, Step::Fail);
    let mut health = checker.subscribe();
    let told = |report: &pool_core::HealthReport| report.reasons.len() == 2 && report.pool.breaker.is_open();
    tokio::time::sleep(30 * SECOND).await;
    health.wait_for(told).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&status.readiness()).unwrap();
    let reasons = json["pools"][0]["reasons"].to_string();
    assert_eq!(reasons.matches("breaker").count(), 1, "{reasons}");
    assert!(reasons.contains("checks have failed: ") && reasons.contains("refuses to Connect"), "{reasons}");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A pool that is healthy, and its monitor, both of which began in this runtime.
struct Elsewhere {
    shown: Shown,
    checker: Arc<HealthChecker<FakeDriver>>,
    observer: PoolObserver<FakeDriver>,
}

impl Elsewhere {
    async fn healthy() -> Self {
        let mut shown = Shown::new(quiet(3));
        let checker = Arc::new(shown.pool.monitor(HealthConfig::default()).unwrap());
        assert!(checker.check_health().await.is_ready());
        let observer = observer(&shown.pool, "main").with_health(Arc::clone(&checker));
        shown.status = Status::new().pool(observer.clone());
        Self { shown, checker, observer }
    }

    async fn asked(&self) -> (StatusCode, String) {
        let answer: Answer = self.shown.get("/health/ready").await;
        (answer.status, answer.json()["pools"][0]["reasons"].to_string())
    }

    /// The state that the metrics tell.
    fn told(&self) -> String {
        let families = self.observer.families();
        let family = families.iter().find(|family| family.name == "pool.health.state").unwrap();
        let is_it = |value: &MetricValue| matches!(value, MetricValue::Count(1) | MetricValue::Number(1.0));
        family.samples.iter().find(|sample| is_it(&sample.value)).unwrap().labels[1].1.to_string()
    }
}

/// Nobody drives it, though it is there.
#[test]
fn what_a_monitor_said_does_not_hold_for_ever_if_its_runtime_stands_still() {
    let (first, second) = (runtime(), runtime());
    let pool = first.block_on(Elsewhere::healthy());
    second.block_on(async {
        assert_eq!((pool.asked().await.0, pool.told().as_str()), (StatusCode::OK, "healthy"));
        sleep(20 * SECOND).await;
        let (status, reasons) = pool.asked().await;
        assert!(status == StatusCode::OK && reasons.contains("the monitor has not looked since"), "{reasons}");
        sleep(40 * SECOND).await;
        let (status, reasons) = pool.asked().await;
        assert!(
            status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("the monitor has not answered for"),
            "{reasons}"
        );
        assert!(!reasons.contains("has not looked"), "{reasons}");
        assert_eq!(pool.told(), "unhealthy");
    });
    first.block_on(async {
        sleep(2 * SECOND).await;
        assert_eq!((pool.asked().await, pool.told().as_str()), ((StatusCode::OK, "[]".into()), "healthy"));
    });
}

/// Whoever asks over HTTP has it go on where he asks.
#[test]
fn a_monitor_whose_runtime_has_ended_goes_on_where_it_is_asked() {
    let first = runtime();
    let pool = first.block_on(Elsewhere::healthy());
    drop(first);
    pool.shown.driver.always(Call::Ping, Step::Fail);
    pool.shown.driver.always(Call::Connect, Step::Fail);
    let second = runtime();
    second.block_on(async {
        sleep(60 * SECOND).await;
        let (status, reasons) = pool.asked().await;
        let says_so = reasons.contains("the monitor has not answered for");
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && says_so, "{reasons}");
        sleep(30 * SECOND).await;
        let (status, reasons) = pool.asked().await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("refuses to"), "{reasons}");
        assert_eq!(pool.told(), "unhealthy");
        pool.shown.driver.recover();
        let healthy = |report: &pool_core::HealthReport| report.state == HealthState::Healthy;
        pool.checker.subscribe().wait_for(healthy).await.unwrap();
        assert_eq!((pool.asked().await.0, pool.told().as_str()), (StatusCode::OK, "healthy"));
    });
    drop(second);
    let third = runtime();
    third.block_on(pool.shown.pool.close());
    third.block_on(async {
        sleep(60 * SECOND).await;
        assert_eq!(pool.told(), "closing", "though nobody has looked since");
    });
}
