//! The pool that services keep.

use std::ops::Deref;
use std::panic::Location;
use std::time::Duration;

use pool_core::{
    Config, ConfigError, Driver, HealthChecker, Lease, OwnedLease, Pool, PoolBuilder, PoolState, Reconfigured,
};
use tokio::time::{Instant, timeout};

use crate::config::{PostgresConfig, PostgresConfigError};
use crate::credentials::CredentialsProvider;
use crate::driver::PostgresDriver;
use crate::error::PostgresError;
use crate::retry::{Retrier, RetryPolicy};

/// A session acquired from a [`PostgresPool`]; derefs to [`tokio_postgres::Client`] by way of
/// [`PostgresConnection`](crate::PostgresConnection), which has [`Queries`](crate::Queries): with these in scope, the client's limits count and statements are kept.
pub type PostgresLease<'a> = Lease<'a, PostgresDriver>;

/// As [`PostgresLease`], without borrowing the pool.
pub type PostgresOwnedLease = OwnedLease<PostgresDriver>;

/// Watches over a [`PostgresPool`]; made by [`Pool::monitor`].
pub type PostgresHealthChecker = HealthChecker<PostgresDriver>;

/// A pool of PostgreSQL sessions. Cheap to clone; all clones are the same pool.
///
/// Derefs to [`pool_core::Pool`], where `acquire` and its kin are, and what an operator does to a pool while it serves.
///
/// # Example
///
/// A failover that fails no query: callers wait meanwhile.
///
/// ```no_run
/// # async fn fail_over(pool: &pool_postgres::PostgresPool) {
/// pool.pause();
/// pool.drained().await;
/// // Here the server is restarted, or its name moves to another one.
/// pool.retire_all();
/// pool.resume();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresPool {
    pool: Pool<PostgresDriver>,
}

/// What a health check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long it took to acquire a connection and to get an answer from the server.
    pub latency: Duration,
    /// The pool afterwards.
    pub state: PoolState,
}

