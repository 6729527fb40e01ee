//! What the tests share.

use std::future::Future;
use std::time::Duration;

use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres, TestDatabase};

/// A configuration for a URI, for at most `max_conns` connections and with none kept.
pub(crate) fn config(url: &str, max_conns: usize) -> PostgresConfig {
    pool_testkit::secrets::listen();
    let mut config: PostgresConfig = url.parse().expect("the test server's URI parses");
    config.pool.max_size = max_conns;
    config.pool.min_size = 0;
    config
}

/// A database of the test's own on the shared server.
pub(crate) fn database() -> TestDatabase {
    EphemeralPostgres::shared().and_then(SharedPostgres::create_database).expect("a real server")
}

/// A database of the test's own on the shared server, and a pool on it.
pub(crate) async fn pool(max_conns: usize) -> (TestDatabase, PostgresPool) {
    let database = database();
    let pool = PostgresPool::connect(config(database.url(), max_conns)).await.expect("the pool connects");
    (database, pool)
}

/// A session in another database, to watch this one from. Its pool closes when it comes back.
pub(crate) async fn watcher(database: &TestDatabase) -> PostgresOwnedLease {
    let mut watching = config(database.url(), 1);
    watching.database = Some("postgres".to_owned());
    let pool = PostgresPool::connect(watching).await.expect("the watcher connects");
    pool.acquire_owned().await.expect("a session to watch from")
}

/// Asks again and again until it holds, for 20 seconds at most.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let asking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), asking).await.is_ok(), "never: {what}");
}

/// The number of client sessions in this database, as the server sees it, the asking one not counted.
pub(crate) async fn sessions_on_server(client: &tokio_postgres::Client, database: &str) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    client.query_one(count, &[&database]).await.expect("the server counts").get(0)
}
