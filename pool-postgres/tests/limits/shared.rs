//! Several who ask on one connection: whatever becomes of one of them, the others get their answers.

use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use pool_postgres::retry::Outcome;
use pool_postgres::{PostgresOwnedLease, PostgresPool, Queries, Query};
use pool_testkit::postgres::TestDatabase;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::common::{config, database, eventually, pool, watcher};

/// More than any test takes.
const FOR_EVER: &str = "SELECT pg_sleep(300)";
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(1);

/// Whether the server has answered all that was asked, though nobody has looked at the answer.
async fn answered(lease: &PostgresOwnedLease) {
    eventually("it is answered", async || lease.activity().in_flight == 0).await;
}

/// The server is at it. It takes longer than a machine that is busy stands still, or it could be over unseen.
async fn runs(watcher: &Client, process: i32, sql: &str) {
    let running = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query = $2";
    eventually(sql, async || watcher.query_opt(running, &[&process, &sql]).await.unwrap().is_some()).await;
}

async fn process(lease: &PostgresOwnedLease) -> i32 {
    Queries::query_one(&**lease, "SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// It has its answer, and what the server does now is for somebody whom the pool does not know of.
#[tokio::test]
async fn what_the_client_itself_asks_is_not_cancelled_for_one_that_is_dropped() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    let mut dropped = Box::pin(Queries::batch_execute(&*lease, "SELECT 1"));
    assert!(dropped.as_mut().now_or_never().is_none());
    answered(&lease).await;
    let long = "SELECT pg_sleep(4)";
    let mut other = Box::pin(Client::batch_execute(&lease, long));
    assert!(other.as_mut().now_or_never().is_none());
    runs(&watcher, process, long).await;
    drop(dropped);
    other.await.unwrap();
    assert_eq!(pool.driver().query_stats().cancelled, 0);
}

/// The same with rows that come bit by bit.
#[tokio::test]
async fn a_stream_goes_on_for_one_that_is_dropped() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire_owned().await.unwrap();
    let mut dropped = Box::pin(Queries::batch_execute(&*lease, "SELECT 1"));
    assert!(dropped.as_mut().now_or_never().is_none());
    answered(&lease).await;
    // More than there is room for on the way.
    let rows = lease.stream("SELECT repeat('x', 1000) FROM generate_series(1, 50000)", &[]).await.unwrap();
    drop(dropped);
    let count = rows.try_fold(0, async |count, _| Ok(count + 1)).await.unwrap();
    assert_eq!(count, 50_000);
}

/// Between two of its steps: it has been prepared, and is not executed yet.
#[tokio::test]
async fn what_comes_between_two_steps_is_not_cancelled() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    let mut dropped = Box::pin(Queries::query(&*lease, "SELECT 'two steps'", &[]));
    assert!(dropped.as_mut().now_or_never().is_none());
    answered(&lease).await;
    let long = "SELECT pg_sleep(4)";
    let mut other = Box::pin(Client::batch_execute(&lease, long));
    assert!(other.as_mut().now_or_never().is_none());
    runs(&watcher, process, long).await;
    drop(dropped);
    other.await.unwrap();
}

/// A pool for one session, in which a request that was cancelled is waited for so long.
async fn patient(cancel_timeout: Duration) -> (TestDatabase, PostgresPool) {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.cancel_timeout = cancel_timeout;
    let pool = PostgresPool::connect(config).await.unwrap();
    (database, pool)
}

/// What was in the client's queue before it, and sent after it had begun, counts for nothing, whether that is answered before its time is over or after.
#[tokio::test]
async fn what_is_behind_others_in_the_queue_is_cancelled_when_its_time_is_over() {
    let (_database, pool) = patient(LONG).await;
    let lease = pool.acquire_owned().await.unwrap();
    for sql in ["SELECT 1", "SELECT pg_sleep(1)"] {
        let mut ahead = Box::pin(Client::batch_execute(&lease, sql));
        assert!(ahead.as_mut().now_or_never().is_none());
        let error = timeout(LONG, Queries::batch_execute(&*lease, Query::new(FOR_EVER).timeout(SHORT))).await;
        let error = error.expect("in time").unwrap_err();
        assert!(error.is_timeout() && error.as_db_error().is_some(), "{error}");
        ahead.await.unwrap();
    }
    assert_eq!((pool.driver().query_stats().cancelled, lease.is_closed()), (2, false));
}

/// The other one is somebody's, who keeps his session.
#[tokio::test]
async fn what_cannot_be_told_from_others_is_given_up_and_costs_them_nothing() {
    let (_database, pool) = patient(3 * SHORT).await;
    let lease = pool.acquire_owned().await.unwrap();
    let mut ahead = Box::pin(Client::batch_execute(&lease, "SELECT pg_sleep(6)"));
    assert!(ahead.as_mut().now_or_never().is_none());
    // Long enough to be sent, however busy the machine is.
    let error = Queries::batch_execute(&*lease, Query::new(FOR_EVER).timeout(10 * SHORT)).await.unwrap_err();
    assert_eq!((error.is_timeout(), error.outcome()), (true, Outcome::Unknown), "{error}");
    // Before the one ahead is done: afterwards it is alone.
    assert_eq!(pool.driver().query_stats().cancelled, 0);
    ahead.await.unwrap();
    assert!(!lease.is_closed());
}