impl PostgresPool {
    /// Makes a pool and waits for its first connection, so that a wrong password or an unreachable server shows now.
    ///
    /// Waits for up to the connect timeout. Cancel safety: dropping the future closes the pool.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] and [`PostgresError::Tls`] before anything is sent; [`PostgresError::Acquire`] with the cause if no
    /// connection could be opened. The pool is closed then.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use pool_postgres::{PostgresConfig, PostgresPool};
    ///
    /// let config: PostgresConfig = "host=db user=app dbname=app pool_max_conns=10".parse()?;
    /// let pool = PostgresPool::connect(config).await?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect(config: PostgresConfig) -> impl Future<Output = Result<Self, PostgresError>> + Send {
        let place = Location::caller();
        async move {
            let config = config.in_step();
            let limit = config.pool.connect_timeout.min(config.pool.acquire_timeout);
            let pool = Self::connect_lazy(config)?;
            drop(pool.acquire_owned_at(limit, place).await?);
            Ok(pool)
        }
    }

    /// Makes a pool without waiting for a connection: for services that start before their database does.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] and [`PostgresError::Tls`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn start(config: pool_postgres::PostgresConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = pool_postgres::PostgresPool::connect_lazy(config)?;
    /// // Here the rest of the service starts. Then, for as long as it may wait for the server:
    /// pool.ready(std::time::Duration::from_secs(60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_lazy(config: PostgresConfig) -> Result<Self, PostgresError> {
        let pool = Self::builder(config)?.build().map_err(PostgresConfigError::from)?;
        Ok(pool.into())
    }

    /// For a pool that is more than its settings: one with [hooks](PoolBuilder::hooks), say. What is built of it is turned into this by `from`.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] and [`PostgresError::Tls`].
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::{ConnectionFacts, HandOut, HookPoint, Hooks};
    /// use pool_postgres::{PostgresConfig, PostgresConnection, PostgresPool};
    ///
    /// /// Each caller finds the path of names that the service wants.
    /// struct Path;
    ///
    /// impl Hooks<PostgresConnection> for Path {
    ///     fn points(&self) -> &[HookPoint] {
    ///         &[HookPoint::BeforeHandOut]
    ///     }
    ///
    ///     async fn before_hand_out(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> HandOut {
    ///         match connection.batch_execute("SET search_path = alerts").await {
    ///             Ok(()) => HandOut::Use,
    ///             Err(_) => HandOut::CloseAndTryAnother,
    ///         }
    ///     }
    /// }
    ///
    /// # fn build(config: PostgresConfig) -> Result<PostgresPool, Box<dyn std::error::Error>> {
    /// let pool = PostgresPool::from(PostgresPool::builder(config)?.hooks(Path).build()?);
    /// # Ok(pool)
    /// # }
    /// ```
    pub fn builder(config: PostgresConfig) -> Result<PoolBuilder<PostgresDriver>, PostgresError> {
        Ok(Self::builder_of(PostgresDriver::new(config)?))
    }

    /// As [`builder`](Self::builder), for a driver that has been made before, such as one with [another TLS library](PostgresDriver::with_tls). The settings of the pool are those of its configuration.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn build(driver: pool_postgres::PostgresDriver) -> Result<(), pool_postgres::PostgresConfigError> {
    /// let pool = pool_postgres::PostgresPool::builder_of(driver).max_size(50).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_of(driver: PostgresDriver) -> PoolBuilder<PostgresDriver> {
        let settings = driver.config().pool.clone();
        Pool::builder(driver).config(settings)
    }

    /// As [`builder`](Self::builder), for a pool that asks what to log in with whenever it opens a connection. See [`CredentialsProvider`].
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder).
    pub fn builder_with_credentials(
        config: PostgresConfig,
        provider: impl CredentialsProvider,
    ) -> Result<PoolBuilder<PostgresDriver>, PostgresError> {
        Ok(Self::builder_of(PostgresDriver::new(config)?.with_credentials(provider)))
    }

    /// As [`Pool::reconfigure`]. A [`connect_timeout`](Config::connect_timeout) of 5 s, which a pool has by default, stands for what the pool has by its list of servers if the configuration has left
    /// that open: [`PostgresConfig::connect_timeout`] for each. So settings can be changed that were taken from the configuration or made anew.
    ///
    /// # Errors
    ///
    /// As [`Pool::reconfigure`].
    pub fn reconfigure(&self, config: Config) -> Result<Reconfigured, ConfigError> {
        self.pool.reconfigure(self.driver().config().keep_in_step(config))
    }

    /// Closes the pool and waits until every session has ended on the server, the leased ones when they come back. See
    /// [`Pool::close`].
    ///
    /// Cancel safety: as [`Pool::close`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn stop(pool: pool_postgres::PostgresPool) {
    /// pool.disconnect().await;
    /// assert!(!pool.is_connected());
    /// # }
    /// ```
    pub async fn disconnect(&self) {
        self.pool.close().await;
    }

    /// Closes the pool within `limit`, as [`Pool::close_within`] does, and returns how many leases are out then.
    ///
    /// Sessions that had to be cut off are gone from the server when it returns: it waits until what they were at has been cancelled, for up to [`Config::close_timeout`] more (5 s by default). So a process may end
    /// right afterwards, and leaves no query behind that nobody waits for; unless the server cannot be reached, or nobody drives the runtime of a session.
    ///
    /// Cancel safety: the pool stays closed; what has been cut off is cancelled in the background, as long as the runtime goes on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn shut_down(pool: pool_postgres::PostgresPool) {
    /// let left = pool.close_within(std::time::Duration::from_secs(10)).await;
    /// if left > 0 {
    ///     eprintln!("{left} connections were still in use, and have been cut off");
    /// }
    /// # }
    /// ```
    pub async fn close_within(&self, limit: Duration) -> usize {
        // Owned across the awaits: nothing.
        let left = self.pool.close_within(limit).await;
        self.driver().cluster.settings.dismissals.ended(self.pool.config().close_timeout).await;
        left
    }

    /// One check by hand, as any caller would make it: acquires a connection, in turn, and asks the server for a sign of life, within the health check timeout (5 s) or the acquire timeout
    /// if that is shorter. A service that wants to know how its pool is has it [monitored](Pool::monitor): then a pool that is full is told from a server that does not answer.
    ///
    /// Cancel safety: the connection goes back and is put in order.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Acquire`] with its cause, or [`PostgresError::Ping`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn check(pool: &pool_postgres::PostgresPool) {
    /// match pool.health().await {
    ///     Ok(health) => println!("answered within {:?} ({})", health.latency, health.state),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    pub async fn health(&self) -> Result<Health, PostgresError> {
        let config = self.pool.config();
        let limit = config.health_check_timeout.min(config.acquire_timeout);
        let started = Instant::now();
        let mut lease = self.pool.acquire_timeout(limit).await?;
        // Owned across the await: the lease. Dropped, it goes back and is put in order.
        let ping = self.pool.driver().ping(&mut lease);
        match timeout(limit.saturating_sub(started.elapsed()), ping).await {
            Ok(Ok(())) => {
                let latency = started.elapsed();
                drop(lease);
                Ok(Health { latency, state: self.pool.state() })
            }
            Ok(Err(error)) => Err(PostgresError::Ping(error.to_string())),
            Err(_) => {
                // It may answer later, and may never.
                lease.discard();
                Err(PostgresError::Ping(format!("no answer within {limit:?}")))
            }
        }
    }

    /// Runs operations on this pool that are tried again, with a budget of their own. See [`retry`](crate::retry).
    ///
    /// # Errors
    ///
    /// The fields of the policy that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::Queries;
    /// use pool_postgres::retry::RetryPolicy;
    ///
    /// # async fn read(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let retrier = pool.retrying(RetryPolicy::default())?;
    /// let row = retrier.idempotent(async |lease| lease.query_one("SELECT count(*) FROM account", &[]).await).await?;
    /// println!("{} accounts", row.get::<_, i64>(0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retrying(&self, policy: RetryPolicy) -> Result<Retrier, PostgresConfigError> {
        Retrier::new(self.clone(), policy)
    }

    /// Whether the pool is open and has a session, whatever that is at, as far as it knows without asking the server. See [`health`](Self::health) for asking.
    pub fn is_connected(&self) -> bool {
        let state = self.pool.state();
        !state.closed && state.size > state.opening
    }
}

impl From<Pool<PostgresDriver>> for PostgresPool {
    fn from(pool: Pool<PostgresDriver>) -> Self {
        Self { pool }
    }
}

impl Deref for PostgresPool {
    type Target = Pool<PostgresDriver>;

    fn deref(&self) -> &Pool<PostgresDriver> {
        &self.pool
    }
}
