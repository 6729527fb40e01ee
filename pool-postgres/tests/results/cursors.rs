//! Rows that are asked for in batches.

use futures_util::{FutureExt, TryStreamExt};
use pool_postgres::retry::Outcome;
use pool_postgres::{Cursor, Queries, Query, QueryStep};
use tokio_postgres::error::SqlState;

use crate::setting::{Setting, answers, in_time};

const NUMBERS: &str = "SELECT n FROM generate_series(1, $1::int) n";

/// The sizes of the batches, and the sum of all.
async fn read(cursor: &mut Cursor<'_>) -> (Vec<usize>, i64) {
    let (mut sizes, mut sum) = (Vec::new(), 0);
    while let Some(batch) = in_time(cursor.fetch()).await.unwrap() {
        sizes.push(batch.len());
        sum += batch.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum::<i64>();
    }
    (sizes, sum)
}

#[tokio::test]
async fn batches_are_as_large_as_agreed_on() {
    let setting = Setting::start().await;
    for (rows, expected) in [(0, vec![]), (1, vec![1]), (99, vec![99]), (100, vec![100]), (250, vec![100, 100, 50])] {
        let mut cursor = setting.pool.fetch_in_batches(NUMBERS, &[&rows], 100).await.unwrap();
        assert_eq!(read(&mut cursor).await, (expected, i64::from(rows) * i64::from(rows + 1) / 2), "{rows}");
        // Committed and given back, though the cursor is still there.
        drop(in_time(setting.pool.acquire()).await.unwrap());
        assert!(cursor.fetch().await.unwrap().is_none());
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn rows_come_one_by_one_too() {
    let setting = Setting::start().await;
    let rows = setting.pool.fetch_in_batches(NUMBERS, &[&1000], 7).await.unwrap().rows();
    let rows: Vec<_> = rows.map_ok(|row| row.get::<_, i32>(0)).try_collect().await.unwrap();
    assert_eq!(rows, (1..=1000).collect::<Vec<_>>());
    setting.ends_well().await;
}

#[tokio::test]
async fn other_things_may_be_asked_between_batches() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    let mut cursor = lease.cursor(NUMBERS, &[&30], 10).await.unwrap();
    let mut other = lease.cursor("VALUES (1), (2), (3)", &[], 2).await.unwrap();
    assert_eq!(cursor.fetch().await.unwrap().unwrap().len(), 10);
    Queries::execute(&*lease, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
    assert_eq!(read(&mut other).await, (vec![2, 1], 6));
    assert_eq!(read(&mut cursor).await, (vec![10, 10], 410));
    setting.becomes("idle in transaction").await;
    lease.batch_execute("COMMIT").await.unwrap();
    drop((cursor, other));
    drop(lease);
    assert_eq!(setting.rows().await, 1);
    setting.ends_well().await;
}

#[tokio::test]
async fn one_that_is_closed_is_gone() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    let open = async || lease.query_one("SELECT count(*) FROM pg_cursors WHERE name LIKE 'pool%'", &[]).await.unwrap();
    let mut cursor = lease.cursor(NUMBERS, &[&30], 10).await.unwrap();
    cursor.fetch().await.unwrap();
    assert_eq!(open().await.get::<_, i64>(0), 1);
    cursor.close().await.unwrap();
    assert_eq!(open().await.get::<_, i64>(0), 0);
    lease.batch_execute("COMMIT").await.unwrap();
    drop(lease);
    setting.pool.fetch_in_batches(NUMBERS, &[&30], 10).await.unwrap().close().await.unwrap();
    setting.ends_well().await;
}

#[tokio::test]
async fn its_transaction_only_reads_and_is_planned_for_all_rows() {
    let setting = Setting::start().await;
    let mut cursor = setting.pool.fetch_in_batches("SELECT nextval('s')", &[], 1).await;
    assert_eq!(cursor.unwrap_err().sqlstate(), Some(&SqlState::UNDEFINED_TABLE));
    setting.run("CREATE SEQUENCE s").await;
    cursor = setting.pool.fetch_in_batches("SELECT nextval('s')", &[], 1).await;
    let error = cursor.unwrap().fetch().await.unwrap_err();
    assert_eq!((error.step(), error.outcome()), (QueryStep::Fetch, Outcome::NotDone));
    assert_eq!(error.sqlstate(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{error}");
    let fraction = "SELECT current_setting('cursor_tuple_fraction')";
    let mut cursor = setting.pool.fetch_in_batches(fraction, &[], 5).await.unwrap();
    assert_eq!(cursor.fetch().await.unwrap().unwrap()[0].get::<_, &str>(0), "1");
    let row = setting.pool.query_one(fraction, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "0.1", "for this transaction alone");
    setting.ends_well().await;
}

#[tokio::test]
async fn wrong_use_is_told() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    let error = lease.cursor(NUMBERS, &[&1], 10).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION), "{error}");
    lease.batch_execute("BEGIN").await.unwrap();
    for size in [0, u32::MAX] {
        let error = lease.cursor(NUMBERS, &[&1], size).await.unwrap_err().to_string();
        assert!(error.contains(&format!("a batch has 1 to 2147483647 rows, not {size}")), "{error}");
    }
    let error = lease.cursor("INSERT INTO t VALUES (1) RETURNING n", &[], 10).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::SYNTAX_ERROR), "{error}");
    drop(lease);
    setting.ends_well().await;
}

