//! Rows in the binary format, in and out.

use futures_util::{FutureExt, TryStreamExt};
use pool_postgres::{CopiedRow, QueryStep};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::setting::{Setting, answers, in_time};

const IN: &str = "COPY pairs FROM STDIN (FORMAT binary)";
const OUT: &str = "COPY (SELECT * FROM pairs ORDER BY id) TO STDOUT (FORMAT binary)";
const TYPES: [Type; 2] = [Type::INT8, Type::TEXT];

fn pair(row: &CopiedRow) -> (i64, Option<String>) {
    (row.try_get(0).unwrap(), row.try_get(1).unwrap())
}

async fn start() -> Setting {
    let setting = Setting::start().await;
    setting.run("CREATE TABLE pairs (id bigint, name text)").await;
    setting
}

#[tokio::test]
async fn what_is_written_is_read() {
    let setting = start().await;
    let name = |id: i64| (id % 3 > 0).then(|| "x".repeat(usize::try_from(id % 1000).unwrap()));
    for count in [0, 1, 20_000] {
        setting.run("TRUNCATE pairs").await;
        let mut rows = setting.pool.copy_in_rows(IN, &TYPES).await.unwrap();
        for id in 0..count {
            rows.write(&[&id, &name(id)]).await.unwrap();
        }
        assert_eq!(rows.finish().await.unwrap(), u64::try_from(count).unwrap());
        let mut rows = setting.pool.copy_out_rows(OUT, &TYPES).await.unwrap();
        for id in 0..count {
            let row = rows.try_next().await.unwrap().expect("a row");
            assert_eq!((row.len(), pair(&row)), (2, (id, name(id))));
        }
        assert!(rows.try_next().await.unwrap().is_none());
        assert!(setting.pool.try_acquire().is_ok(), "clean, so idle at once");
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_sent_is_left_out() {
    let setting = start().await;
    let mut rows = setting.pool.copy_in_rows(IN, &TYPES).await.unwrap();
    rows.write(&[&1_i64, &"ada"]).await.unwrap();
    let error = rows.write(&[&2_i64]).await.unwrap_err();
    assert!(error.to_string().contains("a row has 2 values, not 1"), "{error}");
    let error = rows.write(&[&3_i64, &7.5_f64]).await.unwrap_err();
    assert!(error.to_string().contains("value 1 of a row cannot be sent"), "{error}");
    rows.write(&[&4_i64, &None::<&str>]).await.unwrap();
    assert_eq!(rows.finish().await.unwrap(), 2);
    let rows = setting.pool.copy_out_rows(OUT, &TYPES).await.unwrap();
    let rows: Vec<_> = rows.try_collect().await.unwrap();
    assert_eq!(rows.iter().map(pair).collect::<Vec<_>>(), [(1, Some("ada".to_owned())), (4, None)]);
    assert!(rows[0].try_get::<i32>(0).is_err() && rows[0].try_get::<i64>(2).is_err());
    assert!(rows[1].try_get::<&str>(1).is_err(), "null");
    setting.ends_well().await;
}

/// A row is in if its future has ended, and is not if that was dropped.
#[tokio::test]
async fn a_row_whose_future_is_dropped_is_not_in() {
    let setting = start().await;
    let mut rows = setting.pool.copy_in_rows(IN, &TYPES).await.unwrap();
    let (text, mut written, mut dropped) = ("x".repeat(10_000), 0, 0);
    for id in 0_i64..2000 {
        if let Some(outcome) = rows.write(&[&id, &text]).now_or_never() {
            outcome.unwrap();
            written += 1;
        } else {
            dropped += 1;
            tokio::task::yield_now().await;
        }
    }
    assert!(dropped > 0, "it never had to wait");
    assert_eq!(in_time(rows.finish()).await.unwrap(), written);
    setting.ends_well().await;
}

#[tokio::test]
async fn types_that_are_not_the_columns_are_refused() {
    let setting = start().await;
    let mut rows = setting.pool.copy_in_rows(IN, &[Type::INT8, Type::BYTEA]).await.unwrap();
    rows.write(&[&1_i64, &&b"\xff"[..]]).await.unwrap();
    let error = in_time(rows.finish()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE), "{error}");
    let mut rows = setting.pool.copy_in_rows(IN, &[Type::INT8]).await.unwrap();
    rows.write(&[&1_i64]).await.unwrap();
    let error = in_time(rows.finish()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::BAD_COPY_FILE_FORMAT), "{error}");
    setting.ends_well().await;
}

#[tokio::test]
async fn another_format_is_told() {
    let setting = start().await;
    let lease = setting.pool.acquire().await.unwrap();
    for (sql, said) in [
        ("COPY (SELECT 1, 'x' FROM generate_series(1, 100000)) TO STDOUT", "not in the binary format"),
        ("COPY pairs TO STDOUT", "the data has no end"),
        ("COPY (SELECT 1 FROM generate_series(1, 100000)) TO STDOUT (FORMAT binary)", "no row with as many values"),
    ] {
        let mut rows = lease.copy_out_rows(sql, &TYPES).await.unwrap();
        let error = in_time(rows.try_next()).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.step(), QueryStep::Copy);
        assert!(rows.try_next().await.unwrap().is_none());
        drop(rows);
        answers(&lease).await;
    }
    drop(lease);
    setting.ends_well().await;
}
