//! What the tests share: a pool, the proxy it connects through, and somebody who watches the server.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, PostgresLease, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Direction, Proxy, Toxic};

use tokio::time::timeout;

use crate::invariants::Watch;

/// What no error and no debug text may contain.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// What happens at all on a busy machine happens within this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// By how much a busy machine may miss a deadline.
const SLACK: Duration = Duration::from_secs(2);

/// The server of all tests. It asks the pool for its password. Nobody makes or drops a database: that waits for every session that is being let in (of PostgreSQL 15 and
/// later), and a test that stood still meanwhile would wait for itself.
fn server() -> &'static EphemeralPostgres {
    static SERVER: OnceLock<EphemeralPostgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        EphemeralPostgres::builder().hba(hba).start().expect("a real server")
    })
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
        let watch = Watch::start(&server().url()).await;
        let proxy = Proxy::postgres(("127.0.0.1", server().port())).await.expect("a proxy");
        let mut config = config(&proxy, watch.name(), max_size);
        change(&mut config);
        watch.begin(&proxy, config.pool.max_size);
        let mut said = vec![format!("{config:?}")];
        let pool = PostgresPool::connect_lazy(config).expect("settings that work");
        said.push(format!("{pool:?} {:?}", pool.driver()));
        Self { pool, proxy, watch, said }
    }

    /// A connection. It comes in time, or an error does.
    pub(crate) async fn acquire(&self) -> Result<PostgresLease<'_>, AcquireError> {
        let (started, limit) = (Instant::now(), self.pool.config().acquire_timeout);
        let outcome = self.pool.acquire().await;
        let took = started.elapsed();
        assert!(took <= limit + SLACK, "an acquire took {took:?}, with a limit of {limit:?}");
        outcome
    }

    /// The error of an acquire that has to fail.
    pub(crate) async fn refused(&mut self) -> AcquireError {
        let error = self.acquire().await.map(drop).expect_err("there is nothing to be had");
        self.note(&error);
        error
    }

    /// A connection that answers.
    pub(crate) async fn working(&self) -> PostgresLease<'_> {
        let lease = self.acquire().await.expect("a connection");
        assert_eq!(answer(&lease, 41).await.expect("an answer"), 42);
        lease
    }

    /// Opens connections until there are so many.
    pub(crate) async fn fill(&self, size: usize) {
        self.pool.warm_up(size, Duration::ZERO, LIMIT).await.expect("connections");
    }

    /// Other limits of time, from now on.
    pub(crate) fn hurry(&self, connect_timeout: Duration, acquire_timeout: Duration) {
        let mut config = (*self.pool.config()).clone();
        (config.connect_timeout, config.acquire_timeout) = (connect_timeout, acquire_timeout);
        self.pool.reconfigure(config).expect("settings that work");
    }

    /// Keeps what an error says, to look for secrets in it.
    pub(crate) fn note<E: std::error::Error>(&mut self, error: &E) {
        self.said.push(format!("{error} {error:?} {:?}", error.source()));
    }
}

fn config(proxy: &Proxy, name: &str, max_size: usize) -> PostgresConfig {
    let mut config = PostgresConfig::default();
    config.host = proxy.address().ip().to_string();
    config.port = proxy.address().port();
    config.user = Some("chaos".to_owned());
    config.password = Some(PASSWORD.into());
    config.database = Some("postgres".to_owned());
    config.application_name = Some(name.to_owned());
    config.pool.max_size = max_size;
    config.pool.min_size = 0;
    config.pool.acquire_timeout = LIMIT;
    config.pool.backoff_initial = Duration::from_millis(1);
    config.pool.backoff_max = Duration::from_millis(20);
    config
}

/// Nobody waits for longer for an answer that may not come.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// A pool that gives up soon.
pub(crate) async fn impatient(max_size: usize) -> Chaos {
    Chaos::with(max_size, |config| {
        let pool = &mut config.pool;
        (pool.reset_timeout, pool.close_timeout) = (SHORT, SHORT);
        (pool.check_timeout, pool.health_check_timeout) = (SHORT, SHORT);
    })
    .await
}

/// A connection on which nothing is under way any more: the statement of its last user has been closed.
pub(crate) async fn quiet(chaos: &Chaos) -> PostgresOwnedLease {
    let lease = chaos.pool.acquire_owned().await.unwrap();
    lease.batch_execute("").await.unwrap();
    lease
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

/// What is asked by a prepared query.
pub(crate) async fn answer(client: &tokio_postgres::Client, number: i32) -> Result<i32, tokio_postgres::Error> {
    in_time("an answer", client.query_one("SELECT $1::int + 1", &[&number])).await?.try_get(0)
}

/// What comes at all comes in time.
pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Asks again and again until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let asking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    in_time(what, asking).await;
}

/// How many bytes each direction takes to let a client in.
pub(crate) async fn handshake(chaos: &Chaos) -> [u64; 2] {
    chaos.fill(1).await;
    let seen = chaos.proxy.seen();
    Direction::BOTH.map(|direction| seen.bytes(direction))
}
