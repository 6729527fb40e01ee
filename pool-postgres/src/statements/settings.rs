//! What is done with statements.

use std::fmt;
use std::str::FromStr;

use crate::config::PostgresConfigError;

/// How statements get to the server.
///
/// # Example
///
/// ```
/// use pool_postgres::{PostgresConfig, StatementMode};
///
/// let config: PostgresConfig = "host=pgbouncer.example pool_statement_mode=unprepared".parse()?;
/// assert_eq!(config.statements.mode, StatementMode::Unprepared);
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatementMode {
    /// Each connection prepares what it executes, and keeps it. The server parses and plans once.
    #[default]
    Prepared,
    /// Nothing is kept on the server, which parses each time: for proxies that hand out their servers by the transaction, such as PgBouncer, and know nothing of prepared statements. What types the
    /// parameters of a statement have is asked once for each pool, in a transaction of its own; from then on a statement takes one round trip.
    Unprepared,
}

impl StatementMode {
    const ALLOWED: &str = "prepared, unprepared";
}

impl fmt::Display for StatementMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepared => "prepared",
            Self::Unprepared => "unprepared",
        })
    }
}

impl FromStr for StatementMode {
    type Err = PostgresConfigError;

    fn from_str(value: &str) -> Result<Self, PostgresConfigError> {
        match value {
            "prepared" => Ok(Self::Prepared),
            "unprepared" => Ok(Self::Unprepared),
            other => Err(PostgresConfigError::value("pool_statement_mode", other, Self::ALLOWED)),
        }
    }
}

/// What is done with statements.
///
/// # Example
///
/// ```
/// let mut config = pool_postgres::PostgresConfig::default();
/// config.statements.cache = 500;
/// config.statements.prepare_after = 5;
/// config.validate()?;
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatementSettings {
    /// How they get to the server. Default: each connection prepares them.
    pub mode: StatementMode,
    /// How many each connection keeps prepared; the one that has not been used for longest makes room. 0 to 65535; 0 prepares none. Default 256.
    pub cache: usize,
    /// At which use on a connection a statement is prepared; before that it is sent anew each time. 1 to 65535. Default 1.
    pub prepare_after: u32,
    /// How many of those that are used most, on all connections together, are prepared on a connection when it is opened. 0 to `cache`. Default 8.
    pub warm: usize,
}

impl Default for StatementSettings {
    fn default() -> Self {
        Self { mode: StatementMode::default(), cache: 256, prepare_after: 1, warm: 8 }
    }
}

pub(crate) const CACHE: &str = "0 to 65535";
pub(crate) const PREPARE_AFTER: &str = "1 to 65535";
pub(crate) const WARM: &str = "0 to pool_statement_cache";

impl StatementSettings {
    /// Whatever is out of its range.
    pub(crate) fn problems(&self) -> impl Iterator<Item = PostgresConfigError> {
        let refuse = |is_wrong: bool, keyword, value: String, allowed| {
            is_wrong.then(|| PostgresConfigError::value(keyword, value, allowed))
        };
        let cache = refuse(self.cache > 65535, "pool_statement_cache", self.cache.to_string(), CACHE);
        let after = self.prepare_after;
        let after = refuse(!(1..=65535).contains(&after), "pool_prepare_after", after.to_string(), PREPARE_AFTER);
        let warm = refuse(self.warm > self.cache, "pool_warm_statements", self.warm.to_string(), WARM);
        [cache, after, warm].into_iter().flatten()
    }
}
