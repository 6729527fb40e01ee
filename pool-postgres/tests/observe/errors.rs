//! Errors by the class of their SQLSTATE.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use pool_core::{MetricSample, MetricValue};
use pool_postgres::Query;

use crate::common::{config, database, eventually};
use crate::stage::{Observer, by_label, family, observed, told};

#[tokio::test]
async fn an_error_is_counted_by_its_class_whoever_has_asked() {
    let database = database();
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("CREATE TABLE once (id int PRIMARY KEY); INSERT INTO once VALUES (1)").await.unwrap();
    assert_eq!(told(&observer, "pool.postgres.errors"), "");
    lease.execute("INSERT INTO once VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(told(&observer, "pool.postgres.errors"), "23 1");
    drop(lease);
    pool.execute("INSERT INTO once VALUES ($1)", &[&1]).await.unwrap_err();
    pool.execute("SELECT nothing", &[]).await.unwrap_err();
    assert_eq!(told(&observer, "pool.postgres.errors"), "23 2, 42 1");
    pool.disconnect().await;
    assert_eq!(told(&observer, "pool.postgres.errors"), "23 2, 42 1", "they outlive their connection");
}

/// Servers may say what they like.
#[tokio::test]
async fn there_are_no_more_classes_than_there_are() {
    let database = database();
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let before: BTreeSet<_> = by_label(&observer, "pool.postgres.errors").into_keys().collect();
    let lease = pool.acquire().await.unwrap();
    for number in 0..100 {
        let raise = format!("DO $$ BEGIN RAISE 'no' USING ERRCODE = 'Q{number:02}ZZ'; END $$");
        let error = lease.batch_execute(&raise).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code().to_owned()), Some(format!("Q{number:02}ZZ")));
    }
    lease.batch_execute("DO $$ BEGIN RAISE 'no'; END $$").await.unwrap_err();
    let after = by_label(&observer, "pool.postgres.errors");
    assert_eq!((after["other"], after["P0"]), (100, 1));
    assert_eq!(after.into_keys().collect::<BTreeSet<_>>(), before);
}

/// How many queries were timed, by what they have failed with.
fn timed(observer: &Observer) -> String {
    let of = |sample: &MetricSample| {
        let error = sample.labels.iter().find(|(label, _)| *label == "error.type").map_or("none", |(_, kind)| kind);
        match &sample.value {
            MetricValue::Histogram(times) => format!("{error} {}", times.count),
            other => panic!("{other:?} is no histogram"),
        }
    };
    family(observer, "db.client.operation.duration").samples.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_fails_is_timed_apart() {
    let database = database();
    let mut settings = config(database.url(), 1);
    // A server that is busy elsewhere answers, too.
    settings.limits.cancel_timeout = Duration::from_mins(1);
    let (pool, observer) = observed(settings).await;
    pool.query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(timed(&observer), "none 1");
    pool.query_one("SELECT 1 / 0", &[]).await.unwrap_err();
    pool.query_one("SELECT nothing", &[]).await.unwrap_err();
    pool.execute(Query::new("SELECT pg_sleep(300)").timeout(Duration::from_millis(50)), &[]).await.unwrap_err();
    pool.query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(timed(&observer), "none 2, 22 1, 42 1, 57 1");
    assert_eq!(pool.stats().execution.count, 5, "all of them");
    pool.batch_execute("DO $$ BEGIN RAISE 'no' USING ERRCODE = 'QQQQQ'; END $$").await.unwrap_err();
    // The server sends the error before it is ready again, which is when the query is over.
    eventually("it is timed", async || timed(&observer) == "none 2, 22 1, 42 1, 57 1, _OTHER 1").await;
    let namespace = ("db.namespace", pool.driver().config().database.clone().unwrap().into());
    let samples = family(&observer, "db.client.operation.duration").samples;
    assert!(samples.iter().all(|sample| sample.labels.contains(&namespace)), "{samples:?}");
}

/// And none for the time, or by the error, of those that are on the connection with it.
#[tokio::test]
async fn whatever_shares_a_connection_is_timed_one_by_one() {
    let database = database();
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let divide = async |by: i32| pool.multiplexed().query_one("SELECT 1 / $1::int", &[&by]).await.is_ok();
    assert!(divide(1).await, "it is prepared");
    let answers = join_all((0..8).map(divide)).await;
    assert_eq!(answers.iter().filter(|is_ok| **is_ok).count(), 7);
    eventually("all are timed", async || timed(&observer) == "none 8, 22 1").await;
    assert_eq!(pool.stats().opened, 1);
}
