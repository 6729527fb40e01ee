//! What a query that nobody traces does not do: read its statement.
//!
//! A binary of its own, because an allocator that counts is every test's allocator. It counts by thread.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use pool_postgres::{PostgresConfig, PostgresPool};
use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres};
use tokio::runtime::{Builder, Runtime};

/// So many tables that to name them takes an allocation for each.
const TABLES: usize = 24;

/// Allocations by queries with this text, with those of the connection's task, which is in the same thread.
fn allocations(runtime: &Runtime, pool: &PostgresPool, sql: &str) -> u64 {
    let ask = || runtime.block_on(async { pool.query(sql, &[]).await.map(drop).unwrap() });
    // Prepared, and all buffers as large as they have to be.
    (0..10).for_each(|_| ask());
    allocation_counter::measure(|| (0..10).for_each(|_| ask())).count_total / 10
}

#[test]
fn a_query_that_nobody_traces_is_not_read_to_be_named() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let database = EphemeralPostgres::shared().and_then(SharedPostgres::create_database).unwrap();
    // Nobody listens for secrets, as all other suites do: that is a subscriber.
    let config: PostgresConfig = format!("{}?pool_max_conns=1", database.url()).parse().unwrap();
    let pool = runtime.block_on(PostgresPool::connect(config)).unwrap();
    let joins: Vec<_> = (1..TABLES).map(|n| format!("JOIN pg_am AS t{n} ON false")).collect();
    let many = format!("SELECT 1 FROM pg_am AS t0 {}", joins.join(" "));
    let one = "SELECT 1 FROM pg_am LIMIT 0";
    let (of_many, of_one) = (allocations(&runtime, &pool, &many), allocations(&runtime, &pool, one));
    println!("{of_many} allocations with {TABLES} tables, {of_one} with one");
    assert!(of_many < of_one + TABLES as u64 / 2, "{of_many} allocations with {TABLES} tables, {of_one} with one");
}
