//! One handle on all servers of a configuration: a pool for each role that a server may have.

mod builder;
mod following;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pool_core::{Config, ConfigError, Reconfigured};

use crate::config::{PostgresConfig, TargetSessionAttrs};
use crate::error::PostgresError;
use crate::pool::PostgresPool;
pub use builder::PostgresServersBuilder;
use following::Inner;

/// What a server is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerRole {
    /// The one that is written to: [`TargetSessionAttrs::ReadWrite`].
    Primary,
    /// One that is read from: [`TargetSessionAttrs::Standby`].
    Replica,
    /// One that is read from, or any if there is none: [`TargetSessionAttrs::PreferStandby`].
    PreferReplica,
}

impl ServerRole {
    /// In the order in which [`PostgresServers`] has their pools.
    const ALL: [Self; 3] = [Self::Primary, Self::Replica, Self::PreferReplica];

    fn wanted(self) -> TargetSessionAttrs {
        match self {
            Self::Primary => TargetSessionAttrs::ReadWrite,
            Self::Replica => TargetSessionAttrs::Standby,
            Self::PreferReplica => TargetSessionAttrs::PreferStandby,
        }
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::PreferReplica => "prefer replica",
        })
    }
}

/// The servers of one configuration, by what they are used as. Cheap to clone; all clones are the same handle.
///
/// It has a pool for each [`ServerRole`], over the same list of hosts, with the same settings, and with the same knowledge of which server is there and what it is; `target_session_attrs` of the configuration
/// does not count. Each is as large as the settings say, so that a server may be asked for as many connections as its pools have together. A pool opens nothing before somebody acquires from it.
///
/// **After a failover** it follows by itself. A primary that is lost is looked for among all servers, and the one that was found stays the first choice for as long as it can be reached, wherever
/// it stands in the list. The connections to the one before are retired, and in the other pools those to the standby that has been promoted.
///
/// **A connection whose server is not what it was** is closed instead of used again, and others to its host are [retired](pool_core::Pool::retire_host): a standby that was promoted, and a primary that was told to be
/// read-only (`default_transaction_read_only`). A server says so after whatever it is asked next on that connection, a ping for example (PostgreSQL 14 and later). So one statement may be
/// refused with 25006 on each connection, or be read from a standby that is one no more. A session that its own user has made read-only leaves the pool of the primary alone.
///
/// **What it does not do**: keep two primaries apart. A connection goes to a server that says it can be written to; if an old primary comes back as one, and the new one cannot be reached from here, the old one
/// will do, and is written to. Whoever promotes a standby sees to it that the old primary does not come back as it was.
///
/// Connections of the role [`PreferReplica`](ServerRole::PreferReplica) that went to the primary, since there was no standby, stay there until they end otherwise.
///
/// It follows for as long as a handle is there: a clone of one of its pools goes on without.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresConfig, PostgresServers};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let config: PostgresConfig = "host=db1,db2,db3 user=app dbname=app".parse()?;
/// let servers = PostgresServers::new(config)?;
/// servers.primary().execute("INSERT INTO visits DEFAULT VALUES", &[]).await?;
/// let row = servers.prefer_replica().query_one("SELECT count(*) FROM visits", &[]).await?;
/// println!("{} visits, more or less", row.get::<_, i64>(0));
/// for (role, pool) in servers.pools() {
///     println!("{role}: {} idle", pool.state().idle);
/// }
/// servers.disconnect().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresServers {
    inner: Arc<Inner>,
}

impl PostgresServers {
    /// Makes the pools, which open nothing yet.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] and [`PostgresError::Tls`].
    pub fn new(config: PostgresConfig) -> Result<Self, PostgresError> {
        Self::builder(config).build()
    }

    /// For pools that are more than their settings: with credentials that change, another TLS library, hooks, a size for each.
    pub fn builder(config: PostgresConfig) -> PostgresServersBuilder {
        PostgresServersBuilder::new(config)
    }

    /// The pool of the server that is written to.
    pub fn primary(&self) -> &PostgresPool {
        self.pool(ServerRole::Primary)
    }

    /// The pool of those that are read from. While there is none, nobody gets a connection.
    pub fn replica(&self) -> &PostgresPool {
        self.pool(ServerRole::Replica)
    }

    /// As [`replica`](Self::replica), with any server if there is no standby.
    pub fn prefer_replica(&self) -> &PostgresPool {
        self.pool(ServerRole::PreferReplica)
    }

    /// The pool of a role.
    pub fn pool(&self, role: ServerRole) -> &PostgresPool {
        self.inner.pool(role)
    }

    /// All pools, with their roles: for statistics, say, or to [monitor](pool_core::Pool::monitor) each.
    pub fn pools(&self) -> impl Iterator<Item = (ServerRole, &PostgresPool)> {
        ServerRole::ALL.into_iter().map(|role| (role, self.pool(role)))
    }

    /// Changes the settings of all pools to these, as [`PostgresPool::reconfigure`] does for each, but for [`Config::lazy`], which stays `true`; sizes of its own that [the builder](PostgresServersBuilder::pools) has given to a role are among what is changed. One of them may have settings of its own by its own `reconfigure`, until this is called again.
    ///
    /// # Errors
    ///
    /// As [`PostgresPool::reconfigure`]; nothing has changed then.
    pub fn reconfigure(&self, mut config: Config) -> Result<Vec<(ServerRole, Reconfigured)>, ConfigError> {
        config.lazy = true;
        self.pools().map(|(role, pool)| Ok((role, pool.reconfigure(config.clone())?))).collect()
    }

    /// Closes all pools at the same time, as [`PostgresPool::disconnect`] does.
    ///
    /// Cancel safety: the pools stay closed.
    pub async fn disconnect(&self) {
        // Owned across the await: nothing.
        together(self.pools().map(|(_, pool)| pool.disconnect())).await;
    }

    /// Closes all pools at the same time, as [`PostgresPool::close_within`] does, and returns how many leases are out then.
    ///
    /// Cancel safety: the pools stay closed.
    pub async fn close_within(&self, limit: Duration) -> usize {
        // Owned across the await: nothing.
        together(self.pools().map(|(_, pool)| pool.close_within(limit))).await.into_iter().sum()
    }
}

/// What comes of all of them, one beside the other.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outcomes = Vec::new();
    // Owned across the await: the futures.
    poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(outcome) => {
                outcomes.push(outcome);
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes
}
