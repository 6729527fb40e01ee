//! What users do to a pool that suffers. Shared by all tests of such pools.

use std::time::{Duration, Instant};

use pool_core::{AcquireError, Config};
use pool_postgres::{Host, PostgresConfig, PostgresLease};

use crate::asking::{LIMIT, answer, in_time};
use crate::common::Chaos;

/// What no error and no debug text may contain.
pub(crate) const PASSWORD: &str = "s3cr3t horse battery";
/// Nobody waits for longer for an answer that may not come.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// By how much a busy machine may miss a deadline: it may stand still for seconds. Less than any limit of time that a
/// pool has unless it is told otherwise.
pub(crate) const SLACK: Duration = Duration::from_secs(4);

impl Chaos {
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

    /// The error of an acquire that has to fail because attempts to connect do. On a busy machine its time may be over
    /// before one of them has failed: then whoever asks next is told.
    pub(crate) async fn told(&mut self) -> AcquireError {
        let asking = async {
            loop {
                let error = self.refused().await;
                if !matches!(error, AcquireError::Timeout { failure: None, .. }) {
                    return error;
                }
            }
        };
        in_time("why not", asking).await
    }

    /// A connection. What was wrong for good is believed until the next attempt, which is made.
    pub(crate) async fn served(&self) -> PostgresLease<'_> {
        let started = Instant::now();
        loop {
            match self.acquire().await {
                Ok(lease) => return lease,
                Err(AcquireError::OpenFailed { .. }) if started.elapsed() < SLACK => tokio::task::yield_now().await,
                Err(error) => panic!("a connection: {error}"),
            }
        }
    }

    /// A connection that answers.
    pub(crate) async fn working(&self) -> PostgresLease<'_> {
        let lease = self.served().await;
        assert_eq!(answer(&lease, 41).await.expect("an answer"), 42);
        lease
    }

    /// Opens connections until there are so many.
    pub(crate) async fn fill(&self, size: usize) {
        self.pool.warm_up(size, Duration::ZERO, LIMIT).await.expect("connections");
    }

    /// Other settings, from now on.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.pool.config()).clone();
        change(&mut config);
        self.pool.reconfigure(config).expect("settings that work");
    }

    /// Other limits of time, from now on.
    pub(crate) fn hurry(&self, connect_timeout: Duration, acquire_timeout: Duration) {
        self.reconfigure(|config| {
            (config.connect_timeout, config.acquire_timeout) = (connect_timeout, acquire_timeout);
        });
    }

    /// Nobody is in a hurry any more: whatever begins from now on has as much time as by default.
    pub(crate) fn patient(&self) {
        let usual = Config::default();
        self.reconfigure(|config| {
            for (limit, least) in [
                (&mut config.acquire_timeout, LIMIT),
                (&mut config.connect_timeout, usual.connect_timeout),
                (&mut config.reset_timeout, usual.reset_timeout),
                (&mut config.check_timeout, usual.check_timeout),
                (&mut config.health_check_timeout, usual.health_check_timeout),
            ] {
                *limit = least.max(*limit);
            }
        });
    }

    /// Keeps what an error says, to look for secrets in it.
    pub(crate) fn note<E: std::error::Error>(&mut self, error: &E) {
        self.said.push(format!("{error} {error:?} {:?}", error.source()));
    }
}

/// A pool of at most `max_size` connections, that keeps none and is quick to try again.
pub(crate) fn settings(port: u16, name: &str, max_size: usize) -> PostgresConfig {
    pool_testkit::secrets::listen();
    let mut config = PostgresConfig::default();
    config.hosts = vec![Host::new(std::net::Ipv4Addr::LOCALHOST.to_string(), port)];
    config.user = Some("chaos".to_owned());
    config.password = Some(PASSWORD.into());
    config.database = Some("postgres".to_owned());
    config.application_name = Some(name.to_owned());
    config.pool.max_size = max_size;
    config.pool.min_size = 0;
    config.pool.acquire_timeout = LIMIT;
    config.pool.backoff_initial = Duration::from_millis(1);
    config.pool.backoff_max = Duration::from_millis(20);
    // Who waits here is meant to be served after the fault, however long it lasts.
    config.pool.breaker_failures = None;
    config
}

/// A pool that gives up soon.
pub(crate) fn impatient(config: &mut PostgresConfig) {
    let pool = &mut config.pool;
    (pool.reset_timeout, pool.close_timeout) = (SHORT, SHORT);
    (pool.check_timeout, pool.health_check_timeout) = (SHORT, SHORT);
}
