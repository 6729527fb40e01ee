//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use pool_postgres::pool_core::http::{Controls, Status};
use pool_postgres::pool_core::{ConfigError, HealthConfig, ObserveConfig, PoolObserver};

use pool_postgres::retry::{Retrier, RetryPolicy};
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool, QueryError, RowStream};

use super::failure::Failure;
use super::metrics::Metrics;
use super::payload::Payload;
use super::store::{self, Filter};

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
    /// Whether the table of alerts is known to be there.
    is_prepared: AtomicBool,
}

impl App {
    /// Prepares the database. If that cannot be used now it starts all the same, not ready, and whoever asks for something prepares it. Whoever has the token, if there is one, may control the pool.
    /// Who asks for any other host than these is refused; none are all.
    pub(crate) async fn start(url: &str, token: Option<&str>, hosts: Vec<String>) -> Result<Self, Error> {
        let controls = token.map(Controls::new).transpose()?;
        let mut config: PostgresConfig = url.parse()?;
        config.pool.acquire_timeout = ACQUIRE_TIMEOUT;
        config.application_name.get_or_insert_with(|| "alert_history".to_owned());
        let pool = PostgresPool::connect_lazy(config)?;
        let readers = Arc::new(Semaphore::new((pool.config().max_size / 2).max(1)));
        let mut policy = RetryPolicy::default();
        policy.deadline = ANSWER_TIMEOUT;
        let (retrier, metrics) = (pool.retrying(policy)?, Arc::<Metrics>::default());
        let measured = Arc::clone(&metrics);
        let status = Status::new().pool(observer(&pool)?).families(move || measured.families().into()).hosts(hosts);
        let status = controls.into_iter().fold(status, Status::controls);
        let app = Self { pool, metrics, status, retrier, readers, is_prepared: AtomicBool::new(false) };
        app.prepare_if_it_can().await?;
        Ok(app)
    }

    /// A database that is away may come.
    async fn prepare_if_it_can(&self) -> Result<(), Error> {
        match self.prepare().await {
            Ok(()) => {}
            Err(Failure::Unavailable { message, .. }) => {
                tracing::warn!(message, "the database cannot be used yet");
            }
            Err(_) => return Err("the table of alerts cannot be made; the log says why".into()),
        }
        Ok(())
    }

    /// Makes the table of alerts, unless it is there. Several may do so at once.
    async fn prepare(&self) -> Result<(), Failure> {
        if !self.is_prepared.load(Ordering::Relaxed) {
            answer(store::migrate(&self.pool)).await?;
            self.is_prepared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Stores the alerts of one post. Tried again only if they have not been stored for certain: otherwise whoever posted decides.
    pub(super) async fn store(&self, payload: &Payload) -> Result<u64, Failure> {
        self.prepare().await?;
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

    /// The rows of a history, as they come.
    pub(super) async fn history(&self, filter: &Filter) -> Result<RowStream<'static>, Failure> {
        self.prepare().await?;
        answer(store::history(&self.pool, filter)).await
    }
}

/// Looks at the pool, with a monitor that has a connection of its own.
fn observer(pool: &PostgresPool) -> Result<PoolObserver<PostgresDriver>, ConfigError> {
    let mut config = ObserveConfig::default();
    "alerts".clone_into(&mut config.name);
    Ok(pool.observe(config)?.with_health(pool.monitor(HealthConfig::default())?.into()))
}

/// The answer of the database, if it comes in time. A statement that is given up is cancelled when its lease goes back.
pub(super) async fn answer<T>(statement: impl Future<Output = Result<T, QueryError>>) -> Result<T, Failure> {
    if let Ok(outcome) = timeout(ANSWER_TIMEOUT, statement).await {
        return Ok(outcome?);
    }
    Err(Failure::no_answer(ANSWER_TIMEOUT))
}
