//! What the tests share: a pool, the proxy it connects through, and somebody who watches the server.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::{EphemeralBuilder, EphemeralPostgres};
use pool_testkit::proxy::{Direction, Proxy, Toxic};
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::asking::answer;

use crate::users::{self, SHORT, settings};
use crate::watch::Watch;

/// A server that asks the pool for its password.
pub(crate) fn strict() -> EphemeralBuilder {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    EphemeralPostgres::builder().hba(hba)
}

/// The server of all tests. Nobody makes or drops a database: that waits for every session that is being let in (of PostgreSQL 15 and
/// later), and a test that stood still meanwhile would wait for itself.
pub(crate) fn server() -> &'static EphemeralPostgres {
    static SERVER: OnceLock<EphemeralPostgres> = OnceLock::new();
    SERVER.get_or_init(|| strict().start().expect("a real server"))
}

/// A pool behind a proxy.
pub(crate) struct Chaos {
    pub(crate) pool: PostgresPool,
    pub(crate) proxy: Proxy,
    pub(crate) watch: Watch,
    /// What errors and debug texts have said.
    pub(crate) said: Vec<String>,
}

impl Chaos {
    /// A pool of at most `max_size` connections, that keeps none and is quick to try again.
    pub(crate) async fn start(max_size: usize) -> Self {
        Self::with(max_size, |_| {}).await
    }

    /// As [`start`](Self::start), with other settings. Nothing is open yet.
    pub(crate) async fn with(max_size: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        Self::on(server(), max_size, change).await
    }

    /// As [`with`](Self::with), on a server of the test's own.
    pub(crate) async fn on(
        server: &EphemeralPostgres,
        max_size: usize,
        change: impl FnOnce(&mut PostgresConfig),
    ) -> Self {
        let watch = Watch::start(&server.url()).await;
        let proxy = Proxy::postgres(("127.0.0.1", server.port())).await.expect("a proxy");
        let mut config = settings(proxy.address().port(), watch.name(), max_size);
        change(&mut config);
        watch.begin(&proxy, config.pool.max_size);
        let mut said = vec![format!("{config:?}")];
        let pool = PostgresPool::connect_lazy(config).expect("settings that work");
        said.push(format!("{pool:?} {:?}", pool.driver()));
        Self { pool, proxy, watch, said }
    }

    /// Watches again: the server has come back, or another one is there.
    pub(crate) async fn watch_on(&mut self, server: &EphemeralPostgres) {
        self.watch = Watch::on(&server.url(), self.watch.name().to_owned()).await;
        self.watch.begin(&self.proxy, self.pool.config().max_size);
    }

    /// As [`told`](Self::told), by one who waits for so long.
    pub(crate) async fn told_within(&mut self, limit: Duration) -> AcquireError {
        let before = self.pool.config().acquire_timeout;
        self.reconfigure(|config| config.acquire_timeout = limit);
        let error = self.told().await;
        self.reconfigure(|config| config.acquire_timeout = before);
        error
    }

    /// Nothing is in the way any more.
    pub(crate) async fn heal(&self) {
        self.proxy.calm().await;
    }
}

/// A pool that gives up soon.
pub(crate) async fn impatient(max_size: usize) -> Chaos {
    Chaos::with(max_size, users::impatient).await
}

/// A connection on which nothing is under way any more: the statement of its last user has been closed.
pub(crate) async fn quiet(chaos: &Chaos) -> PostgresOwnedLease {
    quiet_of(&chaos.pool).await
}

/// As [`quiet`], of any pool.
pub(crate) async fn quiet_of(pool: &PostgresPool) -> PostgresOwnedLease {
    let lease = pool.acquire_owned().await.unwrap();
    lease.batch_execute("").await.unwrap();
    lease
}

/// A table of the test's own, with a column `n`, that the pool may write to. Its name.
pub(crate) async fn table(chaos: &Chaos) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let name = format!("chaos_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    chaos.watch.run(&format!("CREATE TABLE {name} (n int); GRANT ALL ON {name} TO chaos")).await;
    name
}

/// How many rows a table has, for somebody who has nothing to do with the pool.
pub(crate) async fn rows(chaos: &Chaos, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    chaos.watch.client().query_one(&count, &[]).await.expect("the server counts").get(0)
}

/// What a user gets for one prepared query with this toxic.
pub(crate) async fn query(chaos: &mut Chaos, direction: Direction, toxic: Toxic) -> Option<i32> {
    let lease = quiet(chaos).await;
    chaos.proxy.set(direction, toxic.clone());
    let outcome = timeout(SHORT, answer(&lease, 41)).await;
    chaos.proxy.clear(direction);
    match outcome {
        Ok(Ok(number)) => Some(number),
        Ok(Err(error)) => {
            chaos.note(&error);
            None
        }
        Err(_) => None,
    }
}

/// How many bytes each direction takes to let a client in.
pub(crate) async fn handshake(chaos: &Chaos) -> [u64; 2] {
    chaos.fill(1).await;
    let seen = chaos.proxy.seen();
    Direction::BOTH.map(|direction| seen.bytes(direction))
}

/// The process at the server that a session has.
pub(crate) async fn process(session: &Client) -> i32 {
    session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Sends a signal to a process. `false` if there is none.
pub(crate) fn signal(process: impl ToString, signal: &str) -> bool {
    Command::new("kill").args(["-s", signal, &process.to_string()]).status().is_ok_and(|status| status.success())
}

/// Sends a signal to the server's first process alone.
pub(crate) fn signal_postmaster(server: &EphemeralPostgres, name: &str) {
    let file = std::fs::read_to_string(server.data_dir().join("postmaster.pid")).unwrap();
    assert!(signal(file.lines().next().unwrap(), name), "{name}");
}
