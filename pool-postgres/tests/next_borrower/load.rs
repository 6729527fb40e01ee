//! Futures that are dropped at any moment, under load. Nobody sees anything of anybody else, and no session is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use pool_postgres::{PostgresConnection, PostgresPool, Query};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::common::{config, database, sessions_on_server, watcher};
use crate::leftovers::is_in_transaction;

type Error = Box<dyn std::error::Error + Send + Sync>;

const SESSIONS: usize = 4;
const USERS: u64 = 8;

pub(crate) fn drops() -> u64 {
    let number = std::env::var("POOL_DROPS").ok();
    number.map_or(200, |number| number.parse().expect("POOL_DROPS is a number"))
}

/// Numbers that look like chance, and are the same each time.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One of the things that a borrower may be at when he goes.
async fn work(connection: &mut PostgresConnection, marker: &str, kind: u64) -> Result<(), Error> {
    match kind {
        0 => read(connection, marker).await,
        1 => begin(connection, marker).await,
        2 => copy_out(connection).await,
        3 => copy_in(connection).await,
        4 => {
            join_all((0..3).map(|_| connection.query_one("SELECT pg_sleep(0.002)", &[]))).await;
            Ok(())
        }
        8 => limited(connection, marker).await,
        9 => stream(connection, marker).await,
        other => Ok(connection.batch_execute(&statements(marker, other)).await?),
    }
}

async fn read(connection: &PostgresConnection, marker: &str) -> Result<(), Error> {
    let many = "SELECT $1::text || n FROM generate_series(1, 20000) n";
    let rows = connection.query(many, &[&marker]).await?;
    assert!(rows.iter().all(|row| row.get::<_, &str>(0).starts_with(marker)), "rows of somebody else");
    Ok(())
}

/// As the pool asks: what is dropped is cancelled, and what takes too long.
async fn limited(connection: &PostgresConnection, marker: &str) -> Result<(), Error> {
    let query = Query::new("SELECT $1::text FROM pg_sleep(0.003)").timeout(Duration::from_millis(4));
    match pool_postgres::Queries::query_one(connection, query, &[&marker]).await {
        Ok(row) => assert_eq!(row.get::<_, &str>(0), marker, "rows of somebody else"),
        Err(error) => assert!(error.is_timeout(), "the error of somebody else: {error}"),
    }
    Ok(())
}

async fn stream(connection: &PostgresConnection, marker: &str) -> Result<(), Error> {
    let rows = connection.stream("SELECT $1::text || n FROM generate_series(1, 20000) n", &[&marker]).await?;
    let is_ours = |row: Row| row.get::<_, &str>(0).starts_with(marker);
    let others = rows.try_fold(0, async |others, row| Ok(others + u32::from(!is_ours(row)))).await?;
    assert_eq!(others, 0, "rows of somebody else");
    Ok(())
}

async fn begin(connection: &mut PostgresConnection, marker: &str) -> Result<(), Error> {
    let transaction = connection.transaction().await?;
    transaction.execute("INSERT INTO t VALUES ($1)", &[&marker]).await?;
    transaction.batch_execute("SELECT pg_sleep(0.005)").await?;
    Ok(transaction.rollback().await?)
}

async fn copy_out(connection: &PostgresConnection) -> Result<(), Error> {
    let rows = connection.copy_out("COPY (SELECT 1 FROM generate_series(1, 200000)) TO STDOUT").await?;
    Ok(rows.try_for_each(async |_| Ok(())).await?)
}

/// Goes before the end.
async fn copy_in(connection: &mut PostgresConnection) -> Result<(), Error> {
    let mut sink = connection.copy_in("COPY t FROM STDIN").await?;
    for _ in 0..100 {
        sink.send("never\n".repeat(1000)).await?;
    }
    tokio::task::yield_now().await;
    Ok(())
}

