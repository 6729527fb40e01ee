//! A pool of one session, what its borrowers find in it, and somebody who watches from outside.

use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::TestDatabase;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::common::{config, database, watcher};

/// All that may be left in a session, in words.
const LEFT: &str = "SELECT concat_ws(' ', \
    'app=' || current_setting('application_name'), 'mem=' || current_setting('work_mem'), 'path=' || current_setting('search_path'), \
    'timeout=' || current_setting('statement_timeout'), 'tenant=' || coalesce(current_setting('app.tenant', true), ''), \
    'user=' || (current_user = session_user), 'session=' || (session_user = $1), 'role=' || current_setting('role'), \
    'read_only=' || current_setting('transaction_read_only'), \
    'channels=' || (SELECT count(*) FROM pg_listening_channels()), \
    'prepared=' || (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), \
    'cursors=' || (SELECT count(*) FROM pg_cursors WHERE is_holdable), \
    'temporary=' || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), \
    'locks=' || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))";

/// A transaction is older than a statement in it. By a simple query: in the other protocol each message is as old as itself.
const BEGUN: &str = "SELECT now() <> statement_timestamp()";

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PostgresPool,
    pub(crate) watch: PostgresOwnedLease,
    user: String,
    /// What is in a session that nobody has used, and its process.
    fresh: String,
    pub(crate) process: i32,
}

impl Stage {
    /// With these settings.
    pub(crate) async fn start(change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let database = database();
        let mut config = config(database.url(), 1);
        config.application_name = Some("configured".to_owned());
        config.options = Some("-c work_mem=7MB".to_owned());
        change(&mut config);
        let pool = PostgresPool::connect(config).await.unwrap();
        let watch = watcher(&database).await;
        let lease = pool.acquire().await.unwrap();
        let user: String = lease.query_one("SELECT session_user::text", &[]).await.unwrap().get(0);
        let (fresh, process) = (left(&lease, &user).await, process(&lease).await);
        assert!(fresh.contains("app=configured mem=7MB") && fresh.contains("session=true"), "{fresh}");
        drop(lease);
        set_up(database.url()).await;
        Self { database, pool, watch, user, fresh, process }
    }

    /// With this mode of the policy, and a minute for a reset, which is more than a test takes.
    pub(crate) async fn of_mode(mode: &str) -> Self {
        let mode = mode.parse().unwrap();
        Self::start(|config| {
            config.release.mode = mode;
            config.pool.reset_timeout = std::time::Duration::from_mins(1);
        })
        .await
    }

    /// Has a borrower execute these statements, whatever they come to, and go.
    pub(crate) async fn leave(&self, sql: &str) {
        let lease = self.pool.acquire().await.unwrap();
        let _ = lease.batch_execute(sql).await;
    }

    /// What the next borrower finds that is not in a session that nobody has used.
    pub(crate) async fn found(&self) -> Option<String> {
        let lease = self.pool.acquire().await.unwrap();
        let left = left(&lease, &self.user).await;
        (left != self.fresh).then_some(left)
    }

    /// The next borrower finds nothing, in the same session.
    pub(crate) async fn assert_clean(&self, after: &str) {
        assert_eq!(self.found().await, None, "after {after}; in a new session it is {}", self.fresh);
        let lease = self.pool.acquire().await.unwrap();
        assert_eq!(process(&lease).await, self.process, "after {after}: in the same session");
        let rows: i64 = lease.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
        assert_eq!(rows, 0, "after {after}");
    }

    pub(crate) async fn end(self) {
        self.pool.disconnect().await;
        let stats = self.pool.stats();
        assert_eq!(stats.opened, stats.closed);
    }
}

/// By somebody else: to create a table is a change.
async fn set_up(url: &str) {
    const SETUP: &str = "CREATE TABLE t (n int); GRANT SELECT ON t TO public; CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SEQUENCE s; \
            CREATE FUNCTION leave() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(3); END'";
    let beside = PostgresPool::connect(config(url, 1)).await.unwrap();
    beside.acquire().await.unwrap().batch_execute(SETUP).await.unwrap();
    beside.disconnect().await;
}

async fn left(client: &Client, user: &str) -> String {
    let begun = is_in_transaction(client).await;
    let left: String = client.query_one(LEFT, &[&user]).await.unwrap().get(0);
    format!("{left} transaction={begun}")
}

/// Whether a transaction had begun before.
pub(crate) async fn is_in_transaction(client: &Client) -> bool {
    let answer = client.simple_query(BEGUN).await.expect("no transaction that has failed");
    let mut rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    rows.next() != Some("f")
}

/// The server's process.
pub(crate) async fn process(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}
