//! Where and how to connect, and the settings of the pool.

mod duration;
mod error;
mod field;
mod keepalive;
mod key_value;
mod password;
mod pool;
mod sslmode;
mod uri;

pub use error::PostgresConfigError;
pub use password::Password;
pub use sslmode::SslMode;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where and how to connect, and the settings of the pool.
///
/// Make one from [`Default`] and change fields, parse one from a [URI or key/value string](PostgresConfig::from_str), or read
/// [the environment](PostgresConfig::from_env).
///
/// # Keywords
///
/// | keyword | variable | field | values | default |
/// | --- | --- | --- | --- | --- |
/// | `host` | `PGHOST` | `host` | a name, an address, or a folder | `localhost` |
/// | `port` | `PGPORT` | `port` | 1 to 65535 | 5432 |
/// | `dbname` | `PGDATABASE` | `database` | a name | that of the user |
/// | `user` | `PGUSER` | `user` | a name | that of the operating system |
/// | `password` | `PGPASSWORD` | `password` | | none |
/// | `sslmode` | `PGSSLMODE` | `sslmode` | `disable`, `prefer`, `require`, `verify-ca`, `verify-full` | `prefer` |
/// | `sslrootcert` | `PGSSLROOTCERT` | `sslrootcert` | a file | those of the operating system |
/// | `application_name` | `PGAPPNAME` | `application_name` | | none |
/// | `keepalives` | `POOL_KEEPALIVES` | `keepalives` | 1 (on), 0 (off) | 1 |
/// | `keepalives_idle` | `POOL_KEEPALIVES_IDLE` | `keepalives_idle` | seconds, or 0 for the system's default | 60 s |
/// | `keepalives_interval` | `POOL_KEEPALIVES_INTERVAL` | `keepalives_interval` | seconds, or 0 for the system's default | 10 s |
/// | `keepalives_count` | `POOL_KEEPALIVES_COUNT` | `keepalives_count` | 1 to 127, or 0 for the system's default | 3 |
/// | `tcp_user_timeout` | `POOL_TCP_USER_TIMEOUT` | `tcp_user_timeout` | milliseconds, or a duration with its unit, or 0 for the system's default | 0 |
/// | `connect_timeout` | `PGCONNECT_TIMEOUT` | `pool.connect_timeout` | a duration | 5 s |
/// | `pool_max_conns` | `POOL_MAX_CONNS` | `pool.max_size` | 1 to 65535; a small one takes the default of `pool_min_conns` down with it | 20 |
/// | `pool_min_conns` | `POOL_MIN_CONNS` | `pool.min_size` | 0 to `pool_max_conns` | 2 |
/// | `pool_min_idle_conns` | `POOL_MIN_IDLE_CONNS` | `pool.min_idle` | 0 to `pool_max_conns` | 0 |
/// | `pool_lazy` | `POOL_LAZY` | `pool.lazy` | `true`, `false` | `false` |
/// | `pool_idle_order` | `POOL_IDLE_ORDER` | `pool.idle_order` | `recent`, `fifo`, `least_recently_used` | `recent` |
/// | `pool_acquire_timeout` | `POOL_ACQUIRE_TIMEOUT` | `pool.acquire_timeout` | a duration | 30 s |
/// | `pool_max_conn_idle_time` | `POOL_MAX_CONN_IDLE_TIME` | `pool.idle_timeout` | a duration, or 0 for never | 5 min |
/// | `pool_max_conn_lifetime` | `POOL_MAX_CONN_LIFETIME` | `pool.max_lifetime` | a duration, or 0 for never | 1 h |
/// | `pool_rotation_headroom` | `POOL_ROTATION_HEADROOM` | `pool.rotation_headroom` | 0 to 65535 - `pool_max_conns` | 0 |
/// | `pool_max_uses` | `POOL_MAX_USES` | `pool.max_uses` | 1 and more, or 0 for any number | any number |
/// | `pool_health_check_period` | `POOL_HEALTH_CHECK_PERIOD` | `pool.health_check_interval` | a duration, or 0 for never | 30 s |
/// | `pool_health_check_timeout` | `POOL_HEALTH_CHECK_TIMEOUT` | `pool.health_check_timeout` | a duration | 5 s |
/// | `pool_check_after_idle` | `POOL_CHECK_AFTER_IDLE` | `pool.check_after_idle` | a duration, or 0 for never | never |
/// | `pool_check_timeout` | `POOL_CHECK_TIMEOUT` | `pool.check_timeout` | a duration | 5 s |
/// | `pool_reset_timeout` | `POOL_RESET_TIMEOUT` | `pool.reset_timeout` | a duration | 5 s |
/// | `pool_close_timeout` | `POOL_CLOSE_TIMEOUT` | `pool.close_timeout` | a duration | 5 s |
/// | `pool_max_openers` | `POOL_MAX_OPENERS` | `pool.max_openers` | 1 to 255, or to `pool_max_conns` if that is more | 4 |
/// | `pool_opener_interval` | `POOL_OPENER_INTERVAL` | `pool.opener_interval` | a duration, or 0 for none | none |
/// | `pool_backoff_initial` | `POOL_BACKOFF_INITIAL` | `pool.backoff_initial` | a duration | 50 ms |
/// | `pool_backoff_max` | `POOL_BACKOFF_MAX` | `pool.backoff_max` | a duration, at least `pool_backoff_initial` | 2 s |
/// | `pool_breaker_failures` | `POOL_BREAKER_FAILURES` | `pool.breaker_failures` | 1 and more, or 0 for no breaker | 3 |
/// | `pool_breaker_after` | `POOL_BREAKER_AFTER` | `pool.breaker_after` | a duration | 5 s |
/// | `pool_leak_after` | `POOL_LEAK_AFTER` | `pool.leak_after` | a duration, or 0 for never | never |
/// | `pool_reclaim_after` | `POOL_RECLAIM_AFTER` | `pool.reclaim_after` | a duration, or 0 for never | never |
/// | `pool_refuse_self_wait` | `POOL_REFUSE_SELF_WAIT` | `pool.refuse_self_wait` | `true`, `false` | `false` |
/// | `pool_collect_within` | `POOL_COLLECT_WITHIN` | `pool.collect_within` | a duration, or 0 for never | never |
///
/// A duration is written `90` (seconds), `90s`, `1m30s`, `2h`, `1d` or `500ms`, and is from 1 ms to 10 years. What each setting of the pool does is in the documentation of
/// [`pool_core::Config`]. Names that pgxpool has are pgxpool's.
///
/// # Networks that say nothing
///
/// A network may swallow a connection without a word: a firewall forgets it, a host loses its power. The pool's pings find that out on idle connections. For those in use
/// the operating system has to: it asks the other side for a sign of life after `keepalives_idle` without one, and again every `keepalives_interval`, and after
/// `keepalives_count` questions without an answer the connection is lost, and whoever waits for it is told; by default after 90 seconds. That is for connections on which the server has
/// the word, such as a long query. What was sent and is not acknowledged is repeated instead, for up to a quarter of an hour, unless `tcp_user_timeout` is shorter. It has no default, because a
/// system also counts the time in which the server is there and takes no more: a `COPY` into a table that somebody has locked would be lost. Unix sockets have none of this, and
/// `tcp_user_timeout` is Linux's.
///
/// # Example
///
/// ```
/// use pool_postgres::{PostgresConfig, SslMode};
///
/// let mut config: PostgresConfig = "host=db.example port=5433 user=app password='a b' sslmode=verify-full pool_max_conns=50".parse()?;
/// assert_eq!((config.host.as_str(), config.port, config.pool.max_size), ("db.example", 5433, 50));
/// assert_eq!(config.sslmode, SslMode::VerifyFull);
/// assert!(!format!("{config:?}").contains("a b"), "a password is never shown");
/// config.pool.rotation_headroom = 2;
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
    /// Whether the operating system asks the server for signs of life (TCP keepalive). Default `true`.
    pub keepalives: bool,
    /// How long nothing comes from the server before it is asked: whole seconds, 1 s to 32767 s. `None`: the operating system's default. Default 60 s.
    pub keepalives_idle: Option<Duration>,
    /// How long an answer is waited for before it is asked again: whole seconds, 1 s to 32767 s. `None`: the operating system's default. Default 10 s.
    pub keepalives_interval: Option<Duration>,
    /// How often it is asked before the connection is lost: 1 to 127. `None`: the operating system's default. Default 3.
    pub keepalives_count: Option<u32>,
    /// How long what was sent may be unacknowledged before the connection is lost: 1 ms to 24 days. `None`: the operating system's default. Default `None`. On Linux
    /// alone; see [above](PostgresConfig#networks-that-say-nothing).
    pub tcp_user_timeout: Option<Duration>,
    /// The settings of the pool.
    pub pool: pool_core::Config,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5432,
            database: None,
            user: None,
            password: None,
            sslmode: SslMode::default(),
            sslrootcert: None,
            application_name: None,
            keepalives: true,
            keepalives_idle: Some(Duration::from_mins(1)),
            keepalives_interval: Some(Duration::from_secs(10)),
            keepalives_count: Some(3),
            tcp_user_timeout: None,
            pool: pool_core::Config::default(),
        }
    }
}

