//! What the tests share: a table, a pool that writes to it, and two who do not belong to the pool.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::Client;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool, QueryError, QueryStep, TransactionError};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::proxy::Proxy;

use crate::common::{config, database, eventually, sessions_on_server, watcher};

/// A table `t` with a number `n` that is there once, and whose `twin`, if it has one, has to be there at the end of each transaction.
const TABLE: &str = "CREATE TABLE t (n int PRIMARY KEY, twin int REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)";

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PostgresPool,
    pub(crate) proxy: Proxy,
    /// In the same database.
    pub(crate) other: PostgresOwnedLease,
    /// In another one.
    pub(crate) watch: PostgresOwnedLease,
}

impl Stage {
    /// With a pool of so many connections.
    pub(crate) async fn new(max_conns: usize) -> Self {
        Self::with(max_conns, |_| {}).await
    }

    /// The same, with other settings.
    pub(crate) async fn with(max_conns: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let database = database();
        let watch = watcher(&database).await;
        let direct = config(database.url(), 1);
        let host = direct.hosts[0].clone();
        let proxy = Proxy::postgres((host.name, host.port)).await.unwrap();
        let mut through = config(database.url(), max_conns);
        through.hosts = vec![pool_postgres::Host::new("127.0.0.1".to_owned(), proxy.address().port())];
        through.pool.backoff_initial = Duration::from_millis(1);
        through.application_name = Some("users".to_owned());
        change(&mut through);
        let other = PostgresPool::connect(direct).await.unwrap().acquire_owned().await.unwrap();
        other.batch_execute(TABLE).await.unwrap();
        let pool = PostgresPool::connect(through).await.unwrap();
        Self { database, pool, proxy, other, watch }
    }

    /// The numbers that are there for everybody.
    pub(crate) async fn numbers(&self) -> Vec<i32> {
        let rows = self.other.query("SELECT n FROM t ORDER BY n", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many of the pool's sessions are in a state, as the server sees it.
    pub(crate) async fn in_state(&self, state: &str) -> i64 {
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'users' AND state = $2";
        self.watch.query_one(count, &[&self.database.name(), &state]).await.unwrap().get(0)
    }

    /// Returns once the server has so many sessions of the pool, all of them idle and in no transaction. Nobody is asked to use them.
    pub(crate) async fn all_idle(&self, sessions: i64) {
        eventually("all sessions are idle", async || self.in_state("idle").await == sessions).await;
        // And that of the one beside.
        assert_eq!(sessions_on_server(&self.watch, self.database.name()).await, sessions + 1);
    }

    /// Returns once the server is at work for the pool.
    pub(crate) async fn at_work(&self) {
        eventually("it is at work", async || self.in_state("active").await > 0).await;
    }

    /// Ends the sessions of the pool.
    pub(crate) async fn end_sessions(&self) {
        let end = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'users'";
        self.watch.query(end, &[&self.database.name()]).await.unwrap();
    }

    /// Nothing is left behind: all leases come back, all sessions are in order, and there is one of them that has lasted, unless some have been lost.
    pub(crate) async fn close(self) {
        self.proxy.calm().await;
        eventually("all leases are back", async || self.pool.state().leased == 0).await;
        let lease = self.pool.acquire().await.unwrap();
        outside(&lease).await;
        drop(lease);
        self.pool.disconnect().await;
    }
}

/// Fails if the session is inside of a transaction.
pub(crate) async fn outside(client: &Client) {
    let inside = client.batch_execute("SAVEPOINT here").await.expect_err("outside of a transaction");
    assert_eq!(inside.code().map(SqlState::code), Some("25P01"), "{inside:?}");
}

/// What inserts a number.
pub(crate) fn insert(number: i32) -> String {
    format!("INSERT INTO t VALUES ({number})")
}

/// Polls a future once and drops it: what it asks has been given to the client.
pub(crate) async fn begin_and_leave<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = poll!(&mut future);
}

/// How something failed: at what, whether it may have been done, and the reason, if it is a transaction's own.
pub(crate) fn told<T: std::fmt::Debug>(
    outcome: Result<T, QueryError>,
) -> (QueryStep, Outcome, Option<TransactionError>) {
    let error = outcome.unwrap_err();
    (error.step(), error.outcome(), error.transaction_error())
}
