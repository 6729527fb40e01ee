//! A backend that does nothing any more, and cancellations that come late.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{pin_mut, poll};
use pool_postgres::PostgresPool;

use pool_testkit::postgres::EphemeralPostgres;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::common::{config, eventually, pool};
use crate::session::process;

fn signal(process: i32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "{name} to {process}");
}

/// Waits until a session has been idle for longer than the pool's clock is coarse.
async fn long_idle(server: &EphemeralPostgres, process: i32) {
    let (watch, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let idle = "SELECT state = 'idle' AND clock_timestamp() - state_change > interval '3 s' FROM pg_stat_activity WHERE pid = $1";
    eventually("it is idle for long", async || watch.query_one(idle, &[&process]).await.unwrap().get(0)).await;
}

/// The process of a session, if that answers.
async fn answering(client: &Client) -> i32 {
    timeout(Duration::from_secs(20), process(client)).await.expect("a session that answers")
}

/// Whoever comes is served by another session, after the limit of a check and what it takes to connect.
#[tokio::test]
async fn a_frozen_backend_is_found_out_before_anybody_gets_it() {
    const CHECK: Duration = Duration::from_secs(1);
    // Of its own: whoever makes or drops a database waits for every session of the server.
    let server = EphemeralPostgres::start().unwrap();
    let mut config = config(&server.url(), 1);
    (config.pool.check_after_idle, config.pool.check_timeout) = (Some(Duration::from_millis(1)), CHECK);
    config.pool.close_timeout = Duration::from_millis(100);
    let pool = PostgresPool::connect(config).await.unwrap();
    let frozen = process(&pool.acquire().await.unwrap()).await;
    long_idle(&server, frozen).await;
    signal(frozen, "STOP");
    let began = Instant::now();
    let lease = pool.acquire().await.unwrap();
    let waited = began.elapsed();
    let other = answering(&lease).await;
    signal(frozen, "CONT");
    assert_ne!(other, frozen);
    println!("served {waited:?} after the backend was frozen, with a limit of {CHECK:?} for a check");
    assert!(waited < CHECK + Duration::from_secs(20), "{waited:?}");
    drop(lease);
    pool.disconnect().await;
}

/// While somebody waits for an answer, too: what was left is not waited for longer than the limit of a reset.
#[tokio::test]
async fn a_backend_that_freezes_in_a_reset_costs_the_session_within_its_limit() {
    // Of its own: whoever makes or drops a database waits for every session of the server.
    let server = EphemeralPostgres::start().unwrap();
    let mut config = config(&server.url(), 1);
    (config.pool.reset_timeout, config.pool.close_timeout) = (Duration::from_secs(1), Duration::from_millis(100));
    let pool = PostgresPool::connect(config).await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let frozen = process(&lease).await;
    lease.batch_execute("BEGIN; SET LOCAL work_mem = '12MB'").await.unwrap();
    signal(frozen, "STOP");
    drop(lease);
    let other = answering(&pool.acquire().await.unwrap()).await;
    signal(frozen, "CONT");
    assert_ne!(other, frozen);
    assert_eq!(pool.stats().errors.resets, 1);
    pool.disconnect().await;
}

fn times() -> usize {
    let number = std::env::var("POOL_CANCELLATIONS").ok();
    number.map_or(300, |number| number.parse().expect("POOL_CANCELLATIONS is a number"))
}

/// Loses interest in a query that ends about when the pool has lost its patience, and goes on with whatever session comes next.
async fn lose_interest(pool: &PostgresPool, rounds: usize) {
    for round in 0..rounds {
        {
            let lease = pool.acquire().await.unwrap();
            let sql = format!("SELECT pg_sleep({})", 0.017 + 0.001 * f64::from(u32::try_from(round % 8).unwrap()));
            let query = lease.batch_execute(&sql);
            pin_mut!(query);
            assert!(poll!(&mut query).is_pending());
        }
        let lease = pool.acquire().await.unwrap();
        lease.batch_execute("SELECT pg_sleep(0.004)").await.expect("nobody has cancelled this one");
    }
}

#[tokio::test]
async fn no_cancellation_hits_whoever_comes_next() {
    const USERS: usize = 10;
    let (_database, pool) = pool(USERS).await;
    let rounds = times().div_ceil(USERS);
    join_all((0..USERS).map(|_| lose_interest(&pool, rounds))).await;
    println!("{} queries were left, and none of those that followed was cancelled", rounds * USERS);
    assert_eq!((pool.stats().broken, pool.stats().errors.resets), (0, 0));
    pool.disconnect().await;
}
