//! Data that is copied out.

use futures_util::TryStreamExt;
use pool_postgres::retry::Outcome;
use pool_postgres::{CopyOut, QueryError, QueryStep};
use tokio_postgres::error::SqlState;

use crate::setting::{Setting, answers, in_time};

const ENDLESS: &str = "COPY (SELECT generate_series(1, 1000000000::bigint)) TO STDOUT";

/// How many lines there were, and how it ended.
async fn read(data: &mut CopyOut<'_>) -> (usize, Result<(), QueryError>) {
    let mut lines = 0;
    loop {
        match in_time(data.try_next()).await {
            Ok(Some(piece)) => lines += piece.split(|byte| *byte == b'\n').count() - 1,
            Ok(None) => return (lines, Ok(())),
            Err(error) => return (lines, Err(error)),
        }
    }
}

#[tokio::test]
async fn all_of_it_comes_and_the_connection_goes_back() {
    let setting = Setting::start().await;
    setting.run("INSERT INTO t SELECT generate_series(1, 100000)").await;
    let mut data = setting.pool.copy_out("COPY t TO STDOUT (FORMAT csv, HEADER)").await.unwrap();
    let (lines, end) = read(&mut data).await;
    assert!(lines == 100_001 && end.is_ok(), "{lines}");
    assert!(setting.pool.try_acquire().is_ok(), "clean, so idle at once, though the stream is still there");
    assert!(data.try_next().await.unwrap().is_none());
    setting.run("TRUNCATE t").await;
    let mut data = setting.pool.copy_out("COPY t TO STDOUT").await.unwrap();
    assert!(data.try_next().await.unwrap().is_none());
    setting.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_halfway_is_cancelled() {
    let setting = Setting::start().await;
    for taken in [0, 1, 1000] {
        let mut data = setting.pool.copy_out(ENDLESS).await.unwrap();
        for _ in 0..taken {
            data.try_next().await.unwrap().expect("a line");
        }
        drop(data);
        assert_eq!(in_time(setting.rows()).await, 0);
        let lease = setting.pool.acquire().await.unwrap();
        let mut data = lease.copy_out(ENDLESS).await.unwrap();
        for _ in 0..taken {
            data.try_next().await.unwrap().expect("a line");
        }
        drop(data);
        answers(&lease).await;
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn an_error_in_the_middle_is_the_servers() {
    let setting = Setting::start().await;
    let sql = "COPY (SELECT 1 / (5000 - n) FROM generate_series(1, 9000) n) TO STDOUT";
    let mut data = setting.pool.copy_out(sql).await.unwrap();
    let (lines, end) = read(&mut data).await;
    let error = end.unwrap_err();
    assert_eq!((lines, error.step()), (4999, QueryStep::Copy));
    assert_eq!(error.sqlstate(), Some(&SqlState::DIVISION_BY_ZERO), "{error}");
    assert!(data.try_next().await.unwrap().is_none(), "once");
    setting.ends_well().await;
}

/// All of the data has come when the server commits, and finds out that it cannot.
#[tokio::test]
async fn what_the_commit_refuses_is_told() {
    let setting = Setting::start().await;
    setting.run("ALTER TABLE t ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED").await;
    let sql = "COPY (INSERT INTO t VALUES (1), (1) RETURNING n) TO STDOUT";
    let mut data = setting.pool.copy_out(sql).await.unwrap();
    let (lines, end) = read(&mut data).await;
    let error = end.unwrap_err();
    assert_eq!((lines, error.sqlstate()), (2, Some(&SqlState::UNIQUE_VIOLATION)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotDone);
    assert_eq!(setting.rows().await, 0);
    setting.ends_well().await;
}

#[tokio::test]
async fn a_lost_connection_is_told_with_its_reason() {
    let setting = Setting::start().await;
    let mut data = setting.pool.copy_out(ENDLESS).await.unwrap();
    data.try_next().await.unwrap().expect("a line");
    setting.signal("pg_terminate_backend").await;
    let error = read(&mut data).await.1.unwrap_err();
    // What the server says last is lost if it has not read everything.
    assert!(error.to_string().contains("57P01") || error.is_closed(), "{error}");
    setting.ends_on_another().await;
}

#[tokio::test]
async fn what_is_no_copy_is_told() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    for sql in ["SELECT 1", "INSERT INTO t VALUES (1)", ""] {
        let error = in_time(lease.copy_out(sql)).await.unwrap_err();
        assert!(error.to_string().contains("it is no COPY ... TO STDOUT"), "{error}");
        answers(&lease).await;
    }
    drop(lease);
    let error = in_time(setting.pool.copy_out("COPY nowhere TO STDOUT")).await.unwrap_err();
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Copy, Some(&SqlState::UNDEFINED_TABLE)));
    setting.ends_well().await;
}

/// The server would wait for data for ever: the session is ended, for its user at once.
#[tokio::test]
async fn one_of_the_other_direction_ends_the_session() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    let error = in_time(lease.copy_out("COPY t FROM STDIN")).await.unwrap_err();
    assert!(error.to_string().contains("it is no COPY ... TO STDOUT"), "{error}");
    assert!(in_time(lease.query_one("SELECT 1", &[])).await.unwrap_err().is_closed());
    drop(lease);
    setting.ends_on_another().await;
}