/// What leaves something behind: what is set and listened to and a transaction, what code does that fails, a temporary table.
fn statements(marker: &str, kind: u64) -> String {
    match kind {
        5 => format!(
            "SET app.marker = '{marker}'; LISTEN \"{marker}\"; BEGIN; INSERT INTO t VALUES ('{marker}'); SELECT pg_sleep(0.01)"
        ),
        6 => {
            format!("DO $$ BEGIN RAISE NOTICE '{marker}'; PERFORM pg_sleep(0.003); RAISE EXCEPTION '{marker}'; END $$")
        }
        _ => "CREATE TEMP TABLE mine (n int); SELECT pg_sleep(0.005)".to_owned(),
    }
}

const LOOK: &str = "SELECT coalesce(current_setting('app.marker', true), ''), (SELECT count(*) FROM pg_listening_channels()), \
    pg_current_xact_id_if_assigned() IS NULL, (SELECT count(*) FROM t), \
    (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), $1::text";

/// Nothing of anybody else is there, and what is asked is answered.
async fn look(connection: &PostgresConnection, marker: &str) {
    assert!(!is_in_transaction(connection).await, "inside somebody else's transaction");
    let row = connection.query_one(LOOK, &[&marker]).await.expect("nobody else's error");
    let left = (row.get::<_, &str>(0), row.get::<_, i64>(1), row.get::<_, bool>(2), row.get(3), row.get(4), row.get(5));
    assert_eq!(left, ("", 0, true, 0_i64, 0_i64, marker));
    let fails = format!("DO $$ BEGIN RAISE EXCEPTION 'of {marker}'; END $$");
    let error = connection.batch_execute(&fails).await.unwrap_err();
    assert_eq!(error.as_db_error().map(tokio_postgres::error::DbError::message), Some(&*format!("of {marker}")));
}

/// Borrows again and again, and drops what is under way.
async fn borrow(pool: PostgresPool, user: u64, left: Arc<AtomicU64>) -> u64 {
    let (mut chance, mut dropped) = (Chance(0x5eed + user), 0);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let marker = format!("user {user}, {dropped}, {}", chance.below(1 << 40));
        let mut lease = pool.acquire_owned().await.expect("a session");
        look(&lease, &marker).await;
        let moment = Duration::from_micros(chance.below(12_000));
        let outcome = timeout(moment, work(&mut lease, &marker, chance.below(10))).await;
        if let Ok(Err(error)) = &outcome {
            let of_server = error.downcast_ref::<tokio_postgres::Error>();
            let error = of_server.unwrap_or_else(|| panic!("no error of the server: {error}"));
            let said = error.as_db_error().map(tokio_postgres::error::DbError::message);
            assert_eq!(said, Some(marker.as_str()), "the error of somebody else: {error}");
        }
        dropped += u64::from(outcome.is_err());
    }
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_dropped_at_whatever_moment_nobody_else_sees_it() {
    let database = database();
    let mut config = config(database.url(), SESSIONS);
    // However slow the machine is.
    (config.pool.reset_timeout, config.pool.acquire_timeout) = (Duration::from_mins(2), Duration::from_mins(2));
    config.limits.cancel_timeout = Duration::from_mins(2);
    let pool = PostgresPool::connect(config).await.unwrap();
    let setup = "CREATE TABLE t (marker text)";
    pool.acquire().await.unwrap().batch_execute(setup).await.unwrap();
    let left = Arc::new(AtomicU64::new(drops()));
    let users = (0..USERS).map(|user| tokio::spawn(borrow(pool.clone(), user, Arc::clone(&left))));
    let dropped: u64 = join_all(users).await.into_iter().map(|user| user.expect("nobody has seen anything")).sum();
    println!("{dropped} of {} futures were dropped before they had ended", drops());
    assert!(dropped >= drops() / 4, "{dropped}");
    let leases = join_all((0..SESSIONS).map(|_| pool.acquire())).await;
    for lease in leases {
        look(&lease.unwrap(), "the last").await;
    }
    let stats = pool.stats();
    assert_eq!((stats.broken, stats.errors.resets), (0, 0), "no session is lost: {stats:?}");
    assert!(stats.opened <= SESSIONS as u64, "{stats:?}");
    let watch = watcher(&database).await;
    assert_eq!(sessions_on_server(&watch, database.name()).await, i64::try_from(stats.opened).unwrap());
    pool.disconnect().await;
}
