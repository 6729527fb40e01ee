//! Futures that are dropped: nobody else fails, and nothing is left.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use pool_testkit::random::Random;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;

use crate::common::eventually;
use crate::stage::{GATED, Stage, in_time};

#[tokio::test]
async fn what_is_polled_once_and_dropped_is_nobodys_business() {
    let stage = Stage::start(1).await;
    stage.fast(2).await;
    for round in 0..200_i32 {
        let others = stage.fast(8);
        let dropped = async {
            for n in 0..3 {
                let params: [&(dyn ToSql + Sync); 1] = [&n];
                let mut asking = Box::pin(stage.multiplexed.query("SELECT $1::int", &params));
                assert!(asking.as_mut().now_or_never().is_none());
            }
        };
        if round % 2 == 0 {
            futures_util::join!(others, dropped);
        } else {
            futures_util::join!(dropped, others);
        }
    }
    let stats = stage.pool.stats();
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
    stage.end().await;
}

/// Some for each of many callers, after some time that is different each time; by whoever asks beside them, everything is answered.
async fn at_any_moment(connections: usize) {
    let stage = Stage::with(connections, |config| config.multiplexing.apart_after = Some(Duration::from_secs(1))).await;
    let tasks: Vec<_> = (0..64_u64)
        .map(|task| {
            let database = stage.multiplexed.clone();
            tokio::spawn(async move {
                let (mut random, mut dropped) = (Random::new(task), 0);
                for n in 0..60_i64 {
                    let params: [&(dyn ToSql + Sync); 2] = [&n, &n];
                    let asked = database.query_one("SELECT $1::int8 + $2::int8", &params);
                    if task % 2 == 0 {
                        assert_eq!(asked.await.expect("not hit").get::<_, i64>(0), 2 * n);
                    } else if let Ok(answer) = timeout(Duration::from_micros(random.below(3_000)), asked).await {
                        assert_eq!(answer.expect("not hit").get::<_, i64>(0), 2 * n);
                    } else {
                        dropped += 1;
                    }
                }
                dropped
            })
        })
        .collect();
    let mut dropped = 0;
    for task in tasks {
        dropped += in_time("they end", task).await.unwrap();
    }
    let stats = stage.pool.stats();
    assert_eq!(
        (stats.opened, stats.broken, stage.pool.driver().ends().total()),
        (connections as u64, 0, 0),
        "{stats:?}"
    );
    // Before they had a place, while they waited for the answer, or when it was on its way.
    assert!(dropped > 50, "it is about them: {dropped}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_moment_on_one_connection() {
    at_any_moment(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_moment_on_two_connections() {
    at_any_moment(2).await;
}

/// By dropping them with the task that they are in, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_aborted_leave_nothing() {
    let stage = Stage::start(2).await;
    for round in 0..50_u64 {
        let tasks: Vec<_> = (0..40).map(|_| stage.spawn("SELECT pg_sleep(0.001)")).collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        } else {
            let _ = stage.multiplexed.execute("SELECT 1", &[]).await.unwrap();
        }
        for (n, task) in tasks.iter().enumerate() {
            if n as u64 % 3 != round % 3 {
                task.abort();
            }
        }
        for outcome in in_time("they end", join_all(tasks)).await {
            assert!(outcome.is_err() || outcome.unwrap().is_ok(), "whoever waits is answered");
        }
    }
    stage.fast(50).await;
    assert_eq!(stage.pool.driver().ends().total(), 0);
    stage.end().await;
}

#[tokio::test]
async fn with_nothing_behind_it_it_is_cancelled_on_the_server() {
    let stage = Stage::start(1).await;
    stage.close_gate().await;
    let asking = stage.spawn(GATED);
    stage.wait_at_gate(1).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    eventually("it is cancelled", async || stage.at_gate().await == 0).await;
    in_time("the connection is as good as before", stage.multiplexed.query("SELECT 1", &[])).await.unwrap();
    assert_eq!(stage.pool.stats().opened, 1);
    stage.open_gate().await;
    stage.end().await;
}

#[tokio::test]
async fn with_others_behind_it_it_goes_on_and_they_are_answered() {
    let stage = Stage::with(1, |config| config.multiplexing.apart_after = None).await;
    stage.fast(2).await;
    stage.multiplexed.execute(GATED, &[]).await.unwrap();
    stage.close_gate().await;
    let mut asking = Box::pin(stage.multiplexed.execute(GATED, &[]));
    assert!(asking.as_mut().now_or_never().is_none());
    let mut others = Box::pin(stage.fast(20));
    assert!(others.as_mut().now_or_never().is_none());
    stage.wait_at_gate(1).await;
    drop(asking);
    // Longer than a cancellation would take.
    stage.run("SELECT pg_sleep(0.3)").await;
    assert_eq!(stage.at_gate().await, 1, "it goes on");
    stage.open_gate().await;
    others.await;
    assert_eq!((stage.pool.stats().opened, stage.pool.driver().query_stats().cancelled), (1, 0));
    stage.end().await;
}
