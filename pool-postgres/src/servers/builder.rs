//! Makes the pools of the roles.

use std::fmt;
use std::sync::{Arc, OnceLock};

use pool_core::PoolBuilder;

use super::following::{Following, Inner, Noticed};
use super::{PostgresServers, ServerRole};
use crate::config::{PostgresConfig, PostgresConfigError};
use crate::credentials::{Cache, CredentialsProvider};
use crate::driver::PostgresDriver;
use crate::error::PostgresError;
use crate::memory::Memory;
use crate::pool::PostgresPool;
use crate::tls::{AnyConnector, TlsConnector};

type Adjust = Box<dyn FnMut(ServerRole, PoolBuilder<PostgresDriver>) -> PoolBuilder<PostgresDriver> + Send>;
type MakeTls = Box<dyn FnMut(ServerRole) -> Arc<dyn AnyConnector> + Send>;

/// Makes [`PostgresServers`] that are more than their configuration.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{Credentials, PostgresConfig, PostgresServers, ServerRole};
///
/// # fn build(config: PostgresConfig) -> Result<PostgresServers, pool_postgres::PostgresError> {
/// PostgresServers::builder(config)
///     .credentials(async |_| Ok(Credentials::new(std::fs::read_to_string("/run/secrets/app")?)))
///     .pools(|role, pool| match role {
///         ServerRole::Primary => pool.max_size(10),
///         _ => pool.max_size(40),
///     })
///     .build()
/// # }
/// ```
#[must_use = "nothing is made before `build`"]
pub struct PostgresServersBuilder {
    config: PostgresConfig,
    provider: Option<Arc<Cache>>,
    tls: Option<MakeTls>,
    adjust: Adjust,
}

impl fmt::Debug for PostgresServersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresServersBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PostgresServersBuilder {
    pub(super) fn new(config: PostgresConfig) -> Self {
        Self { config, provider: None, tls: None, adjust: Box::new(|_, pool| pool) }
    }

    /// Asks what to log in with whenever a connection is opened, as [`PostgresDriver::with_credentials`] does; what is kept of it is kept for all pools.
    pub fn credentials(mut self, provider: impl CredentialsProvider) -> Self {
        self.provider = Some(Arc::new(Cache::new(provider)));
        self
    }

    /// Another TLS library, as for [`PostgresDriver::with_tls`]. Asked for once for each pool: each hears of changed certificates by itself, and replaces its connections.
    pub fn tls<T: TlsConnector>(mut self, mut make: impl FnMut(ServerRole) -> T + Send + 'static) -> Self {
        self.tls = Some(Box::new(move |role| Arc::new(make(role))));
        self
    }

    /// Has each pool be more than its settings, or have others than the rest: its size, [hooks](PoolBuilder::hooks), a [budget](PoolBuilder::budget) for all of them.
    pub fn pools(
        mut self,
        adjust: impl FnMut(ServerRole, PoolBuilder<PostgresDriver>) -> PoolBuilder<PostgresDriver> + Send + 'static,
    ) -> Self {
        self.adjust = Box::new(adjust);
        self
    }

    /// Makes the pools, which open nothing before somebody acquires, unless [`pools`](Self::pools) has said otherwise.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] and [`PostgresError::Tls`].
    pub fn build(mut self) -> Result<PostgresServers, PostgresError> {
        self.config.pool.lazy = true;
        self.config.validate()?;
        let (memory, noticed, back) = (Arc::new(Memory::following()), Noticed::default(), Arc::new(OnceLock::new()));
        let mut pool = |role: ServerRole| -> Result<PostgresPool, PostgresError> {
            let driver = self.driver(role)?.with_memory(Arc::clone(&memory));
            let driver = driver.with_follower(Arc::new(Following::new(role, noticed.clone(), Arc::clone(&back))));
            let builder = (self.adjust)(role, PostgresPool::builder_of(driver));
            Ok(builder.build().map_err(PostgresConfigError::from)?.into())
        };
        let [primary, replica, prefer_replica] = ServerRole::ALL.map(&mut pool);
        let inner = Arc::new(Inner::new([primary?, replica?, prefer_replica?], memory, noticed.clone()));
        let _ = back.set(Arc::downgrade(&inner));
        Ok(PostgresServers { inner })
    }

    fn driver(&mut self, role: ServerRole) -> Result<PostgresDriver, PostgresError> {
        let config = PostgresConfig { target_session_attrs: role.wanted(), ..self.config.clone() };
        let driver = match &mut self.tls {
            Some(make) => PostgresDriver::with_connector(config, make(role))?,
            None => PostgresDriver::new(config)?,
        };
        Ok(match &self.provider {
            Some(cache) => driver.with_cache(Arc::clone(cache)),
            None => driver,
        })
    }
}
