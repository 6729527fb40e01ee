//! Statements: prepared once, bounded, healed, and sent with their text where nothing can be kept.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
#[allow(dead_code)] // others need more of it
mod common;

#[path = "statements/dropped.rs"]
mod dropped;
#[path = "statements/healing.rs"]
mod healing;
#[path = "statements/kept.rs"]
mod kept;
#[path = "statements/proxied.rs"]
mod proxied;

use pool_postgres::{PostgresConfig, PostgresConnection, PostgresPool, StatementSettings};
use pool_testkit::postgres::TestDatabase;

/// A database of the test's own, and a pool on it with such statements.
async fn pool(max_conns: usize, change: impl FnOnce(&mut StatementSettings)) -> (TestDatabase, PostgresPool) {
    let database = common::database();
    let mut config: PostgresConfig = common::config(database.url(), max_conns);
    change(&mut config.statements);
    let pool = PostgresPool::connect(config).await.expect("the pool connects");
    (database, pool)
}

/// How many statements the server has prepared for a connection.
async fn on_server(connection: &PostgresConnection) -> i64 {
    // By the client's own methods, which leave no trace: the statement is closed again.
    let texts = "SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'";
    connection.query_one(texts, &[]).await.unwrap().get(0)
}
