//! Servers that do not answer, and connections that are lost.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use pool_postgres::retry::Outcome;
use pool_postgres::{Batch, BatchAnswer, PostgresConfig, PostgresPool, Queries, Query};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::proxy::{Direction, End, Proxy, Toxic};

use crate::as_one::{INSERT, numbers, table};
use crate::common::{config, eventually, sessions_on_server, watcher};

const SHORT: Duration = Duration::from_millis(300);

const ECHO: &str = "SELECT length($1::text)";

/// What happens at all happens within this time.
async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A pool of one connection behind a proxy.
async fn behind(database: &TestDatabase, change: impl FnOnce(&mut PostgresConfig)) -> (Proxy, PostgresPool) {
    let mut config = config(database.url(), 1);
    let proxy = Proxy::postgres(("127.0.0.1", config.hosts[0].port)).await.unwrap();
    config.hosts[0].port = proxy.address().port();
    change(&mut config);
    (proxy, PostgresPool::connect(config).await.unwrap())
}

fn in_mode<'c, 'q>(batch: Batch<'c, 'q>, is_one: bool) -> Batch<'c, 'q> {
    if is_one { batch.as_one() } else { batch.one_by_one() }
}

/// The server has begun with it, and has never been told that it is complete.
#[tokio::test]
async fn what_was_not_sent_to_its_end_has_not_been_done() {
    let (database, other) = table(1).await;
    let (proxy, pool) = behind(&database, |_| {}).await;
    let text = "x".repeat(100_000);
    pool.batch()
        .add("DELETE FROM t WHERE n = $1", &[&0])
        .add(ECHO, &[&text])
        .add(INSERT, &[&0])
        .execute_all()
        .await
        .unwrap();
    proxy.set(Direction::ToServer, Toxic::CutAfter { bytes: 300_000, end: End::Reset });
    let mut batch = pool.batch().add(INSERT, &[&1]);
    for _ in 0..500 {
        batch.push(ECHO, &[&text]);
    }
    let answers: Vec<_> = in_time("the answers", async { batch.send().await.unwrap().collect().await }).await;
    assert_eq!(answers.len(), 501);
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.len() > 490, "{}", failed.len());
    assert!(failed.iter().all(|error| error.outcome() == Outcome::NotDone), "{}", failed[0]);
    assert!(!failed[0].is_skipped() && failed[0].is_closed(), "{}", failed[0]);
    proxy.calm().await;
    assert_eq!(numbers(&other).await, [0]);
}

/// The answers are lost, and with them what the server says of the cancellation.
#[tokio::test]
async fn a_session_of_which_nothing_is_heard_is_cut() {
    for is_one in [true, false] {
        let (database, other) = table(1).await;
        let (proxy, pool) = behind(&database, |config| config.limits.cancel_timeout = SHORT).await;
        let ready = in_mode(pool.batch(), is_one).add("SELECT 1", &[]).add(INSERT, &[&0]).execute_all().await.unwrap();
        assert_eq!(ready, [1, 1]);
        proxy.set(Direction::ToClient, Toxic::Drop);
        // By then the server has done it, however busy the machine is.
        let limited = Query::new("SELECT 1").timeout(Duration::from_secs(4));
        let batch = in_mode(pool.batch(), is_one).add(limited, &[]).add(INSERT, &[&1]);
        let answers: Vec<_> = in_time("the answers", async { batch.send().await.unwrap().collect().await }).await;
        let [Err(first), Err(second)] = &answers[..] else { panic!("{answers:?}") };
        assert!(first.is_timeout(), "{first}");
        assert_eq!((first.outcome(), second.outcome()), (Outcome::Unknown, Outcome::Unknown), "{first}, {second}");
        proxy.calm().await;
        let count: i64 =
            in_time("another session", pool.query_one("SELECT count(*) FROM t", &[])).await.unwrap().get(0);
        assert_eq!(count, 2, "it was done");
        assert_eq!(pool.stats().opened, 2);
        drop(other);
        let watcher = watcher(&database).await;
        let name = database.name();
        eventually("the server has let go of it", || async { sessions_on_server(&watcher, name).await <= 2 }).await;
    }
}

