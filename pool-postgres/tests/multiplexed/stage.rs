//! A pool whose connections are shared, and a gate that holds up whoever asks for it.

use std::future::Future;
use std::time::Duration;

use pool_postgres::{Multiplexed, PostgresConfig, PostgresOwnedLease, PostgresPool, Query, QueryError};
use pool_testkit::postgres::TestDatabase;
use tokio::time::timeout;

use crate::common::{config, database, eventually};

/// Waits at the gate while it is closed.
pub(crate) const GATED: &str = "SELECT pg_advisory_xact_lock(7)";
/// Is answered at once.
pub(crate) const FAST: &str = "SELECT $1::int + 1";
/// What happens at all on a busy machine happens within this time.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Stage {
    pub(crate) pool: PostgresPool,
    pub(crate) multiplexed: Multiplexed,
    /// Somebody who has nothing to do with the pool.
    pub(crate) watcher: PostgresOwnedLease,
    pub(crate) database: TestDatabase,
}

impl Stage {
    /// With so many connections at most.
    pub(crate) async fn start(max_conns: usize) -> Self {
        Self::with(max_conns, |_| {}).await
    }

    /// As [`start`](Self::start), with other settings.
    pub(crate) async fn with(max_conns: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let database = database();
        let watching = PostgresPool::connect(config(database.url(), 1)).await.unwrap();
        let watcher = watching.acquire_owned().await.unwrap();
        let mut config = config(database.url(), max_conns);
        config.application_name = Some("shared".to_owned());
        change(&mut config);
        let pool = PostgresPool::connect(config).await.unwrap();
        Self { multiplexed: pool.multiplexed(), pool, watcher, database }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.watcher.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.watcher.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Whoever asks for it waits from now on.
    pub(crate) async fn close_gate(&self) {
        self.run("SELECT pg_advisory_lock(7)").await;
    }

    pub(crate) async fn open_gate(&self) {
        self.run("SELECT pg_advisory_unlock(7)").await;
    }

    /// How many wait at the gate.
    pub(crate) async fn at_gate(&self) -> i64 {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.count(waiting).await
    }

    /// Returns once so many wait at the gate.
    pub(crate) async fn wait_at_gate(&self, count: i64) {
        eventually("they wait at the gate", async || self.at_gate().await == count).await;
    }

    /// Asks for something on a task of its own.
    pub(crate) fn spawn(&self, sql: &'static str) -> tokio::task::JoinHandle<Result<u64, QueryError>> {
        let multiplexed = self.multiplexed.clone();
        tokio::spawn(async move { multiplexed.execute(sql, &[]).await })
    }

    /// Has this statement found out, which waits at the gate.
    pub(crate) async fn teach(&self, sql: &'static str) {
        for _ in 0..8 {
            self.close_gate().await;
            let slow = self.spawn(sql);
            self.wait_at_gate(1).await;
            // Longer than it may take, by the clock of the server.
            self.run("SELECT pg_sleep(0.3)").await;
            self.open_gate().await;
            slow.await.unwrap().unwrap();
            if self.multiplexed.kept_apart() == [sql] {
                return;
            }
        }
        panic!("it is never found out: {:?}", self.multiplexed.kept_apart());
    }

    /// Asks something that is answered at once, so often at a time.
    pub(crate) async fn fast(&self, count: i32) {
        let asking = futures_util::future::join_all((0..count).map(async |number| {
            let row = self.multiplexed.query_one(FAST, &[&number]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), number + 1);
        }));
        let in_time = timeout(LIMIT, asking).await.is_ok();
        let (apart, state) = (self.multiplexed.kept_apart(), self.pool.state());
        assert!(in_time, "they wait: {} at the gate, {apart:?} kept apart, {state}", self.at_gate().await);
    }

    /// The pool comes to rest, and all that was opened is there or was closed.
    pub(crate) async fn rests(&self) {
        let state = || self.pool.state();
        eventually("the pool is at rest", async || {
            let state = state();
            state.leased + state.opening + state.in_maintenance + state.waiting + state.users == 0
        })
        .await;
        let stats = self.pool.stats();
        assert_eq!(stats.opened, stats.closed + stats.state.size as u64, "{stats:?}");
    }

    /// As [`rests`](Self::rests), and then closes everything.
    pub(crate) async fn end(self) {
        self.rests().await;
        in_time("it is closed", self.pool.disconnect()).await;
        let stats = self.pool.stats();
        assert_eq!((stats.opened, stats.state.size), (stats.closed, 0), "{stats:?}");
        eventually("no session is left", async || {
            self.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shared' AND datname = current_database()").await == 0
        })
        .await;
    }
}

/// What comes at all comes in time.
pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A query that may take so many milliseconds.
pub(crate) fn within(sql: &str, millis: u64) -> Query<'_> {
    Query::new(sql).timeout(Duration::from_millis(millis))
}
