//! Requests that take longer than they may.

use std::error::Error;
use std::time::Duration;

use pool_postgres::retry::Outcome;
use pool_postgres::{PostgresPool, Queries, Query, TimeLimit, TimedOut};
use pool_testkit::postgres::{EphemeralPostgres, TestDatabase};
use pool_testkit::proxy::{Direction, Proxy, Toxic};
use tokio_postgres::error::SqlState;

use crate::common::{config, database, eventually, pool, sessions_on_server, watcher};

/// More than any test takes.
const FOR_EVER: &str = "SELECT pg_sleep(300)";

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(1);

/// A pool for one session, which has a minute to say what has become of what was cancelled, or is closed.
async fn patient() -> (TestDatabase, PostgresPool) {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.cancel_timeout = LONG;
    let pool = PostgresPool::connect(config).await.unwrap();
    (database, pool)
}

#[tokio::test]
async fn what_takes_too_long_is_cancelled_and_the_session_goes_on() {
    let (database, pool) = patient().await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire().await.unwrap();
    // In one step then, which is cancelled once.
    lease.prepare_cached(FOR_EVER).await.unwrap();
    let process: i32 = Queries::query_one(&*lease, "SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let error = Queries::execute(&*lease, Query::new(FOR_EVER).timeout(SHORT), &[]).await.unwrap_err();
    assert_eq!((error.outcome(), error.is_timeout(), error.is_closed()), (Outcome::NotDone, true, false), "{error}");
    assert_eq!(error.time_limit(), Some(TimeLimit::Client(SHORT)));
    assert_eq!(error.sqlstate(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(error.source().unwrap().downcast_ref::<TimedOut>().unwrap().limit, SHORT);
    let text = error.to_string();
    assert!(text.contains("nothing was done: it took longer than its limit of 100ms: "), "{text}");
    assert!(text.contains("(SQLSTATE 57014)") && !text.contains('\n'), "{text}");
    let asking = "SELECT state FROM pg_stat_activity WHERE pid = $1";
    // The error comes before the server is ready for the next request.
    eventually("the session is idle", async || {
        watcher.query_one(asking, &[&process]).await.unwrap().get::<_, &str>(0) == "idle"
    })
    .await;
    let same: i32 = Queries::query_one(&*lease, "SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(same, process);
    let stats = pool.driver().query_stats();
    assert_eq!((stats.queries, stats.failed, stats.timed_out, stats.cancelled, stats.dropped), (3, 1, 1, 1, 0));
}

#[tokio::test]
async fn each_query_may_have_a_limit_of_its_own() {
    let database = database();
    let mut config = config(database.url(), 1);
    (config.limits.query_timeout, config.limits.cancel_timeout) = (Some(SHORT), LONG);
    let pool = PostgresPool::connect(config).await.unwrap();
    let a_moment = "SELECT pg_sleep(0.5)";
    let error = pool.execute(FOR_EVER, &[]).await.unwrap_err();
    assert_eq!(error.time_limit(), Some(TimeLimit::Client(SHORT)), "{error}");
    assert_eq!(pool.execute(Query::new(a_moment).no_timeout(), &[]).await.unwrap(), 1);
    assert_eq!(pool.execute(Query::new(a_moment).timeout(Duration::MAX), &[]).await.unwrap(), 1);
    let batch = pool.batch_execute("SELECT 1; SELECT pg_sleep(300)").await.unwrap_err();
    assert_eq!((batch.time_limit(), batch.outcome()), (Some(TimeLimit::Client(SHORT)), Outcome::Unknown), "{batch}");
    let at_once = pool.execute(Query::new(FOR_EVER).timeout(Duration::ZERO), &[]).await.unwrap_err();
    assert_eq!(at_once.time_limit(), Some(TimeLimit::Client(Duration::ZERO)), "{at_once}");
    assert_eq!((pool.stats().opened, pool.stats().broken), (1, 0));
}

#[tokio::test]
async fn a_limit_of_the_server_is_told_from_one_of_the_client() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.statement_timeout = Some(SHORT);
    let pool = PostgresPool::connect(config).await.unwrap();
    let error = pool.execute(FOR_EVER, &[]).await.unwrap_err();
    assert_eq!((error.time_limit(), error.is_timeout()), (Some(TimeLimit::Statement), true), "{error}");
    assert_eq!((error.sqlstate(), error.outcome()), (Some(&SqlState::QUERY_CANCELED), Outcome::NotDone));
    assert!(!error.source().unwrap().is::<TimedOut>());
    let stats = pool.driver().query_stats();
    assert_eq!((stats.timed_out, stats.cancelled), (1, 0));
}

/// Somebody else cancels: that is no limit of time.
#[tokio::test]
async fn what_an_operator_cancels_has_not_timed_out() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let name = database.name().to_owned();
    // While it is prepared, it would not be hit.
    let cancelling = eventually("it is cancelled", || async {
        let cancel =
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'";
        watcher.execute(cancel, &[&name]).await.unwrap() > 0
    });
    let asked = Query::new(FOR_EVER).timeout(Duration::from_secs(200));
    let (outcome, ()) = tokio::join!(pool.execute(asked, &[]), cancelling);
    let error = outcome.unwrap_err();
    assert_eq!((error.sqlstate(), error.is_timeout()), (Some(&SqlState::QUERY_CANCELED), false), "{error}");
}

#[tokio::test]
async fn a_transaction_of_which_a_statement_takes_too_long_can_be_rolled_back() {
    let (_database, pool) = patient().await;
    let lease = pool.acquire().await.unwrap();
    Queries::batch_execute(&*lease, "CREATE TABLE t (n int)").await.unwrap();
    Queries::batch_execute(&*lease, "BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    let error = Queries::execute(&*lease, Query::new(FOR_EVER).timeout(SHORT), &[]).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let failed = Queries::execute(&*lease, "SELECT 1", &[]).await.unwrap_err();
    assert_eq!(failed.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    Queries::batch_execute(&*lease, "ROLLBACK").await.unwrap();
    let count: i64 = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 0);
}

/// What is done at about the moment at which its time is over is told truly: rows are there if the request was answered, and not if nothing was done.
#[tokio::test]
async fn what_is_told_of_a_close_call_is_true() {
    let (_database, pool) = patient().await;
    let lease = pool.acquire().await.unwrap();
    Queries::batch_execute(&*lease, "CREATE TABLE t (n int)").await.unwrap();
    let mut answered = 0;
    for n in 0..100_i32 {
        let insert = "INSERT INTO t SELECT $1 FROM (SELECT pg_sleep(0.004)) AS moment";
        let query = Query::new(insert).timeout(Duration::from_micros(3_000 + 50 * u64::from(n.unsigned_abs())));
        let outcome = Queries::execute(&*lease, query, &[&n]).await;
        let found: i64 =
            Queries::query_one(&*lease, "SELECT count(*) FROM t WHERE n = $1", &[&n]).await.unwrap().get(0);
        match outcome {
            Ok(rows) => {
                answered += 1;
                assert_eq!((rows, found), (1, 1), "{n}");
            }
            Err(error) => {
                assert!(error.is_timeout(), "{n}: {error}");
                assert!(error.outcome() == Outcome::Unknown || found == 0, "{n}: {error}");
            }
        }
    }
    println!("{answered} of 100 were answered in time");
    assert_eq!((pool.stats().opened, lease.is_closed()), (1, false));
}

/// It is not hit, and what has come to its limit is cancelled afterwards, if that is known to be it.
#[tokio::test]
async fn what_others_wait_for_is_not_cancelled_for_one_that_times_out() {
    let (_database, pool) = patient().await;
    let lease = pool.acquire().await.unwrap();
    let long = Queries::execute(&*lease, "SELECT pg_sleep(2)", &[]);
    let short = async {
        let first = Queries::execute(&*lease, Query::new(FOR_EVER).timeout(SHORT), &[]);
        first.await.unwrap_err()
    };
    // The first one is sent first.
    let (long, short) = futures_util::join!(long, short);
    assert_eq!(long.unwrap(), 1);
    assert_eq!((short.is_timeout(), lease.is_closed()), (true, false), "{short}");
}

/// The answers are lost, and with them what the server says of the cancellation.
#[tokio::test]
async fn a_session_that_says_nothing_is_closed() {
    let database = database();
    let mut config = config(database.url(), 1);
    let proxy = Proxy::postgres(("127.0.0.1", config.hosts[0].port)).await.unwrap();
    config.hosts[0].port = proxy.address().port();
    config.limits.cancel_timeout = 3 * SHORT;
    let pool = PostgresPool::connect(config).await.unwrap();
    pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    // What that has changed is undone before anybody gets the session.
    drop(pool.acquire().await.unwrap());
    proxy.set(Direction::ToClient, Toxic::Drop);
    // By then the server has done it, however busy the machine is.
    let error = pool.batch_execute(Query::new("INSERT INTO t VALUES (1)").timeout(40 * SHORT)).await.unwrap_err();
    assert_eq!((error.is_timeout(), error.outcome()), (true, Outcome::Unknown), "{error}");
    assert!(!error.to_string().contains("SQLSTATE"), "{error}");
    proxy.calm().await;
    let count: i64 = pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1, "it was done");
    assert_eq!(pool.stats().opened, 2);
    let watcher = watcher(&database).await;
    let name = database.name();
    eventually("the server has let go of it", || async { sessions_on_server(&watcher, name).await == 1 }).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut config = config(&server.url(), 1);
    config.limits.cancel_timeout = 3 * SHORT;
    let pool = PostgresPool::connect(config).await.unwrap();
    let lease = pool.acquire().await.unwrap();
    server.pause().unwrap();
    let error = Queries::execute(&*lease, Query::new("SELECT 1").timeout(SHORT), &[]).await.unwrap_err();
    assert_eq!((error.is_timeout(), error.outcome()), (true, Outcome::Unknown), "{error}");
    assert!(lease.is_closed());
    let after = Queries::execute(&*lease, "SELECT 1", &[]).await.unwrap_err();
    assert!(after.is_closed() && after.outcome() == Outcome::NotDone, "{after}");
    server.resume().unwrap();
    drop(lease);
    assert_eq!(pool.execute("SELECT 1", &[]).await.unwrap(), 1);
}