impl PostgresConfig {
    /// Reads the variables of the [table](PostgresConfig#keywords): those of libpq, and for the pool `POOL_MAX_CONNS` and its kin. What is not set, or empty, keeps
    /// its default.
    ///
    /// # Errors
    ///
    /// A variable with a value that is not allowed, named by the keyword it stands for.
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
        for (variable, keyword) in field::variables() {
            if let Some(value) = lookup(&variable).filter(|value| !value.is_empty()) {
                config.set(keyword, &value)?;
            }
        }
        Ok(config)
    }

    /// Checks the settings of the pool and of keepalive, as is done when the pool is made.
    ///
    /// # Errors
    ///
    /// A field that is out of its range, or every one of the pool's, by its keyword in the [table](PostgresConfig#keywords).
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_postgres::PostgresConfig::default();
    /// config.pool.min_size = 21;
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.to_string(), r#"pool_min_conns = "21" is not allowed; allowed: 0 to pool_max_conns"#);
    /// ```
    pub fn validate(&self) -> Result<(), PostgresConfigError> {
        self.pool.validate()?;
        keepalive::refused(self).map_or(Ok(()), Err)
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
    /// The keywords are in the [table](PostgresConfig#keywords).
    ///
    /// # Errors
    ///
    /// A value that is not allowed, a keyword that does not exist, or what is malformed in the string; never with a password in it.
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