/// It is to be cancelled before it is known where it is, and is found once that is.
#[tokio::test]
async fn what_is_found_later_than_its_cancellation_began_is_cancelled() {
    let (database, pool) = patient(LONG).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    let mut first = Box::pin(Client::batch_execute(&lease, "SELECT pg_sleep(4)"));
    assert!(first.as_mut().now_or_never().is_none());
    runs(&watcher, process, "SELECT pg_sleep(4)").await;
    // More than there is room for on the way, as long as the server does something else.
    let large = format!("SELECT pg_sleep(0.5) /*{}*/", "x".repeat(32 << 20));
    let mut ahead = Box::pin(Client::batch_execute(&lease, &large));
    assert!(ahead.as_mut().now_or_never().is_none());
    let error = timeout(LONG, Queries::batch_execute(&*lease, Query::new(FOR_EVER).timeout(SHORT))).await;
    let error = error.expect("in time").unwrap_err();
    assert!(error.is_timeout() && error.as_db_error().is_some(), "{error}");
    first.await.unwrap();
    ahead.await.unwrap();
    assert_eq!((pool.driver().query_stats().cancelled, lease.is_closed()), (1, false));
}

/// It is held back meanwhile, and asked when the server is done with what does not let itself be cancelled.
#[tokio::test]
async fn whoever_is_held_back_keeps_his_session() {
    let (_database, pool) = patient(Duration::from_secs(3)).await;
    let lease = pool.acquire_owned().await.unwrap();
    let stubborn = "DO $$ DECLARE ends timestamptz := clock_timestamp() + interval '6 seconds'; BEGIN
        WHILE clock_timestamp() < ends LOOP
            BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END;
        END LOOP; END $$";
    // By then it is in the loop, however busy the machine is.
    let limited = Queries::batch_execute(&*lease, Query::new(stubborn).timeout(10 * SHORT));
    let held_back = async {
        cancelled(&pool, 1).await;
        Queries::execute(&*lease, "SELECT 1", &[]).await
    };
    let (limited, held_back) = futures_util::join!(limited, held_back);
    let error = limited.unwrap_err();
    assert_eq!((error.is_timeout(), error.outcome()), (true, Outcome::Unknown), "{error}");
    assert_eq!((held_back.expect("not cut off"), lease.is_closed()), (1, false));
}

/// So many have been cancelled. Until then nothing is asked that would be behind it.
async fn cancelled(pool: &PostgresPool, count: u64) {
    eventually("it is cancelled", async || pool.driver().query_stats().cancelled == count).await;
}

/// Nobody waits for it: what comes next is cancelled all the same when it is dropped, too.
#[tokio::test]
async fn what_follows_something_that_was_left_in_the_queue_is_cancelled() {
    let (_database, pool) = pool(1).await;
    let mut lease = pool.acquire_owned().await.unwrap();
    let before = process(&lease).await;
    let asked = |lease: &PostgresOwnedLease| {
        assert!(Box::pin(Queries::batch_execute(&**lease, FOR_EVER)).now_or_never().is_none());
    };
    drop(lease.transaction().await.unwrap());
    asked(&lease);
    cancelled(&pool, 1).await;
    assert_eq!(process(&lease).await, before);
    assert!(Box::pin(Client::batch_execute(&lease, "SELECT 1")).now_or_never().is_none());
    asked(&lease);
    cancelled(&pool, 2).await;
    assert_eq!(process(&lease).await, before);
}

/// One after the other, all that nobody waits for any more is cancelled.
#[tokio::test]
async fn what_is_dropped_together_is_cancelled_together() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire_owned().await.unwrap();
    let before = process(&lease).await;
    let asked = || Queries::batch_execute(&*lease, FOR_EVER);
    let mut all = Box::pin(futures_util::future::join3(asked(), asked(), asked()));
    assert!(all.as_mut().now_or_never().is_none());
    drop(all);
    assert_eq!(timeout(LONG, process(&lease)).await.expect("they are cancelled"), before);
}

/// They come to their limits at different times, and the first of them while others wait.
#[tokio::test]
async fn several_with_limits_are_cancelled_if_nobody_waits_for_any_of_them() {
    let (_database, pool) = patient(LONG).await;
    let lease = pool.acquire_owned().await.unwrap();
    let before = process(&lease).await;
    let asked = async |n: u32| Queries::batch_execute(&*lease, Query::new(FOR_EVER).timeout(n * SHORT)).await;
    let errors = futures_util::join!(asked(1), asked(2), asked(3));
    let errors = [errors.0, errors.1, errors.2].map(Result::unwrap_err);
    assert!(errors.iter().all(pool_postgres::QueryError::is_timeout), "{errors:?}");
    assert_eq!(timeout(LONG, process(&lease)).await.expect("they are cancelled"), before);
}