/// The rows of a batch that nobody has waited for are not skipped without a word.
#[tokio::test]
async fn a_batch_that_is_lost_is_missed() {
    let setting = Setting::start().await;
    let mut cursor = setting.pool.fetch_in_batches(NUMBERS, &[&30], 10).await.unwrap();
    assert!(cursor.fetch().now_or_never().is_none(), "the server is asked");
    let error = cursor.fetch().await.unwrap_err();
    assert!(error.to_string().contains("its rows are lost"), "{error}");
    assert!(cursor.fetch().await.unwrap().is_none());
    setting.ends_well().await;
}

#[tokio::test]
async fn one_that_is_dropped_halfway_leaves_nothing() {
    let setting = Setting::start().await;
    let mut cursor = setting.pool.fetch_in_batches(NUMBERS, &[&30], 10).await.unwrap();
    assert!(cursor.fetch().await.unwrap().is_some());
    setting.becomes("idle in transaction").await;
    drop(cursor);
    setting.becomes("idle").await;
    let mut rows = setting.pool.fetch_in_batches(NUMBERS, &[&30], 10).await.unwrap().rows();
    for _ in 0..15 {
        rows.try_next().await.unwrap().expect("a row");
    }
    drop(rows);
    setting.ends_well().await;
}

#[tokio::test]
async fn an_error_in_a_batch_ends_it() {
    let setting = Setting::start().await;
    let sql = "SELECT 1 / (15 - n) FROM generate_series(1, 30) n";
    let mut cursor = setting.pool.fetch_in_batches(sql, &[], 10).await.unwrap();
    assert!(cursor.fetch().await.unwrap().is_some());
    let error = cursor.fetch().await.unwrap_err();
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Fetch, Some(&SqlState::DIVISION_BY_ZERO)));
    assert!(cursor.fetch().await.unwrap().is_none());
    let lease = in_time(setting.pool.acquire()).await.unwrap();
    answers(&lease).await;
    drop(lease);
    setting.ends_well().await;
}

#[tokio::test]
async fn a_lost_connection_is_told() {
    let setting = Setting::start().await;
    let mut cursor = setting.pool.fetch_in_batches(NUMBERS, &[&30], 10).await.unwrap();
    assert!(cursor.fetch().await.unwrap().is_some());
    setting.signal("pg_terminate_backend").await;
    let error = in_time(cursor.fetch()).await.unwrap_err();
    assert!(error.to_string().contains("57P01"), "{error}");
    drop(cursor);
    setting.ends_on_another().await;
}

/// What the client does not know of a type it asks for before there are rows, or it would wait for itself.
#[tokio::test]
async fn columns_of_types_that_the_database_defines_are_read() {
    let setting = Setting::start().await;
    setting.pool.batch_execute("CREATE TYPE mood AS ENUM ('calm', 'busy')").await.unwrap();
    let query = "SELECT 'calm'::mood, repeat('x', 1000) FROM generate_series(1, 1000)";
    let mut cursor = in_time(setting.pool.fetch_in_batches(query, &[], 600)).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = in_time(cursor.fetch()).await.unwrap() {
        rows += batch.len();
    }
    assert_eq!(rows, 1000);
    let unprepared = Query::new("SELECT 'busy'::mood, repeat('x', 1000) FROM generate_series(1, 1000)").unprepared();
    assert_eq!(in_time(setting.pool.query(unprepared, &[])).await.unwrap().len(), 1000);
    setting.ends_well().await;
}