/// Polls a future so often, or until it ends.
async fn poll_often(work: impl Future, polls: u32) {
    let mut work = pin!(work);
    for _ in 0..polls {
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn answers(queries: &impl Queries) {
    let asked = queries.query_one("SELECT 6 * $1::int", &[&7]);
    assert_eq!(in_time("an answer", asked).await.unwrap().get::<_, i32>(0), 42);
}

/// Drops a batch after so many polls, and asks for something else on the same connection, and then on that of the pool.
async fn dropped_after(polls: u32, is_one: bool, text: &str, pool: &PostgresPool) {
    let mut lease = pool.acquire().await.unwrap();
    let batch = in_mode(lease.batch(), is_one).add("SELECT 1", &[]).add(ECHO, &[&text]).add(ECHO, &[&text]);
    let batch = batch.add("SELECT pg_sleep(0.001)", &[]).add(ECHO, &[&text]).add("SELECT 2", &[]);
    poll_often(batch.execute_all(), polls).await;
    answers(&*lease).await;
    // By a request without a `Sync`.
    in_time("a simple answer", lease.batch_execute("SELECT 1")).await.unwrap();
    drop(lease);
    answers(pool).await;
    assert_eq!(pool.stats().opened, 1, "{polls}");
}

/// At one moment after the other, with more than the sockets take, or less.
async fn dropped_at_any_moment(length: usize, cancel_on_drop: bool) {
    let (database, _other) = table(1).await;
    let mut config = config(database.url(), 1);
    config.limits.cancel_on_drop = cancel_on_drop;
    let pool = PostgresPool::connect(config).await.unwrap();
    let text = "x".repeat(length);
    for polls in 0..30 {
        for is_one in [true, false] {
            dropped_after(polls, is_one, &text, &pool).await;
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_whenever_a_batch_was_dropped() {
    dropped_at_any_moment(10, true).await;
    dropped_at_any_moment(10, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_whenever_a_large_batch_was_dropped() {
    dropped_at_any_moment(5_000_000, true).await;
    dropped_at_any_moment(5_000_000, false).await;
}

/// Its data would come in between.
#[tokio::test]
async fn a_copy_that_somebody_has_begun_is_waited_for() {
    let (_database, pool) = table(1).await;
    let mut lease = pool.acquire().await.unwrap();
    let which = "SELECT pg_current_xact_id()::text";
    lease.batch().add(INSERT, &[&0]).add(which, &[]).execute_all().await.unwrap();
    let sink = tokio_postgres::Client::copy_in::<_, Bytes>(&lease, "COPY t FROM STDIN").await.unwrap();
    let mut sink = Box::pin(sink);
    let batch = lease.batch().add(which, &[]).add(which, &[]).add(which, &[]);
    let sending = async { batch.send().await?.try_collect::<Vec<BatchAnswer>>().await };
    let copying = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        sink.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
        sink.as_mut().finish().await.unwrap()
    };
    let (answers, copied) = in_time("both", async { futures_util::join!(sending, copying) }).await;
    let ids: BTreeSet<String> = answers.unwrap().iter().map(|answer| answer.rows()[0].get(0)).collect();
    assert_eq!((ids.len(), copied), (1, 2), "one transaction: {ids:?}");
    let asked = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]);
    assert_eq!(in_time("an answer", asked).await.unwrap().get::<_, i64>(0), 3);
}

fn signal(process: i32, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &process.to_string()]).status().unwrap().success());
}

/// The server takes the cancellation, and the session's process takes no note.
#[tokio::test]
async fn a_session_that_stands_still_is_cut() {
    for is_one in [true, false] {
        let (database, _other) = table(1).await;
        let mut config = config(database.url(), 1);
        config.limits.cancel_timeout = SHORT;
        let pool = PostgresPool::connect(config).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let process = Queries::query_one(&*lease, "SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        in_mode(lease.batch(), is_one).add("SELECT 1", &[]).add(INSERT, &[&0]).execute_all().await.unwrap();
        signal(process, "STOP");
        let batch = in_mode(lease.batch(), is_one).add(Query::new("SELECT 1").timeout(SHORT), &[]).add(INSERT, &[&1]);
        let answers = async { batch.send().await.unwrap().collect::<Vec<_>>().await };
        let answers = tokio::time::timeout(Duration::from_secs(30), answers).await;
        signal(process, "CONT");
        let answers = answers.expect("never: the answers");
        let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(failed.len() == 2 && failed[0].is_timeout(), "{answers:?}");
        assert!(failed.iter().all(|error| error.outcome() == Outcome::Unknown), "{answers:?}");
        assert!(lease.is_closed());
    }
}
