//! Limits of time: whoever comes to his own is told so, and nobody else is hit by what is cancelled for him.

use std::time::Duration;

use futures_util::future::join_all;
use pool_postgres::retry::Outcome;
use pool_testkit::proxy::{Direction, Proxy, Toxic};
use tokio::time::timeout;

use crate::stage::{GATED, Stage, in_time, within};

#[tokio::test]
async fn whoever_comes_to_its_limit_is_told_so_and_is_cancelled() {
    // However long the server takes to say so.
    let stage = Stage::with(1, |config| config.limits.cancel_timeout = Duration::from_mins(1)).await;
    stage.close_gate().await;
    let error = in_time("its limit", stage.multiplexed.execute(within(GATED, 100), &[])).await.unwrap_err();
    assert!(error.is_timeout() && error.as_db_error().is_some(), "{error}");
    assert_eq!((error.outcome(), stage.at_gate().await), (Outcome::NotDone, 0), "{error}");
    stage.fast(10).await;
    assert_eq!((stage.pool.stats().opened, stage.pool.driver().query_stats().timed_out), (1, 1));
    stage.end().await;
}

/// It cannot be cancelled without hitting those, who have all the time that they need.
#[tokio::test]
async fn others_behind_it_are_answered_when_it_has_ended() {
    let stage = Stage::with(1, |config| {
        config.multiplexing.apart_after = None;
        config.limits.cancel_timeout = Duration::from_millis(200);
    })
    .await;
    stage.fast(2).await;
    stage.multiplexed.execute(GATED, &[]).await.unwrap();
    stage.close_gate().await;
    let opening = async {
        stage.wait_at_gate(1).await;
        stage.run("SELECT pg_sleep(1)").await;
        assert_eq!(stage.at_gate().await, 1, "it goes on");
        stage.open_gate().await;
    };
    let limited = stage.multiplexed.execute(within(GATED, 50), &[]);
    let (outcome, (), ()) = futures_util::join!(limited, stage.fast(20), opening);
    let error = outcome.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!((stage.pool.stats().opened, stage.pool.stats().broken), (1, 0));
    stage.end().await;
}

/// Requests to cancel that come late, thousands of times: some of them are of no use, and none hits anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_is_cancelled_in_thousands_of_rounds() {
    let stage = Stage::with(1, |config| config.multiplexing.apart_after = None).await;
    // All that is new, such as a request to cancel, is delayed from the second one on.
    let proxy = Proxy::postgres(("127.0.0.1", port(&stage))).await.unwrap();
    let mut config = crate::common::config(stage.database.url(), 1);
    config.hosts = vec![pool_postgres::Host::new("127.0.0.1", proxy.address().port())];
    config.multiplexing.apart_after = None;
    // However long the server takes to say what has become of one: then its session is not closed.
    config.limits.cancel_timeout = Duration::from_mins(1);
    let pool = pool_postgres::PostgresPool::connect(config).await.unwrap();
    let jitter = Duration::from_micros(700);
    proxy.set(Direction::ToServer, Toxic::Delay { time: Duration::ZERO, jitter, seed: 5 });
    let database = pool.multiplexed();
    let moment = |n: u64| Duration::from_micros(n * 7919 % 4_000);
    let asking = async {
        for round in 0..2_000_u64 {
            let dropped = (0..2).map(async |n| {
                drop(timeout(moment(round + n), database.execute("SELECT pg_sleep(0.001)", &[])).await);
            });
            let limited = (0..2).map(async |n| {
                let query = pool_postgres::Query::new("SELECT pg_sleep(0.004)").timeout(moment(3 * round + n));
                if let Err(error) = database.execute(query, &[]).await {
                    assert!(error.is_timeout(), "{error}");
                }
            });
            let plain = (0..if round % 3 == 0 { 0 } else { 2_i64 }).map(async |n| {
                let row = database.query_one("SELECT $1::int8", &[&n]).await.expect("not hit");
                assert_eq!(row.get::<_, i64>(0), n);
            });
            futures_util::join!(join_all(dropped), join_all(limited), join_all(plain));
            // What comes next on the same connection is nobody's to cancel.
            database.execute("SELECT 1", &[]).await.expect("not hit");
        }
    };
    timeout(Duration::from_mins(10), asking).await.expect("they all end");
    let (stats, counts) = (pool.stats(), pool.driver().query_stats());
    assert!(counts.cancelled > 50 && counts.timed_out > 20 && counts.dropped > 100, "{counts:?}");
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
    pool.disconnect().await;
    stage.end().await;
}

pub(crate) fn port(stage: &Stage) -> u16 {
    let url: pool_postgres::PostgresConfig = stage.database.url().parse().unwrap();
    url.hosts[0].port
}
