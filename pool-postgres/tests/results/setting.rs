//! A pool of one connection, and somebody who watches it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use pool_postgres::{CopyIn, PostgresConnection, PostgresOwnedLease, PostgresPool, Queries, QueryError};
use pool_testkit::postgres::TestDatabase;
use tokio::time::timeout;

use crate::common::{config, database, eventually, sessions_on_server, watcher};

/// Longer than anything takes that does not hang.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Setting {
    pub(crate) pool: PostgresPool,
    watch: PostgresOwnedLease,
    process: i32,
    database: TestDatabase,
}

impl Setting {
    /// With a table `t` of the numbers `n`.
    pub(crate) async fn start() -> Self {
        let database = database();
        let mut config = config(database.url(), 1);
        // Cancellations have that long, too.
        config.connect_timeout = LIMIT;
        let pool = PostgresPool::connect(config).await.unwrap();
        let watch = watcher(&database).await;
        pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
        let process = pool.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        Self { pool, watch, process, database }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.pool.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn rows(&self) -> i64 {
        self.pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
    }

    /// What the server says that the pool's first session is doing; nothing if it has ended.
    async fn state(&self) -> Option<String> {
        let asking = "SELECT state FROM pg_stat_activity WHERE pid = $1";
        self.watch.query_opt(asking, &[&self.process]).await.unwrap().map(|row| row.get(0))
    }

    pub(crate) async fn becomes(&self, state: &str) {
        eventually(state, async || self.state().await.as_deref() == Some(state)).await;
    }

    /// Waits for the server to wait for this.
    pub(crate) async fn waits_for(&self, event: &str) {
        let asking = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = $2";
        let waits =
            async || self.watch.query_one(asking, &[&self.process, &event]).await.unwrap().get::<_, i64>(0) == 1;
        eventually(event, waits).await;
    }

    /// Calls this function of the server's with the number of the session's process.
    pub(crate) async fn signal(&self, function: &str) {
        self.watch.execute(&format!("SELECT {function}($1)"), &[&self.process]).await.unwrap();
    }

    /// The one session is in order, is the first one still, and answers each question with its own answer.
    pub(crate) async fn ends_well(self) {
        self.answers().await;
        assert_eq!(sessions_on_server(&self.watch, self.database.name()).await, 1);
        let stats = self.pool.stats();
        assert_eq!((stats.opened, stats.broken, stats.errors.resets), (1, 0, 0), "{stats:?}");
        self.pool.disconnect().await;
        drop(self.database);
    }

    /// Another session has taken the place of the first, and answers.
    pub(crate) async fn ends_on_another(self) {
        self.answers().await;
        assert_eq!(self.pool.stats().opened, 2);
        self.pool.disconnect().await;
        drop(self.database);
    }

    async fn answers(&self) {
        let lease = in_time(self.pool.acquire()).await.unwrap();
        answers(&lease).await;
    }
}

pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it does not hang")
}

/// Each question gets its own answer, also if several are asked in a row.
pub(crate) async fn answers(connection: &PostgresConnection) {
    let ask = async |number: i32| connection.query_one("SELECT $1::int", &[&number]).await.unwrap().get::<_, i32>(0);
    for round in 0..3 {
        let asked = [10 * round, 10 * round + 1, 10 * round + 2];
        assert_eq!(in_time(join_all(asked.map(|number| Box::pin(ask(number))))).await, asked);
    }
}

/// Sends this again and again until it is told that it need not.
pub(crate) async fn until_refused(copy: &mut CopyIn<'_>, data: Bytes) -> QueryError {
    in_time(async {
        loop {
            if let Err(error) = copy.send(data.clone()).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}
