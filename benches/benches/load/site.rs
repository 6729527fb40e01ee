//! Where a phase takes place: a pool behind a proxy, and somebody who looks at the server itself.

use pool_postgres::PostgresPool;
use pool_postgres::retry::{Retrier, RetryPolicy};
use pool_postgres::tokio_postgres::Client;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::Proxy;

use crate::database::{client, settings};

/// In the pool.
pub(crate) const CONNECTIONS: usize = 8;

/// What the pool calls its sessions.
pub(crate) const NAME: &str = "the pool under load";

pub(crate) struct Site {
    pub(crate) pool: PostgresPool,
    /// With the policy as it comes.
    pub(crate) retrier: Retrier,
    pub(crate) proxy: Proxy,
    /// Goes to the server itself.
    pub(crate) own: Client,
}

/// `done` gets a row whenever an operation is done, so that one that is done twice shows; `kept` has one for each that may be repeated; `hot` is what transactions conflict over.
const TABLES: &str = "
    DROP TABLE IF EXISTS done, kept, hot;
    CREATE TABLE done (operation bigint);
    CREATE TABLE kept (operation bigint PRIMARY KEY);
    CREATE TABLE hot (times bigint);
    INSERT INTO hot VALUES (0)";

impl Site {
    /// With all connections open.
    pub(crate) async fn open(server: &EphemeralPostgres) -> Self {
        let own = client(&server.url()).await.expect("a session");
        own.batch_execute(TABLES).await.expect("tables");
        let proxy = Proxy::postgres(("127.0.0.1", server.port())).await.expect("a proxy");
        let mut config = settings(proxy.address().port(), NAME);
        (config.pool.max_size, config.pool.min_size) = (CONNECTIONS, CONNECTIONS);
        let pool = PostgresPool::connect_lazy(config).expect("settings that work");
        pool.ready(std::time::Duration::from_secs(10)).await.expect("all of them open");
        let retrier = pool.retrying(RetryPolicy::default()).expect("a policy that works");
        Self { pool, retrier, proxy, own }
    }
}
