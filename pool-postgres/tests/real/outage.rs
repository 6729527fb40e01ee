//! A server that goes away and comes back.

use std::time::Duration;

use pool_core::AcquireError;
use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_recovers_from_a_killed_server_and_loses_no_slot() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 4);
    settings.pool.min_size = 2;
    settings.pool.acquire_timeout = Duration::from_secs(2);
    let pool = PostgresPool::connect(settings).await.unwrap();
    let held = pool.acquire().await.unwrap();
    server.kill9().unwrap();
    assert!(held.query_one("SELECT 1", &[]).await.is_err());
    drop(held);
    eventually("every dead session is noticed", async || !pool.is_connected()).await;
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::Timeout { failure: Some(_), .. }), "{error}");
    assert!(pool.health().await.is_err());
    server.restart().unwrap();
    eventually("the pool is healthy again", async || pool.health().await.is_ok()).await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(pool.acquire_timeout(Duration::from_secs(20)).await.unwrap());
    }
    for lease in &leases {
        lease.query_one("SELECT 1", &[]).await.unwrap();
    }
    assert_eq!((pool.state().size, pool.state().leased), (4, 4));
    drop(leases);
    pool.disconnect().await;
    assert_eq!(pool.stats().opened, pool.stats().closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_does_not_freeze_the_pool() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 1);
    settings.pool.connect_timeout = Duration::from_secs(1);
    settings.pool.acquire_timeout = Duration::from_secs(2);
    let pool = PostgresPool::connect(settings).await.unwrap();
    server.pause().unwrap();
    let error = pool.health().await.unwrap_err();
    assert!(error.to_string().contains("no answer within 2s"), "{error}");
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::Timeout { .. }), "{error}");
    server.resume().unwrap();
    eventually("the pool is healthy again", async || pool.health().await.is_ok()).await;
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_may_start_before_its_server() {
    let mut server = EphemeralPostgres::start().unwrap();
    server.stop().unwrap();
    let mut settings = config(&server.url(), 2);
    settings.pool.min_size = 1;
    let pool = PostgresPool::connect_lazy(settings).unwrap();
    assert!(!pool.is_connected());
    server.restart().unwrap();
    eventually("the minimum is there", async || pool.is_connected()).await;
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_sessions_are_replaced() {
    let server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 2)).await.unwrap();
    let (killer, victim) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let pid: i32 = victim.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    killer.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let error = victim.query_one("SELECT 1", &[]).await.unwrap_err();
    assert!(error.is_closed() || error.code().is_some(), "{error}");
    eventually("the end of the session is noticed", async || victim.is_closed()).await;
    drop(victim);
    let fresh = pool.acquire().await.unwrap();
    let other: i32 = fresh.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_ne!(pid, other);
    drop((killer, fresh));
    pool.disconnect().await;
}