/// One whose parameters cannot be sent has no place among those that are.
#[tokio::test]
async fn what_was_never_sent_is_not_counted() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    let number = "SELECT $1::int";
    assert!(Queries::query(&*lease, number, &[&1_i32]).await.is_ok(), "it is prepared");
    let mut waits = Box::pin(Queries::batch_execute(&*lease, "SELECT pg_sleep(4)"));
    assert!(waits.as_mut().now_or_never().is_none());
    runs(&watcher, process, "SELECT pg_sleep(4)").await;
    let unsendable = Queries::query(&*lease, number, &[&"text"]).now_or_never();
    assert!(unsendable.is_some_and(|outcome| outcome.is_err()));
    let mut one = Box::pin(Queries::batch_execute(&*lease, "SELECT 1"));
    let long = "SELECT pg_sleep(4)";
    let mut other = Box::pin(Client::batch_execute(&lease, long));
    assert!(one.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
    waits.await.unwrap();
    runs(&watcher, process, long).await;
    drop(one);
    other.await.unwrap();
}

/// The next one is cancelled as if that had not been asked, though a third one waits.
#[tokio::test]
async fn what_was_never_sent_is_in_nobodys_way() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process_before = process(&lease).await;
    let number = "SELECT $1::int";
    assert!(Queries::query(&*lease, number, &[&1_i32]).await.is_ok(), "it is prepared");
    let mut waits = Box::pin(Queries::batch_execute(&*lease, "SELECT pg_sleep(4)"));
    assert!(waits.as_mut().now_or_never().is_none());
    runs(&watcher, process_before, "SELECT pg_sleep(4)").await;
    let unsendable = Queries::query(&*lease, number, &[&"text"]).now_or_never();
    assert!(unsendable.is_some_and(|outcome| outcome.is_err()));
    assert!(Box::pin(Queries::batch_execute(&*lease, FOR_EVER)).now_or_never().is_none());
    waits.await.unwrap();
    cancelled(&pool, 1).await;
    assert_eq!(process(&lease).await, process_before);
}

/// What one has left to itself goes on, though the next one, which was asked together with it, comes to its limit.
#[tokio::test]
async fn what_is_to_go_on_goes_on() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.cancel_on_drop = false;
    let pool = PostgresPool::connect(config).await.unwrap();
    let lease = pool.acquire_owned().await.unwrap();
    Queries::batch_execute(&*lease, "CREATE TABLE t (n int)").await.unwrap();
    let insert = "INSERT INTO t SELECT 1 FROM (SELECT pg_sleep(1)) AS moment";
    let mut left = Box::pin(Queries::batch_execute(&*lease, insert));
    // Longer than it is waited for, also on a machine that stands still meanwhile.
    let mut limited = Box::pin(Queries::batch_execute(&*lease, Query::new("SELECT pg_sleep(6)").timeout(SHORT)));
    assert!(left.as_mut().now_or_never().is_none() && limited.as_mut().now_or_never().is_none());
    drop(left);
    let error = timeout(LONG, limited).await.expect("in time").unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let count: i64 = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

/// Many on one connection at the same time, some of them dropped and some with limits that are short: nobody is hit who waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_has_his_answer_whatever_becomes_of_the_others() {
    let (_database, pool) = patient(LONG).await;
    let lease = pool.acquire_owned().await.unwrap();
    let lease = &lease;
    let moment = |n: u64| Duration::from_micros(n * 7919 % 3_000);
    for round in 0..60_u64 {
        let dropped = (0..3).map(|n| async move {
            let sql = if (round + n) % 2 == 0 { "SELECT pg_sleep(0.001)" } else { "SELECT 1" };
            let _ = timeout(moment(round + n), Queries::batch_execute(&**lease, sql)).await;
        });
        let limited = (0..2).map(|n| async move {
            let query = Query::new("SELECT pg_sleep(0.05)").timeout(moment(3 * round + n));
            if let Err(error) = Queries::execute(&**lease, query, &[]).await {
                assert!(error.is_timeout(), "{error}");
            }
        });
        // With them, what is limited is often answered before it can be cancelled.
        let plain = (0..if round % 3 == 0 { 0 } else { 3_i64 }).map(|n| async move {
            let row = Queries::query_one(&**lease, "SELECT $1::int8", &[&n]).await.expect("not hit");
            assert_eq!(row.get::<_, i64>(0), n);
            let row = Client::query_one(lease, "SELECT $1::int8 FROM pg_sleep(0.001)", &[&n]).await;
            assert_eq!(row.expect("not hit").get::<_, i64>(0), n);
        });
        let all = (
            futures_util::future::join_all(dropped),
            futures_util::future::join_all(limited),
            futures_util::future::join_all(plain),
        );
        futures_util::join!(all.0, all.1, all.2);
    }
    let stats = pool.driver().query_stats();
    assert!(stats.dropped > 0 && stats.timed_out > 0 && stats.cancelled > 0, "{stats:?}");
    assert!(!lease.is_closed());
}
