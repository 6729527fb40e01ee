//! Defects that show on PostgreSQL.

use std::time::{Duration, Instant};

use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use pool_postgres::tokio_postgres::{Client, NoTls};
use pool_postgres::{PostgresConfig, PostgresPool, TargetSessionAttrs};
use pool_testkit::postgres::EphemeralPostgres;
use tokio::time::timeout;

use super::table::Row;

/// A table for each pool, and one who looks from outside.
pub(crate) struct World {
    server: EphemeralPostgres,
}

pub(crate) async fn all(world: &World) -> Vec<Row> {
    vec![
        world.lost_write("deadpool-postgres", &world.deadpool()).await,
        world.lost_write("bb8-postgres", &world.bb8().await).await,
        world.left_query("deadpool-postgres", &world.deadpool()).await,
        world.left_query("bb8-postgres", &world.bb8().await).await,
        ignored_settings(),
    ]
}

/// Whoever is asked for one session after the other.
pub(crate) trait Pool {
    /// Begins a transaction, and goes.
    async fn leave_open(&self);
    /// Inserts a row, on its own.
    async fn insert(&self, table: &str);
    /// Waits for a query that takes three seconds for a tenth of one, and goes.
    async fn leave_query(&self);
    /// Asks something that takes no time.
    async fn ask(&self);
}

macro_rules! pool {
    ($type:ty, $get:ident) => {
        impl Pool for $type {
            async fn leave_open(&self) {
                begin(&*self.$get().await.expect("a session")).await;
            }

            async fn insert(&self, table: &str) {
                insert(&*self.$get().await.expect("a session"), table).await;
            }

            async fn leave_query(&self) {
                leave(&*self.$get().await.expect("a session")).await;
            }

            async fn ask(&self) {
                self.$get().await.expect("a session").batch_execute("SELECT 1").await.expect("an answer");
            }
        }
    };
}

pool!(deadpool_postgres::Pool, get);
pool!(bb8::Pool<bb8_postgres::PostgresConnectionManager<NoTls>>, get);
pool!(PostgresPool, acquire);

async fn begin(client: &Client) {
    client.batch_execute("BEGIN").await.expect("a transaction");
}

async fn insert(client: &Client, table: &str) {
    client.batch_execute(&format!("INSERT INTO {table} VALUES (1)")).await.expect("it says that it has");
}

async fn leave(client: &Client) {
    let query = client.batch_execute("SELECT pg_sleep(3)");
    assert!(timeout(Duration::from_millis(100), query).await.is_err(), "it takes longer");
}

impl World {
    pub(crate) fn start() -> Self {
        Self { server: EphemeralPostgres::start().expect("a server") }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    fn deadpool(&self) -> deadpool_postgres::Pool {
        let config = self.server.url().parse().expect("a URI");
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = deadpool_postgres::Manager::from_config(config, NoTls, manager);
        deadpool_postgres::Pool::builder(manager).max_size(1).build().expect("a pool")
    }

    async fn bb8(&self) -> bb8::Pool<bb8_postgres::PostgresConnectionManager<NoTls>> {
        let manager = bb8_postgres::PostgresConnectionManager::new_from_stringlike(self.server.url(), NoTls);
        bb8::Pool::builder().max_size(1).build(manager.expect("a URI")).await.expect("a pool")
    }

    pub(crate) async fn ours(&self) -> PostgresPool {
        let mut config: PostgresConfig = self.server.url().parse().expect("a URI");
        (config.pool.max_size, config.pool.min_size) = (1, 0);
        PostgresPool::connect(config).await.expect("a pool")
    }

    /// One who looks from outside, and a table.
    pub(crate) async fn outside(&self, table: &str) -> Client {
        let (client, connection) = pool_postgres::tokio_postgres::connect(&self.url(), NoTls).await.expect("a session");
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE TABLE IF NOT EXISTS {table} (n int)")).await.expect("a table");
        client
    }

    /// How many rows are there for everybody else, after somebody has left a transaction open and the next one has inserted one.
    pub(crate) async fn rows_of(&self, pool: &impl Pool, table: &str) -> i64 {
        let outside = self.outside(table).await;
        pool.leave_open().await;
        inserted(pool, &outside, table).await
    }

    async fn lost_write(&self, name: &'static str, theirs: &impl Pool) -> Row {
        let table = name.replace('-', "_");
        let theirs = self.rows_of(theirs, &table).await;
        let ours = self.rows_of(&self.ours().await, &format!("{table}_ours")).await;
        Row::new(name, "somebody leaves a transaction open; the next one inserts a row")
            .said(there(theirs), there(ours))
            .holds(ours == 1)
    }

    async fn left_query(&self, name: &'static str, theirs: &impl Pool) -> Row {
        let (theirs, ours) = (delay(theirs).await, delay(&self.ours().await).await);
        let said = |delay: Duration| format!("waits for {:.1} s", delay.as_secs_f64());
        Row::new(name, "somebody stops to wait for a query that takes 3 s; the next one asks something")
            .said(said(theirs), said(ours))
            .holds(ours < Duration::from_secs(1))
    }
}

/// How many rows are there for everybody else, after somebody has inserted one.
pub(crate) async fn inserted(pool: &impl Pool, outside: &Client, table: &str) -> i64 {
    pool.insert(table).await;
    outside.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("a count").get(0)
}

/// Whether the row is.
pub(crate) fn there(rows: i64) -> String {
    if rows == 1 { "it is there" } else { "it is lost, without an error" }.to_owned()
}

/// How long the next one waits for an answer.
pub(crate) async fn delay(pool: &impl Pool) -> Duration {
    pool.leave_query().await;
    let begun = Instant::now();
    pool.ask().await;
    begun.elapsed()
}

fn ignored_settings() -> Row {
    let mut config = deadpool_postgres::Config::new();
    (config.user, config.dbname) = (Some("app".to_owned()), Some("app".to_owned()));
    config.target_session_attrs = Some(deadpool_postgres::TargetSessionAttrs::ReadWrite);
    let theirs = config.get_pg_config().expect("settings").get_target_session_attrs();
    let ours: PostgresConfig = "user=app target_session_attrs=read-write".parse().expect("settings");
    Row::new("deadpool-postgres", "`target_session_attrs` is `read-write` in the configuration")
        .said(format!("{theirs:?} is used"), format!("{:?} is used", ours.target_session_attrs))
        .holds(ours.target_session_attrs == TargetSessionAttrs::ReadWrite)
}
