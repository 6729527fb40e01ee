//! The breaker, the monitor of the health, and what errors lead to, with a server that goes away and comes back.

use std::error::Error;
use std::io;
use std::time::Duration;

use pool_core::{AcquireError, HealthConfig, HealthReport, HealthState, OpenFailure};
use pool_postgres::{ConnectError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::common::{config, eventually};

/// The first error of this type below another one.
fn below<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let source = error.source()?;
    source.downcast_ref().or_else(|| below(source))
}

const LIMIT: Duration = Duration::from_mins(1);

async fn becomes(health: &mut watch::Receiver<HealthReport>, state: HealthState) {
    let becomes = health.wait_for(|report| report.state == state);
    assert!(timeout(LIMIT, becomes).await.is_ok(), "never {state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_gone_callers_fail_at_once_with_the_cause() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 2);
    (settings.pool.breaker_failures, settings.pool.breaker_after) = (Some(2), Duration::from_millis(50));
    let pool = PostgresPool::connect(settings).await.unwrap();
    let mut breaker = pool.breaker();
    server.kill9().unwrap();
    let waited = pool.acquire_timeout(Duration::from_mins(1)).await;
    // One that was idle may not know yet that it is lost.
    drop(waited);
    eventually("every dead session is noticed", async || pool.try_acquire().is_err()).await;
    let error = pool.acquire_timeout(Duration::from_mins(1)).await.map(drop).unwrap_err();
    let AcquireError::BreakerOpen { failure, .. } = &error else { panic!("{error}") };
    assert!(matches!(**failure, OpenFailure::Driver { .. }));
    assert!(breaker.borrow_and_update().is_open());
    assert_eq!(below::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
    assert_eq!(below::<ConnectError>(&error).unwrap().target, format!("127.0.0.1:{}", server.port()));
    server.restart().unwrap();
    let closed = breaker.wait_for(|state| !state.is_open());
    timeout(LIMIT, closed).await.expect("it closes").unwrap();
    pool.acquire().await.unwrap().query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(pool.stats().breaker_openings, 1);
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_is_told_with_its_sqlstate() {
    let server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 2);
    settings.database = Some("nowhere".to_owned());
    let error = PostgresPool::connect_lazy(settings).unwrap().acquire().await.map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("database \"nowhere\" does not exist (SQLSTATE 3D000)"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(below::<ConnectError>(&error).unwrap().sqlstate(), Some(&SqlState::INVALID_CATALOG_NAME));
    assert!(
        below::<tokio_postgres::Error>(&error).is_some() && below::<tokio_postgres::error::DbError>(&error).is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_sees_the_server_go_and_come_back_and_a_full_pool_as_busy() {
    let mut server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 2)).await.unwrap();
    let mut settings = HealthConfig::default();
    (settings.interval, settings.retry_interval) = (Duration::from_millis(200), Duration::from_millis(50));
    let checker = pool.monitor(settings).unwrap();
    let mut health = checker.subscribe();
    becomes(&mut health, HealthState::Healthy).await;
    let held = pool.acquire().await.unwrap();
    becomes(&mut health, HealthState::Degraded).await;
    let (before, after) = (checker.stats(), checker.check_health().await);
    assert!(after.is_ready() && checker.stats().succeeded > before.succeeded, "{after}");
    assert!(!pool.state().breaker.is_open());
    drop(held);
    becomes(&mut health, HealthState::Healthy).await;
    server.kill9().unwrap();
    becomes(&mut health, HealthState::Unhealthy).await;
    assert!(checker.is_live());
    server.restart().unwrap();
    becomes(&mut health, HealthState::Healthy).await;
    pool.disconnect().await;
    assert_eq!(checker.check_health().await.state, HealthState::Closing);
}
