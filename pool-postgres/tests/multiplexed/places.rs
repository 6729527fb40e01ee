//! Places: never more than there are, in the order of arrival, and whatever becomes of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pool_postgres::QueryError;
use pool_postgres::pool_core::AcquireError;
use tokio::task::JoinHandle;

use crate::common::eventually;
use crate::stage::{GATED, Stage, in_time};

#[tokio::test]
async fn there_are_never_more_users_than_may_be() {
    let stage = Stage::with(2, |config| {
        config.multiplexing.max_in_flight = 5;
        config.multiplexing.apart_after = None;
    })
    .await;
    stage.close_gate().await;
    let asking: Vec<_> = (0..30).map(|_| stage.spawn(GATED)).collect();
    eventually("all places are taken", async || {
        let state = stage.pool.state();
        assert!(state.users <= 10, "{state}");
        (state.users, state.waiting, state.shared) == (10, 20, 2)
    })
    .await;
    stage.wait_at_gate(2).await;
    stage.open_gate().await;
    for asking in asking {
        in_time("it ends", asking).await.unwrap().unwrap();
    }
    stage.end().await;
}

#[tokio::test]
async fn whoever_waits_for_a_place_is_served_in_the_order_of_arrival() {
    let stage = Stage::with(1, |config| {
        config.multiplexing.max_in_flight = 2;
        // What takes long has a line of its own, and on a machine that is busy anything may.
        config.multiplexing.apart_after = None;
    })
    .await;
    stage.run("CREATE TABLE t (n int, place serial)").await;
    let gated = "INSERT INTO t SELECT $1::int FROM (SELECT pg_advisory_xact_lock(7)) AS gate";
    stage.multiplexed.execute(gated, &[&-1]).await.unwrap();
    stage.close_gate().await;
    let asking = join_all((0..40).map(async |n: i32| stage.multiplexed.execute(gated, &[&n]).await.unwrap()));
    let opening = async {
        stage.wait_at_gate(1).await;
        stage.open_gate().await;
    };
    in_time("they end", async { futures_util::join!(asking, opening) }).await;
    let rows = stage.watcher.query("SELECT n FROM t ORDER BY place", &[]).await.unwrap();
    let order: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(order, (-1..40).collect::<Vec<_>>());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_opens_more_connections_than_the_least() {
    let stage = Stage::with(4, |config| {
        config.pool.min_size = 1;
        config.multiplexing.max_in_flight = 8;
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers = callers(&stage, 64, &stop);
    eventually("there are as many as may be", async || stage.pool.state().size == 4).await;
    stop.store(true, Ordering::Relaxed);
    assert!(in_time("they stop", join_all(callers)).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    stage.end().await;
}

/// Callers who ask until they are told to stop, or get an error.
fn callers(stage: &Stage, count: i32, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Result<(), QueryError>>> {
    let caller = |n: i32| {
        let (database, stop) = (stage.multiplexed.clone(), Arc::clone(stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let row = database.query_one("SELECT $1::int + 1", &[&n]).await?;
                assert_eq!(row.get::<_, i32>(0), n + 1);
            }
            Ok(())
        })
    };
    (0..count).map(caller).collect()
}

/// How many have been served so far.
async fn more_are_served(stage: &Stage) {
    let before = stage.pool.stats().acquired;
    eventually("they go on", async || stage.pool.stats().acquired > before + 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_with_the_pool_nobody_gets_an_error() {
    let stage = Stage::start(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers = callers(&stage, 64, &stop);
    for round in 0..12_usize {
        more_are_served(&stage).await;
        match round % 4 {
            0 => {
                stage.pool.pause();
                in_time("they leave", stage.pool.drained()).await;
                let state = stage.pool.state();
                assert_eq!((state.leased, state.users), (0, 0), "{state}");
                stage.pool.resume();
            }
            1 => stage.pool.retire_all(),
            2 => {
                let mut config = (*stage.pool.config()).clone();
                config.max_size = 1 + round % 3;
                stage.pool.reconfigure(config).unwrap();
            }
            _ => drop(in_time("somebody wants one for himself", stage.pool.acquire()).await.unwrap()),
        }
    }
    more_are_served(&stage).await;
    stop.store(true, Ordering::Relaxed);
    for outcome in in_time("they stop", join_all(callers)).await {
        outcome.unwrap().expect("no error");
    }
    assert_eq!(stage.pool.driver().ends().total(), 0);
    stage.end().await;
}

async fn close(within: Option<Duration>) {
    let stage = Stage::start(2).await;
    let stop = Arc::default();
    let callers = callers(&stage, 64, &stop);
    more_are_served(&stage).await;
    match within {
        None => in_time("it is closed", stage.pool.disconnect()).await,
        Some(time) => _ = in_time("it is closed", stage.pool.close_within(time)).await,
    }
    for outcome in in_time("all are told", join_all(callers)).await {
        is_told(&outcome.unwrap().unwrap_err(), within.is_some());
    }
    stage.end().await;
}

/// The pool is closed, or the connection was cut off.
fn is_told(error: &QueryError, may_be_cut_off: bool) {
    let is_closed = matches!(error.acquire_error(), Some(AcquireError::Closed));
    assert!(is_closed || (may_be_cut_off && error.is_closed()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_after_a_close_is_told_so_and_whoever_was_there_is_answered() {
    close(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_does_not_wait_cuts_them_off() {
    close(Some(Duration::ZERO)).await;
}

/// They are cut off while the server is at it, and it lets go of them.
#[tokio::test]
async fn a_close_cuts_off_what_takes_too_long() {
    let stage = Stage::start(1).await;
    stage.multiplexed.execute(GATED, &[]).await.unwrap();
    stage.close_gate().await;
    let asking: Vec<_> = (0..10).map(|_| stage.spawn(GATED)).collect();
    stage.wait_at_gate(1).await;
    in_time("it is closed", stage.pool.close_within(Duration::from_millis(50))).await;
    for asking in asking {
        is_told(&in_time("it is told", asking).await.unwrap().unwrap_err(), true);
    }
    eventually("the server is done with it", async || stage.at_gate().await == 0).await;
    stage.end().await;
}
