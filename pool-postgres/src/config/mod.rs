//! Where and how to connect, and how large the pool is.

mod duration;
mod error;
mod field;
mod key_value;
mod password;
mod sslmode;
mod uri;

pub use error::PostgresConfigError;
pub use password::Password;
pub use sslmode::SslMode;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where and how to connect, and how large the pool is.
///
/// Make one from [`Default`] and change fields, parse one from a [URI or key/value string](PostgresConfig::from_str), or read
/// [the environment](PostgresConfig::from_env).
///
/// # Example
///
/// ```
/// use pool_postgres::{PostgresConfig, SslMode};
///
/// let config: PostgresConfig = "host=db.example port=5433 user=app password='a b' sslmode=verify-full pool_max_conns=50".parse()?;
/// assert_eq!((config.host.as_str(), config.port, config.max_conns), ("db.example", 5433, 50));
/// assert_eq!(config.sslmode, SslMode::VerifyFull);
/// assert!(!format!("{config:?}").contains("a b"), "a password is never shown");
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// Host name, address, or the folder of a Unix socket if it starts with `/`. Default `localhost`.
    pub host: String,
    /// Port, also part of the name of a Unix socket. Default 5432.
    pub port: u16,
    /// Database. Default: the one named as the user.
    pub database: Option<String>,
    /// User. Default: the user of the operating system, from `USER` or `LOGNAME`.
    pub user: Option<String>,
    /// Password. Default none.
    pub password: Option<Password>,
    /// Whether to use TLS and what to verify. Default [`SslMode::Prefer`].
    pub sslmode: SslMode,
    /// File with the certificates (PEM) of the authorities to trust. Default: those of the operating system.
    pub sslrootcert: Option<PathBuf>,
    /// The name that the server shows for these sessions. Default none.
    pub application_name: Option<String>,
    /// The most connections of the pool. From 1 to 65535; default 20.
    pub max_conns: usize,
    /// Connections kept open even when nobody needs them. At most `max_conns`; default 2.
    pub min_conns: usize,
    /// Connections older than this are replaced; `None` lets them live. Default 1 h.
    pub max_conn_lifetime: Option<Duration>,
    /// Connections above `min_conns` that nobody used for this long are closed; `None` keeps them. Default 5 min.
    pub max_conn_idle_time: Option<Duration>,
    /// An idle connection that nobody used for this long is pinged; `None` never pings. Default 30 s.
    pub health_check_period: Option<Duration>,
    /// How long `acquire` waits. Default 30 s.
    pub acquire_timeout: Duration,
    /// Budget of one attempt to connect. Default 5 s.
    pub connect_timeout: Duration,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        let pool = pool_core::Config::default();
        Self {
            host: "localhost".to_owned(),
            port: 5432,
            database: None,
            user: None,
            password: None,
            sslmode: SslMode::default(),
            sslrootcert: None,
            application_name: None,
            max_conns: pool.max_size,
            min_conns: pool.min_size,
            max_conn_lifetime: pool.max_lifetime,
            max_conn_idle_time: pool.idle_timeout,
            health_check_period: pool.health_check_interval,
            acquire_timeout: pool.acquire_timeout,
            connect_timeout: pool.connect_timeout,
        }
    }
}

impl PostgresConfig {
    /// Reads libpq's variables `PGHOST`, `PGPORT`, `PGDATABASE`, `PGUSER`, `PGPASSWORD`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGAPPNAME` and
    /// `PGCONNECT_TIMEOUT`, and for the pool `POOL_MAX_CONNS`, `POOL_MIN_CONNS`, `POOL_MAX_CONN_LIFETIME`, `POOL_MAX_CONN_IDLE_TIME`,
    /// `POOL_HEALTH_CHECK_PERIOD` and `POOL_ACQUIRE_TIMEOUT`. What is not set, or empty, keeps its default.
    ///
    /// # Errors
    ///
    /// A variable with a value that is not allowed, named by the field it sets.
    pub fn from_env() -> Result<Self, PostgresConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), from any source of variables.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, PostgresConfigError> {
        let mut config = Self::default();
        for (variable, keyword) in field::VARIABLES {
            if let Some(value) = lookup(variable).filter(|value| !value.is_empty()) {
                config.set(keyword, &value)?;
            }
        }
        Ok(config)
    }

    /// The pool's part of the settings, checked.
    ///
    /// # Errors
    ///
    /// A field that is out of its range, by its name in this struct.
    pub fn pool_config(&self) -> Result<pool_core::Config, PostgresConfigError> {
        let mut pool = pool_core::Config::default();
        pool.max_size = self.max_conns;
        pool.min_size = self.min_conns;
        pool.max_lifetime = self.max_conn_lifetime;
        pool.idle_timeout = self.max_conn_idle_time;
        pool.health_check_interval = self.health_check_period;
        pool.acquire_timeout = self.acquire_timeout;
        pool.connect_timeout = self.connect_timeout;
        pool.max_openers = pool.max_openers.min(self.max_conns.max(1));
        pool.validate()?;
        Ok(pool)
    }

    /// The user to connect as.
    pub(crate) fn resolved_user(&self) -> Result<String, PostgresConfigError> {
        let from_system = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let user = self.user.clone().or_else(from_system).filter(|user| !user.is_empty());
        user.ok_or(PostgresConfigError::Missing { field: "user" })
    }
}

impl FromStr for PostgresConfig {
    type Err = PostgresConfigError;

    /// Parses a URI (`postgres://user:password@host:port/database?keyword=value`) or a string of `keyword=value` pairs, both as libpq
    /// writes them. What is left out keeps its default; the environment is not read.
    ///
    /// Keywords: `host`, `port`, `dbname`, `user`, `password`, `sslmode`, `sslrootcert`, `application_name`, `connect_timeout`, and for the pool,
    /// named as pgxpool names them, `pool_max_conns`, `pool_min_conns`, `pool_max_conn_lifetime`, `pool_max_conn_idle_time`,
    /// `pool_health_check_period`, and `pool_acquire_timeout`. Durations are written `90`, `90s`, `1m30s` or `500ms`; 0 switches ages and pings off.
    fn from_str(text: &str) -> Result<Self, PostgresConfigError> {
        let mut config = Self::default();
        let uri = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
        match uri {
            Some(rest) => uri::parse(rest, &mut config)?,
            None if is_other_uri(text) => return Err(OTHER_URI),
            None => key_value::parse(text, &mut config)?,
        }
        Ok(config)
    }
}

const OTHER_URI: PostgresConfigError =
    PostgresConfigError::Malformed { part: "the scheme", problem: "allowed: postgres:// and postgresql://" };

/// Whether it starts like a URI: letters, and then `://`.
fn is_other_uri(text: &str) -> bool {
    text.trim_start()
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(char::is_alphanumeric))
}

#[cfg(test)]
mod tests;
