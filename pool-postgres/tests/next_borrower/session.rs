//! A pool of one session, what its borrowers find in it, and somebody who watches from outside.

use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::TestDatabase;
use tokio_postgres::Client;

use crate::common::{config, database, watcher};
use crate::leftovers::{SETUP, left};

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
    let beside = PostgresPool::connect(config(url, 1)).await.unwrap();
    beside.acquire().await.unwrap().batch_execute(SETUP).await.unwrap();
    beside.disconnect().await;
}

/// The server's process.
pub(crate) async fn process(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}
