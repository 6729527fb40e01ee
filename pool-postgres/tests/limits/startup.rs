//! Limits that the server keeps.

use std::error::Error;
use std::time::Duration;

use pool_core::{Attempt, Driver, ErrorClass};
use pool_postgres::retry::Outcome;
use pool_postgres::{ConnectError, PostgresConfig, PostgresDriver, PostgresPool, Queries, TimeLimit, UnsupportedLimit};
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};

use crate::common::{config, database};

async fn shown(pool: &PostgresPool, name: &str) -> String {
    pool.query_one(format!("SHOW {name}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn sessions_have_the_limits_of_the_configuration_over_those_of_its_options() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.options = Some("-c statement_timeout=7s -c lock_timeout=8s".to_owned());
    config.limits.statement_timeout = Some(Duration::from_secs(5));
    config.limits.idle_in_transaction_session_timeout = Some(Duration::from_micros(1_500));
    let pool = PostgresPool::connect(config).await.unwrap();
    assert_eq!(shown(&pool, "statement_timeout").await, "5s");
    assert_eq!(shown(&pool, "lock_timeout").await, "8s");
    assert_eq!(shown(&pool, "idle_in_transaction_session_timeout").await, "2ms");
    assert_eq!(pool.stats().opened, 1);
}

/// Longer than a machine that is busy stands still.
fn with_transaction_timeout(url: &str) -> PostgresConfig {
    let mut config = config(url, 1);
    config.limits.transaction_timeout = Some(Duration::from_secs(4));
    config
}

async fn refusal(config: PostgresConfig) -> ConnectError {
    PostgresDriver::new(config).unwrap().connect(&Attempt::default()).await.unwrap_err()
}

fn limit(error: &ConnectError) -> &UnsupportedLimit {
    error.source().unwrap().downcast_ref().unwrap_or_else(|| panic!("{error}"))
}

/// The server of all tests is older than PostgreSQL 17, or not: each is right in its own way.
#[tokio::test]
async fn a_transaction_ends_in_time_or_the_server_is_too_old_for_that() {
    let server = EphemeralPostgres::start().unwrap();
    let config = with_transaction_timeout(&server.url());
    if server.version() < 17 {
        let error = refusal(config.clone()).await;
        assert!(matches!(limit(&error), UnsupportedLimit::TooOld(_)), "{error}");
        assert_eq!((error.class(), error.sqlstate().unwrap().code()), (ErrorClass::Permanent, "42704"));
        let text = PostgresPool::connect(config).await.unwrap_err().to_string();
        assert!(text.contains("one of PostgreSQL 17; leave pool_transaction_timeout away"), "{text}");
    } else {
        let pool = PostgresPool::connect(config).await.unwrap();
        let error = pool.batch_execute("BEGIN; SELECT pg_sleep(300)").await.unwrap_err();
        assert_eq!(error.time_limit(), Some(TimeLimit::Transaction), "{error}");
    }
}

/// By the server, while nothing is asked of it: nobody has seen a `COMMIT`.
#[tokio::test]
async fn a_transaction_that_waits_too_long_is_gone_or_the_server_is_too_old_for_that() {
    let server = EphemeralPostgres::start().unwrap();
    if server.version() < 17 {
        let error = refusal(with_transaction_timeout(&server.url())).await;
        assert!(matches!(limit(&error), UnsupportedLimit::TooOld(_)), "{error}");
        return;
    }
    let pool = PostgresPool::connect(with_transaction_timeout(&server.url())).await.unwrap();
    pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let transaction = pool.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    crate::common::eventually("the session ends", || async { pool.driver().ends().count("25P04") == 1 }).await;
    let error = transaction.commit().await.unwrap_err();
    assert_eq!((error.outcome(), error.is_closed()), (Outcome::NotDone, true), "{error}");
    assert_eq!(error.time_limit(), Some(TimeLimit::Transaction), "{error}");
    assert_eq!(pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 0);
    // Whoever keeps to it is left alone, however long his session lives.
    for _ in 0..3 {
        let lease = pool.acquire().await.unwrap();
        assert_eq!(Queries::execute(&*lease, "SELECT pg_sleep(1.5)", &[]).await.unwrap(), 1);
    }
    assert_eq!(pool.stats().opened, 2);
}

#[tokio::test]
async fn a_proxy_that_refuses_options_is_told_from_a_server() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = PgBouncer::in_front_of(&server).start().unwrap();
    let mut config = config(&bouncer.url(), 1);
    config.limits.statement_timeout = Some(Duration::from_secs(5));
    let error = refusal(config.clone()).await;
    assert!(matches!(limit(&error), UnsupportedLimit::Proxy(_)), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    assert!(error.to_string().contains("ALTER ROLE"), "{error}");
    config.limits.statement_timeout = None;
    let pool = PostgresPool::connect(config).await.unwrap();
    assert_eq!(pool.execute("SELECT 1", &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn an_idle_transaction_is_ended_by_the_server() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.idle_in_transaction_session_timeout = Some(Duration::from_millis(50));
    let pool = PostgresPool::connect(config).await.unwrap();
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    crate::common::eventually("the session ends", || async { lease.is_closed() }).await;
    assert_eq!(lease.ended().unwrap().sqlstate.unwrap().code(), "25P03");
}
