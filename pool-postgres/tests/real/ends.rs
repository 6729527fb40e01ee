//! Sessions that end by themselves: why is kept, counted, and told.

use std::time::Duration;

use pool_core::{Attempt, Driver, ErrorClass};
use pool_postgres::diagnosis::{Advice, Fate};
use pool_postgres::tokio_postgres::Client;
use pool_postgres::{EndCause, PostgresConnection, PostgresDriver, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, database, eventually, pool, watcher};
use crate::deaf::{signal_postmaster, signal_process};

async fn backend(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

async fn terminate(watch: &Client, pid: i32) {
    watch.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
}

/// Waits until a session's process waits for its client: one that is still at the end of an answer does not say goodbye when it is told to quit.
async fn at_rest(watch: &Client, pid: i32) {
    let resting = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'ClientRead'";
    eventually("it waits for us", async || !watch.query(resting, &[&pid]).await.unwrap().is_empty()).await;
}

/// The SQLSTATE of the end, once the session has ended.
async fn reason(session: &PostgresConnection) -> String {
    eventually("the session ends", async || session.ended().is_some()).await;
    let end = session.ended().unwrap();
    assert_eq!(end.cause, EndCause::Server, "{end}");
    assert_eq!(end.diagnosis().fate, Fate::Close);
    end.sqlstate.unwrap().code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn f001_a_session_that_is_ended_while_idle_fails_nobody() {
    const ROUNDS: u64 = 10;
    let (database, pool) = pool(1).await;
    let watch = watcher(&database).await;
    for round in 1..=ROUNDS {
        let lease = pool.acquire().await.unwrap();
        let pid = backend(&lease).await;
        drop(lease);
        terminate(&watch, pid).await;
        eventually("it ends", async || pool.driver().ends().count("57P01") == round).await;
        pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
    }
    assert_eq!(pool.driver().ends().total(), ROUNDS);
    pool.disconnect().await;
    assert_eq!(pool.driver().ends().total(), ROUNDS, "those that the pool closes are not counted");
}

/// Nothing has been sent, so anything may be tried again; but a transaction is lost with what was in it.
#[tokio::test]
async fn f003_a_session_that_ends_before_it_is_used_is_safe_to_retry() {
    let (database, pool) = pool(1).await;
    let watch = watcher(&database).await;
    for (before, advice, safe) in
        [("SELECT 1", Advice::RetryNow, true), ("BEGIN; SELECT 1", Advice::RetryTransaction, false)]
    {
        let lease = pool.acquire().await.unwrap();
        let pid = backend(&lease).await;
        lease.batch_execute(before).await.unwrap();
        let early = lease.mark();
        lease.batch_execute("SELECT 2").await.unwrap();
        terminate(&watch, pid).await;
        assert_eq!(reason(&lease).await, "57P01");
        let mark = lease.mark();
        let error = lease.batch_execute("SELECT 3").await.unwrap_err();
        assert!(error.is_closed(), "{error}");
        let diagnosis = lease.diagnose(&error, mark);
        assert_eq!((diagnosis.advice, diagnosis.safe_to_retry, diagnosis.fate), (advice, safe, Fate::Close));
        assert!(!lease.diagnose(&error, early).safe_to_retry, "something was sent since");
    }
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f005_bystanders_of_a_crash_learn_of_it() {
    let server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 3)).await.unwrap();
    let (victim, bystander) = (pool.acquire_owned().await.unwrap(), pool.acquire().await.unwrap());
    let watch = pool.acquire().await.unwrap();
    let pid = backend(&victim).await;
    let asking = tokio::spawn(async move {
        let mark = victim.mark();
        let error = victim.batch_execute("SELECT pg_sleep(600)").await.unwrap_err();
        eventually("the session ends", async || victim.ended().is_some()).await;
        (victim.diagnose(&error, mark), victim.ended().unwrap())
    });
    let busy = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
    eventually("it sleeps", async || !watch.query(busy, &[]).await.unwrap().is_empty()).await;
    at_rest(&watch, backend(&bystander).await).await;
    signal_process(&pid.to_string(), "KILL");
    assert_eq!(reason(&bystander).await, "57P02");
    let (diagnosis, end) = asking.await.unwrap();
    assert_eq!((diagnosis.advice, diagnosis.safe_to_retry), (Advice::OutcomeUnknown, false));
    assert!(matches!(end.cause, EndCause::Closed | EndCause::Network(_)), "it was told nothing: {end}");
    eventually("the last one ends", async || watch.ended().is_some()).await;
    drop((bystander, watch));
    let ends = pool.driver().ends();
    assert!(ends.count("57P02") >= 1 && ends.total() == 3, "{ends:?}");
    pool.acquire_timeout(Duration::from_secs(20)).await.unwrap().batch_execute("SELECT 1").await.unwrap();
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f007_a_smart_shutdown_leaves_sessions_alone_and_takes_no_more() {
    let server = EphemeralPostgres::start().unwrap();
    let driver = PostgresDriver::new(config(&server.url(), 1)).unwrap();
    let session = driver.connect(&Attempt::default()).await.unwrap();
    signal_postmaster(&server, "TERM");
    // It gets round to it.
    let code = async || match driver.connect(&Attempt::default()).await {
        Ok(_) => None,
        Err(error) => Some((error.sqlstate().map(|code| code.code().to_owned()), error.class())),
    };
    eventually("it refuses", async || code().await == Some((Some("57P03".to_owned()), ErrorClass::Transient))).await;
    session.batch_execute("SELECT 1").await.unwrap();
    assert_eq!(session.ended(), None);
    driver.close(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f008_a_fast_shutdown_is_told_to_all() {
    let mut server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 2)).await.unwrap();
    let (one, two) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    server.stop().unwrap();
    assert_eq!((reason(&one).await.as_str(), reason(&two).await.as_str()), ("57P01", "57P01"));
    drop((one, two));
    pool.disconnect().await;
    assert_eq!(pool.driver().ends().count("57P01"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn f009_an_immediate_shutdown_is_told_by_a_notice() {
    let server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 2)).await.unwrap();
    let (lease, watch) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    at_rest(&watch, backend(&lease).await).await;
    signal_postmaster(&server, "QUIT");
    assert_eq!(reason(&lease).await, "57P01");
    assert!(lease.ended().unwrap().message.contains("immediate shutdown"));
    drop((lease, watch));
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f016_a_database_that_is_dropped_ends_its_sessions_and_takes_no_more() {
    let (database, pool) = pool(1).await;
    let watch = watcher(&database).await;
    let lease = pool.acquire().await.unwrap();
    watch.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", database.name())).await.unwrap();
    assert_eq!(reason(&lease).await, "57P01");
    drop(lease);
    let error = pool.driver().connect(&Attempt::default()).await.unwrap_err();
    assert_eq!((error.sqlstate().unwrap().code(), error.class()), ("3D000", ErrorClass::Permanent));
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f017_an_idle_session_that_times_out_fails_nobody() {
    let (_database, pool) = pool(1).await;
    pool.acquire().await.unwrap().batch_execute("SET idle_session_timeout = '50ms'").await.unwrap();
    eventually("it ends", async || pool.driver().ends().count("57P05") == 1).await;
    pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f018_whoever_dallies_in_a_transaction_learns_why_it_is_gone() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("SET idle_in_transaction_session_timeout = '50ms'; BEGIN").await.unwrap();
    eventually("it ends", async || lease.is_closed()).await;
    let mark = lease.mark();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert!(error.is_closed() && error.code().is_none(), "the client alone tells nothing: {error}");
    assert_eq!(reason(&lease).await, "25P03");
    let diagnosis = lease.diagnose(&error, mark);
    assert_eq!((diagnosis.advice, diagnosis.safe_to_retry), (Advice::RetryTransaction, false));
    drop(lease);
    pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
    assert_eq!(pool.driver().ends().count("25P03"), 1);
    pool.disconnect().await;
}

#[tokio::test]
async fn a_session_that_the_pool_cuts_off_says_so() {
    let database = database();
    let driver = PostgresDriver::new(config(database.url(), 1)).unwrap();
    let session = driver.connect(&Attempt::default()).await.unwrap();
    assert_eq!(session.ended(), None);
    driver.aborter(&session).unwrap()();
    eventually("it is cut off", async || session.is_closed()).await;
    assert_eq!(session.ended().unwrap().cause, EndCause::CutOff);
    assert_eq!(driver.ends().count("cut off"), 1);
    driver.close(session).await;
}
