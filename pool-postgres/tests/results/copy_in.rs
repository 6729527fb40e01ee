//! Data that is copied in.

use bytes::Bytes;
use futures_util::FutureExt;
use pool_postgres::retry::Outcome;
use pool_postgres::{Queries, QueryStep};
use tokio_postgres::error::SqlState;

use crate::setting::{Setting, answers, in_time, until_refused};

const COPY: &str = "COPY t FROM STDIN";

/// The numbers from here to there, a line each.
fn lines(numbers: impl IntoIterator<Item = i32>) -> Bytes {
    numbers.into_iter().fold(String::new(), |lines, number| lines + &number.to_string() + "\n").into()
}

#[tokio::test]
async fn data_may_be_cut_anywhere() {
    let setting = Setting::start().await;
    let data = lines(1..=100_000);
    for piece in [3, 4096, 65_536, data.len()] {
        setting.run("TRUNCATE t").await;
        let mut copy = setting.pool.copy_in(COPY).await.unwrap();
        let mut left = data.clone();
        while !left.is_empty() {
            copy.send(left.split_to(piece.min(left.len()))).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), 100_000);
        assert!(setting.pool.try_acquire().is_ok(), "clean, so idle at once");
        let row = setting.pool.query_one("SELECT sum(n) FROM t", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 5_000_050_000);
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn nothing_may_be_sent() {
    let setting = Setting::start().await;
    let mut copy = setting.pool.copy_in(COPY).await.unwrap();
    copy.send("").await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 0);
    setting.ends_well().await;
}

#[tokio::test]
async fn in_a_transaction_it_counts_with_the_commit() {
    let setting = Setting::start().await;
    let mut lease = setting.pool.acquire().await.unwrap();
    for end in ["ROLLBACK", "COMMIT"] {
        lease.batch_execute("BEGIN").await.unwrap();
        let mut copy = lease.copy_in(COPY).await.unwrap();
        copy.send(lines(1..=5)).await.unwrap();
        assert_eq!(copy.finish().await.unwrap(), 5);
        setting.becomes("idle in transaction").await;
        lease.batch_execute(end).await.unwrap();
        answers(&lease).await;
    }
    drop(lease);
    assert_eq!(setting.rows().await, 5);
    setting.ends_well().await;
}

#[tokio::test]
async fn one_that_is_dropped_has_not_happened() {
    let setting = Setting::start().await;
    for sent in [0, 1, 1000] {
        let mut copy = setting.pool.copy_in(COPY).await.unwrap();
        for _ in 0..sent {
            copy.send(lines(0..100)).await.unwrap();
        }
        drop(copy);
        assert_eq!(in_time(setting.rows()).await, 0);
        let mut lease = setting.pool.acquire().await.unwrap();
        let mut copy = lease.copy_in(COPY).await.unwrap();
        for _ in 0..sent {
            copy.send(lines(0..100)).await.unwrap();
        }
        drop(copy);
        answers(&lease).await;
        setting.becomes("idle").await;
    }
    assert_eq!(setting.rows().await, 0);
    setting.ends_well().await;
}

/// However far it has come, the connection is in step afterwards.
#[tokio::test]
async fn one_whose_beginning_is_dropped_has_not_happened() {
    let setting = Setting::start().await;
    let mut lease = setting.pool.acquire().await.unwrap();
    for polls in 0..20 {
        {
            let mut beginning = Box::pin(lease.copy_in(COPY));
            for _ in 0..polls {
                if (&mut beginning).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        answers(&lease).await;
    }
    drop(lease);
    assert_eq!(setting.rows().await, 0);
    setting.ends_well().await;
}

/// Half of what was to be sent is as bad as nothing.
#[tokio::test]
async fn data_of_which_a_part_was_sent_spoils_it() {
    let setting = Setting::start().await;
    let mut copy = setting.pool.copy_in(COPY).await.unwrap();
    // More than there is room for before the session's task has had a turn.
    assert!(copy.send(lines((0..1_000_000).map(|_| 1))).now_or_never().is_none());
    let error = in_time(copy.send("2\n")).await.unwrap_err();
    assert!(error.to_string().contains("only a part of some data was sent"), "{error}");
    assert_eq!(in_time(copy.finish()).await.unwrap_err().outcome(), Outcome::NotDone);
    assert_eq!(in_time(setting.rows()).await, 0);
    setting.ends_well().await;
}

#[tokio::test]
async fn an_end_that_is_dropped_may_have_been_told() {
    let setting = Setting::start().await;
    let mut all = 0;
    for polls in 0..8 {
        let mut copy = setting.pool.copy_in(COPY).await.unwrap();
        copy.send(lines(1..=2)).await.unwrap();
        {
            let mut finishing = Box::pin(copy.finish());
            for _ in 0..polls {
                if (&mut finishing).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let rows = in_time(setting.rows()).await;
        assert!(rows == all || rows == all + 2, "all or nothing: {rows} after {all}");
        all = rows;
    }
    assert!(all > 0);
    setting.ends_well().await;
}

#[tokio::test]
async fn a_lost_connection_is_told_with_its_reason() {
    let setting = Setting::start().await;
    let mut copy = setting.pool.copy_in(COPY).await.unwrap();
    copy.send(lines(1..=5)).await.unwrap();
    setting.signal("pg_terminate_backend").await;
    let error = until_refused(&mut copy, lines(0..10_000)).await;
    // What the server says last is lost if it has not read everything.
    assert!(error.to_string().contains("57P01") || error.is_closed(), "{error}");
    assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone), "its end was never told");
    assert!(in_time(copy.finish()).await.is_err());
    setting.ends_on_another().await;
}

#[tokio::test]
async fn one_that_is_cancelled_says_so() {
    let setting = Setting::start().await;
    let mut copy = setting.pool.copy_in(COPY).await.unwrap();
    copy.send(lines(1..=5)).await.unwrap();
    setting.signal("pg_cancel_backend").await;
    let error = until_refused(&mut copy, lines(0..10_000)).await;
    assert_eq!(error.sqlstate(), Some(&SqlState::QUERY_CANCELED), "{error}");
    drop(copy);
    assert_eq!(setting.rows().await, 0);
    setting.ends_well().await;
}

#[tokio::test]
async fn what_is_no_copy_is_told() {
    let setting = Setting::start().await;
    setting.run("INSERT INTO t VALUES (1)").await;
    let mut lease = setting.pool.acquire().await.unwrap();
    let others = ["SELECT n FROM t", "COPY t TO STDOUT", "INSERT INTO t VALUES (2)", ""];
    for sql in others {
        let error = in_time(lease.copy_in(sql)).await.unwrap_err();
        assert!(error.to_string().contains("it is no COPY ... FROM STDIN"), "{error}");
        answers(&lease).await;
    }
    let error = in_time(lease.copy_in("SELECT $1::int")).await.unwrap_err();
    assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone), "{error}");
    // Nothing is left of what was expected.
    answers(&lease).await;
    Queries::batch_execute(&*lease, "BEGIN; COMMIT").await.unwrap();
    drop(lease);
    setting.ends_well().await;
}
