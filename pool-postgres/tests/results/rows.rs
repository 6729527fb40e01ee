//! Rows as they come.

use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::Outcome;
use pool_postgres::{Queries, QueryStep};
use tokio_postgres::error::SqlState;

use crate::setting::{Setting, answers, in_time};

/// It would take minutes to read it to its end.
const ENDLESS: &str = "SELECT generate_series(1, 1000000000::bigint)";

/// More than there is room for on the way.
const LARGE: &str = "SELECT repeat('x', 10000) FROM generate_series(1, 5000)";

#[tokio::test]
async fn rows_come_to_their_end_and_the_connection_goes_back() {
    let setting = Setting::start().await;
    let mut rows = setting.pool.stream("SELECT generate_series(1, $1::int)", &[&100_000]).await.unwrap();
    assert!(setting.pool.try_acquire().is_err(), "it has the only connection");
    let mut sum = 0;
    while let Some(row) = rows.try_next().await.unwrap() {
        sum += i64::from(row.get::<_, i32>(0));
    }
    assert_eq!((sum, rows.rows_affected()), (5_000_050_000, Some(100_000)));
    assert!(setting.pool.try_acquire().is_ok(), "clean, so idle at once, though the stream is still there");
    assert!(rows.try_next().await.unwrap().is_none());
    setting.ends_well().await;
}

#[tokio::test]
async fn a_statement_may_have_no_rows() {
    let setting = Setting::start().await;
    let mut rows = setting.pool.stream("INSERT INTO t SELECT generate_series(1, 7)", &[]).await.unwrap();
    assert!(rows.try_next().await.unwrap().is_none());
    assert_eq!((rows.rows_affected(), setting.rows().await), (Some(7), 7));
    setting.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_halfway_is_cancelled_before_the_next_user_comes() {
    let setting = Setting::start().await;
    for taken in [0, 1, 1000] {
        let mut rows = setting.pool.stream(ENDLESS, &[]).await.unwrap();
        for _ in 0..taken {
            rows.try_next().await.unwrap().expect("a row");
        }
        drop(rows);
        assert_eq!(in_time(setting.rows()).await, 0);
    }
    setting.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_halfway_is_cancelled_on_a_lease_that_is_kept() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    for taken in [0, 1, 1000] {
        let mut rows = lease.stream(ENDLESS, &[]).await.unwrap();
        for _ in 0..taken {
            rows.try_next().await.unwrap().expect("a row");
        }
        drop(rows);
        answers(&lease).await;
    }
    drop(lease);
    setting.ends_well().await;
}

/// However near its end a result is dropped: what is cancelled is that, and not what is asked next.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_never_hits_what_is_asked_next() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    let times = std::env::var("POOL_CANCELLATIONS").map_or(300, |times| times.parse().unwrap());
    for time in 0..times {
        let length = 1 + time * 7919 % 5000;
        let mut rows = lease.stream("SELECT generate_series(1, $1::int)", &[&length]).await.unwrap();
        for _ in 0..time * 31 % length {
            rows.try_next().await.unwrap().expect("a row");
        }
        drop(rows);
        // Without a prepared statement: nothing else comes in between.
        let answer = in_time(lease.simple_query(&format!("SELECT {time}"))).await;
        answer.unwrap_or_else(|error| panic!("after {time} of {times}: {error:?}"));
        let number: i32 = in_time(Queries::query_one(&*lease, "SELECT $1::int", &[&time])).await.unwrap().get(0);
        assert_eq!(number, time);
    }
    drop(lease);
    setting.ends_well().await;
}

/// Then nobody knows which of the two a cancellation would hit.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_with_something_sent_behind_it_is_not_cancelled() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    for _ in 0..5 {
        let mut rows = lease.stream(LARGE, &[]).await.unwrap();
        rows.try_next().await.unwrap().expect("a row");
        let mut behind = pin!(lease.batch_execute("INSERT INTO t VALUES (1)"));
        assert!((&mut behind).now_or_never().is_none(), "it waits for the rows");
        setting.waits_for("ClientWrite").await;
        drop(rows);
        in_time(behind).await.unwrap();
    }
    drop(lease);
    assert_eq!(setting.rows().await, 5);
    setting.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_one_that_is_dropped_makes_it_fail() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    drop(lease.stream(ENDLESS, &[]).await.unwrap());
    let error = in_time(Queries::execute(&*lease, "SELECT 1", &[])).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{error}");
    setting.becomes("idle in transaction (aborted)").await;
    lease.batch_execute("ROLLBACK").await.unwrap();
    answers(&lease).await;
    drop(lease);
    setting.ends_well().await;
}

#[tokio::test]
async fn an_error_between_rows_is_the_servers() {
    let setting = Setting::start().await;
    let mut rows = setting.pool.stream("SELECT 1 / (5000 - n) FROM generate_series(1, 9000) n", &[]).await.unwrap();
    let mut count = 0;
    let error = loop {
        match rows.try_next().await {
            Ok(row) => count += usize::from(row.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!((count, error.step()), (4999, QueryStep::Fetch));
    assert_eq!(error.sqlstate(), Some(&SqlState::DIVISION_BY_ZERO));
    assert!(rows.try_next().await.unwrap().is_none(), "once");
    let said = error.to_string();
    assert!(said.starts_with("reading the rows of \"SELECT ? / (? - n) FROM generate_series(?, ?) n\" on "), "{said}");
    setting.ends_well().await;
}

#[tokio::test]
async fn what_is_refused_at_the_beginning_is_said_then() {
    let setting = Setting::start().await;
    let error = setting.pool.stream("SELECT * FROM nowhere", &[]).await.unwrap_err();
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Prepare, Some(&SqlState::UNDEFINED_TABLE)));
    let error = setting.pool.stream("SELECT $1::int", &[&"no number"]).await.unwrap_err();
    assert_eq!((error.step(), error.diagnosis().advice), (QueryStep::Execute, Advice::Never));
    assert!(!error.to_string().contains("no number"), "{error}");
    setting.ends_well().await;
}

#[tokio::test]
async fn a_lost_connection_is_told_with_its_reason() {
    let setting = Setting::start().await;
    let mut rows = setting.pool.stream(ENDLESS, &[]).await.unwrap();
    rows.try_next().await.unwrap().expect("a row");
    setting.signal("pg_terminate_backend").await;
    let error = loop {
        if let Err(error) = in_time(rows.try_next()).await {
            break error;
        }
    };
    // The server says nothing if it is in the middle of a row that nobody reads.
    assert!(error.to_string().contains("57P01") || error.is_closed(), "{error}");
    assert_eq!((error.step(), error.outcome()), (QueryStep::Fetch, Outcome::Unknown));
    drop(rows);
    setting.ends_on_another().await;
}

/// Nobody reads on, and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_leaked_costs_a_connection_and_no_more() {
    let setting = Setting::start().await;
    let mut config = setting.pool.config().as_ref().clone();
    config.reset_timeout = Duration::from_millis(300);
    setting.pool.reconfigure(config).unwrap();
    let lease = setting.pool.acquire().await.unwrap();
    let mut rows = lease.stream(ENDLESS, &[]).await.unwrap();
    rows.try_next().await.unwrap().expect("a row");
    std::mem::forget(rows);
    drop(lease);
    setting.ends_on_another().await;
}
