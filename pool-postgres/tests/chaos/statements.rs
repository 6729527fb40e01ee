//! F132 to F134: statements that are out of date, that somebody has dropped, and of which there are very many.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use pool_postgres::tokio_postgres::Client;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresConnection, Queries};

use crate::asking::{eventually, in_time};
use crate::common::{Chaos, table};
use crate::invariants;

/// A table of one row and one column.
async fn one_row(chaos: &Chaos) -> String {
    let table = table(chaos).await;
    chaos.watch.run(&format!("INSERT INTO {table} VALUES (1)")).await;
    table
}

/// How many columns there were at least when the question was asked, and how often it has been.
#[derive(Default)]
struct Progress {
    columns: AtomicUsize,
    reads: AtomicUsize,
    ends: AtomicBool,
}

/// Somebody who reads, until there is nothing more to come.
async fn read(chaos: &Chaos, table: &str, progress: &Progress) {
    while !progress.ends.load(Ordering::Relaxed) {
        let least = progress.columns.load(Ordering::Relaxed);
        let asked = chaos.pool.query_one(format!("SELECT * FROM {table}"), &[]);
        let row = in_time("an answer", asked).await.expect("a row");
        assert!(row.len() >= least, "{} of {least} columns", row.len());
        progress.reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn f132_a_table_that_is_altered_under_its_readers_is_read_as_it_is_now() {
    const SIZE: usize = 3;
    let chaos = Chaos::start(SIZE).await;
    let (table, progress) = (one_row(&chaos).await, Progress::default());
    let readers = join_all((0..8).map(|_| read(&chaos, &table, &progress)));
    let altering = async {
        for columns in 2..=6 {
            // By then all sessions have prepared it.
            let reads = progress.reads.load(Ordering::Relaxed);
            eventually("they read", async || progress.reads.load(Ordering::Relaxed) > reads + 100).await;
            chaos.watch.run(&format!("ALTER TABLE {table} ADD c{columns} int")).await;
            progress.columns.store(columns, Ordering::Relaxed);
            let healed = || chaos.pool.driver().statements().healed;
            eventually("each session finds out", async || healed() >= ((columns - 1) * SIZE) as u64).await;
        }
        progress.ends.store(true, Ordering::Relaxed);
    };
    tokio::join!(readers, altering);
    assert_eq!(chaos.pool.driver().statements().healed, 5 * SIZE as u64, "once each time");
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (SIZE as u64, 0), "{stats:?}");
}

#[tokio::test]
async fn f132_in_a_transaction_it_is_an_error_and_afterwards_it_is_not() {
    let mut chaos = Chaos::start(1).await;
    let table = one_row(&chaos).await;
    let sql = format!("SELECT * FROM {table}");
    let lease = chaos.pool.acquire_owned().await.unwrap();
    assert_eq!(Queries::query_one(&*lease, sql.as_str(), &[]).await.unwrap().len(), 1);
    chaos.watch.run(&format!("ALTER TABLE {table} ADD m int")).await;
    lease.batch_execute("BEGIN").await.unwrap();
    let error = Queries::query(&*lease, sql.as_str(), &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{error}");
    chaos.note(&error);
    lease.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(Queries::query_one(&*lease, sql.as_str(), &[]).await.unwrap().len(), 2);
    drop(lease);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
}

/// Asks three things, each by a statement of its own.
async fn ask(connection: &PostgresConnection, user: i32) {
    for n in 0..3 {
        let sql = format!("SELECT {n} + $1::int");
        let row = in_time("an answer", Queries::query_one(connection, sql, &[&user])).await.expect("a row");
        assert_eq!(row.get::<_, i32>(0), n + user);
    }
}

/// Each asks, drops what has been prepared, and asks again. The client itself may have prepared something, so that such a session ends with its lease.
#[tokio::test]
async fn f133_statements_that_users_drop_are_prepared_again() {
    const SIZE: usize = 2;
    let chaos = Chaos::start(SIZE).await;
    let users = (0..6).map(async |user: i32| {
        for forget in ["DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS"].repeat(2) {
            let lease = chaos.served().await;
            ask(&lease, user).await;
            lease.batch_execute(forget).await.unwrap();
            ask(&lease, user).await;
            // They are dropped once, and known from then on.
            ask(&lease, user).await;
        }
    });
    join_all(users).await;
    let statements = chaos.pool.driver().statements();
    assert_eq!(statements.healed, 24, "one of three finds out, and not for plans: {statements:?}");
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.broken, 24, "{stats:?}");
}

/// What the server has prepared for a session, but for this question itself.
const PREPARED: &str =
    "SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'";

#[tokio::test]
async fn f134_very_many_statements_take_no_more_room_than_there_is() {
    const ROOM: usize = 10;
    const STATEMENTS: u64 = 1_000;
    let chaos = Chaos::with(1, |config| (config.statements.cache, config.statements.warm) = (ROOM, 0)).await;
    for n in 0..STATEMENTS {
        let row = in_time("an answer", chaos.pool.query_one(format!("SELECT '{n}'"), &[])).await.unwrap();
        assert_eq!(row.get::<_, String>(0), n.to_string());
        if n % 100 == 0 {
            let lease = chaos.served().await;
            // By the client's own method, which closes it again.
            let client: &Client = &lease;
            let on_server: i64 = client.query_one(PREPARED, &[]).await.unwrap().get(0);
            assert!(usize::try_from(on_server).unwrap() <= ROOM, "{on_server} after {n}");
            assert!(lease.prepared_statements() <= ROOM, "{} after {n}", lease.prepared_statements());
        }
    }
    let statements = chaos.pool.driver().statements();
    let expected = (STATEMENTS, STATEMENTS - ROOM as u64);
    assert_eq!((statements.prepared, statements.evicted), expected, "{statements:?}");
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
}
