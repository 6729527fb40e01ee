//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use pool_postgres::pool_core::http::{Controls, Status};
use pool_postgres::pool_core::{ConfigError, HealthConfig, ObserveConfig, PoolObserver};
use pool_postgres::retry::{Retrier, RetryPolicy};
use pool_postgres::tokio_postgres;
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresOwnedLease, PostgresPool};

use super::failure::Failure;
use super::metrics::Metrics;
use super::payload::Payload;
use super::store;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a request waits for a connection: an Alertmanager tries again by itself, so an early answer is a good one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for the database to answer a statement, and for each next row.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool, and who looks after it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) pool: PostgresPool,
    pub(super) metrics: Arc<Metrics>,
    /// Shows the pool, and the metrics of the service, to those who run it.
    pub(super) status: Status,
    /// For what is tried again, within the time of one answer.
    retrier: Retrier,
    /// Seats for those who read histories, which can take long: half of the connections stay free for everybody else.
    readers: Arc<Semaphore>,
}

impl App {
    /// Connects to the database and prepares it. Whoever has the token, if there is one, may control the pool.
    pub(crate) async fn start(url: &str, token: Option<&str>) -> Result<Self, Error> {
        let controls = token.map(Controls::new).transpose()?;
        let mut config: PostgresConfig = url.parse()?;
        config.pool.acquire_timeout = ACQUIRE_TIMEOUT;
        config.application_name.get_or_insert_with(|| "alert_history".to_owned());
        let pool = PostgresPool::connect(config).await?;
        store::migrate(&*pool.acquire().await?).await?;
        let readers = Arc::new(Semaphore::new((pool.config().max_size / 2).max(1)));
        let mut policy = RetryPolicy::default();
        policy.deadline = ANSWER_TIMEOUT;
        let (retrier, metrics) = (pool.retrying(policy)?, Arc::<Metrics>::default());
        let measured = Arc::clone(&metrics);
        let status = Status::new().pool(observer(&pool)?).families(move || measured.families().into());
        let status = controls.into_iter().fold(status, Status::controls);
        Ok(Self { pool, metrics, status, retrier, readers })
    }

    /// Stores the alerts of one post. Tried again only if they have not been stored for certain: otherwise whoever posted decides.
    pub(super) async fn store(&self, payload: &Payload) -> Result<u64, Failure> {
        let stored = self.retrier.once(async |lease| store::insert(&lease, payload).await).await?;
        self.metrics.stored(stored);
        Ok(stored)
    }

    /// A seat for somebody who reads a history, for as long as a request waits for a connection.
    pub(super) async fn seat_of_reader(&self) -> Result<OwnedSemaphorePermit, Failure> {
        match timeout(ACQUIRE_TIMEOUT, Arc::clone(&self.readers).acquire_owned()).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Failure::busy("too many histories are being read")),
        }
    }

    /// A connection for a request.
    pub(super) async fn acquire(&self) -> Result<PostgresOwnedLease, Failure> {
        Ok(self.pool.acquire_owned().await?)
    }
}

/// Looks at the pool, with a monitor that has a connection of its own.
fn observer(pool: &PostgresPool) -> Result<PoolObserver<PostgresDriver>, ConfigError> {
    let mut config = ObserveConfig::default();
    "alerts".clone_into(&mut config.name);
    Ok(pool.observe(config)?.with_health(pool.monitor(HealthConfig::default())?.into()))
}

/// The answer of the database, if it comes in time. A statement that is given up is cancelled when its lease goes back.
pub(super) async fn answer<T>(statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    if let Ok(outcome) = timeout(ANSWER_TIMEOUT, statement).await {
        return Ok(outcome?);
    }
    tracing::warn!(limit = ?ANSWER_TIMEOUT, "the database did not answer");
    Err(Failure::no_answer(ANSWER_TIMEOUT))
}
