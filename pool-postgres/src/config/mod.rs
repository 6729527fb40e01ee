//! Where and how to connect, and the settings of the pool.

mod builder;
mod choices;
#[cfg(feature = "serde")]
mod data;
mod duration;
mod error;
mod field;
mod given;
#[cfg(test)]
mod hidden;
mod host;
mod keepalive;
mod key_value;
mod keyword;
mod limits;
mod multiplexing;
mod nearest;
mod number;
mod own;
mod passfile;
mod password;
mod pool;
mod release;
mod require_auth;
mod root;
mod service;
mod session;
mod settle;
mod show;
#[cfg(test)]
mod silent;
mod sources;
mod surroundings;
mod suspect;
#[cfg(test)]
mod told;
mod uri;

pub use builder::PostgresConfigBuilder;
pub use choices::{
    ChannelBinding, LoadBalanceHosts, OpenTransaction, ReleaseMode, SslCertMode, SslMode, SslNegotiation,
    TargetSessionAttrs, TlsVersion,
};
#[cfg(feature = "serde")]
pub use data::Keywords;
pub use error::PostgresConfigError;
pub use given::Origin;
pub use host::Host;
pub use password::Password;
pub use require_auth::{AuthMethod, RequireAuth};
pub use root::RootCertificates;

pub(crate) use passfile::{Wanted, look_up};
#[cfg(test)]
pub(crate) use surroundings::system_user;

use std::path::PathBuf;
use std::time::Duration;

use crate::limits::Limits;
use crate::multiplex::Multiplexing;
use error::Problems;

use crate::statements::StatementSettings;

/// Where and how to connect, and the settings of the pool.
///
/// Make one with a [builder](PostgresConfig::builder), or from [`Default`] and change fields; parse one from a [URI or key/value string](#method.from_str), or have a string [completed](PostgresConfig::resolve) from the service file and the
/// environment, as libpq does it. [`libpq`](crate::libpq) has every keyword of libpq, and what is different here.
///
/// # Keywords
///
/// | keyword | variable | field | values | default |
/// | --- | --- | --- | --- | --- |
/// | `host` | `PGHOST` | `hosts` | names, addresses, folders of Unix sockets, abstract ones after `@`; separated by commas | `/var/run/postgresql` |
/// | `hostaddr` | `PGHOSTADDR` | `hosts` | addresses, as many as hosts | none |
/// | `port` | `PGPORT` | `hosts` | 1 to 65535, one or as many as hosts | 5432 |
/// | `dbname` | `PGDATABASE` | `database` | a name | that of the user |
/// | `user` | `PGUSER` | `user` | a name | that of the operating system |
/// | `password` | `PGPASSWORD` | `password` | | none |
/// | `passfile` | `PGPASSFILE` | `passfile` | a file | none; `~/.pgpass` for [`resolve`](PostgresConfig::resolve) |
/// | `service` | `PGSERVICE` | | a name in a [service file](PostgresConfig::resolve) | none |
/// | `options` | `PGOPTIONS` | `options` | what the server takes on its command line | none |
/// | `application_name` | `PGAPPNAME` | `application_name` | | none |
/// | `fallback_application_name` | | `application_name` | if there is no other | none |
/// | `target_session_attrs` | `PGTARGETSESSIONATTRS` | `target_session_attrs` | `any`, `read-write`, `read-only`, `primary`, `standby`, `prefer-standby` | `any` |
/// | `load_balance_hosts` | `PGLOADBALANCEHOSTS` | `load_balance_hosts` | `disable`, `random` | `disable` |
/// | `sslmode` | `PGSSLMODE` | `sslmode` | `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full` | `prefer`; `verify-full` with `sslrootcert=system` |
/// | `sslnegotiation` | `PGSSLNEGOTIATION` | `sslnegotiation` | `postgres`, `direct` | `postgres` |
/// | `sslrootcert` | `PGSSLROOTCERT` | `sslrootcert` | a file, or `system` | none; `~/.postgresql/root.crt` for `resolve` |
/// | `sslcert` | `PGSSLCERT` | `sslcert` | a file | none; `~/.postgresql/postgresql.crt` for `resolve` |
/// | `sslkey` | `PGSSLKEY` | `sslkey` | a file | none; `~/.postgresql/postgresql.key` for `resolve` |
/// | `sslcertmode` | `PGSSLCERTMODE` | `sslcertmode` | `disable`, `allow`, `require` | `allow` |
/// | `sslcrl` | `PGSSLCRL` | `sslcrl` | a file | none; `~/.postgresql/root.crl` for `resolve`, without `sslcrldir` or `sslrootcert=system` |
/// | `sslcrldir` | `PGSSLCRLDIR` | `sslcrldir` | a folder | none |
/// | `sslsni` | `PGSSLSNI` | `sslsni` | 1 (on), 0 (off) | 1 |
/// | `ssl_min_protocol_version` | `PGSSLMINPROTOCOLVERSION` | `ssl_min_protocol_version` | `TLSv1.2`, `TLSv1.3` | `TLSv1.2` |
/// | `ssl_max_protocol_version` | `PGSSLMAXPROTOCOLVERSION` | `ssl_max_protocol_version` | `TLSv1.2`, `TLSv1.3` | any |
/// | `channel_binding` | `PGCHANNELBINDING` | `channel_binding` | `disable`, `prefer`, `require` | `prefer` |
/// | `require_auth` | `PGREQUIREAUTH` | `require_auth` | a list of [methods](RequireAuth) | any |
/// | `requirepeer` | `PGREQUIREPEER` | `requirepeer` | a user of this machine that runs the server, for Unix sockets | any |
/// | `keepalives` | `POOL_KEEPALIVES` | `keepalives` | 1 (on), 0 (off) | 1 |
/// | `keepalives_idle` | `POOL_KEEPALIVES_IDLE` | `keepalives_idle` | seconds, or 0 for the system's default | 60 s |
/// | `keepalives_interval` | `POOL_KEEPALIVES_INTERVAL` | `keepalives_interval` | seconds, or 0 for the system's default | 10 s |
/// | `keepalives_count` | `POOL_KEEPALIVES_COUNT` | `keepalives_count` | 1 to 127, or 0 for the system's default | 3 |
/// | `tcp_user_timeout` | `POOL_TCP_USER_TIMEOUT` | `tcp_user_timeout` | milliseconds, or a duration with its unit, or 0 for the system's default | 0 |
/// | `connect_timeout` | `PGCONNECT_TIMEOUT` | `connect_timeout` | a duration, for one address, or 0 for 10 years | 5 s |
/// | `pool_connect_timeout` | `POOL_CONNECT_TIMEOUT` | `pool.connect_timeout` | a duration, for all servers | `connect_timeout` for each server |
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
/// | `pool_slow_acquire` | `POOL_SLOW_ACQUIRE` | `pool.slow_acquire` | a duration, or 0 for never | 2 s |
/// | `pool_statement_mode` | `POOL_STATEMENT_MODE` | `statements.mode` | `prepared`, `unprepared` | `prepared` |
/// | `pool_statement_cache` | `POOL_STATEMENT_CACHE` | `statements.cache` | 0 to 65535; a small one takes the default of `pool_warm_statements` down with it | 256 |
/// | `pool_prepare_after` | `POOL_PREPARE_AFTER` | `statements.prepare_after` | 1 to 65535 | 1 |
/// | `pool_warm_statements` | `POOL_WARM_STATEMENTS` | `statements.warm` | 0 to `pool_statement_cache` | 8 |
/// | `pool_release` | `POOL_RELEASE` | `release.mode` | `changed`, `fast`, `verified`, `clean`, `custom` | `changed` |
/// | `pool_release_sql` | `POOL_RELEASE_SQL` | `release.sql` | statements, for `custom` | none |
/// | `pool_on_open_transaction` | `POOL_ON_OPEN_TRANSACTION` | `release.open_transaction` | `rollback`, `close` | `rollback` |
/// | `pool_query_timeout` | `POOL_QUERY_TIMEOUT` | `limits.query_timeout` | a duration, or 0 for none | none |
/// | `pool_cancel_timeout` | `POOL_CANCEL_TIMEOUT` | `limits.cancel_timeout` | a duration | 2 s |
/// | `pool_cancel_on_drop` | `POOL_CANCEL_ON_DROP` | `limits.cancel_on_drop` | `true`, `false` | `true` |
/// | `pool_slow_query` | `POOL_SLOW_QUERY` | `limits.slow_query` | a duration, or 0 for none | none |
/// | `pool_sla` | `POOL_SLA` | `limits.sla` | a duration, or 0 for none | none |
/// | `pool_statement_timeout` | `POOL_STATEMENT_TIMEOUT` | `limits.statement_timeout` | a duration, 24 days at most, or 0 for the server's | the server's |
/// | `pool_transaction_timeout` | `POOL_TRANSACTION_TIMEOUT` | `limits.transaction_timeout` | a duration, 24 days at most, or 0 for the server's; PostgreSQL 17 and later | the server's |
/// | `pool_idle_in_transaction_session_timeout` | `POOL_IDLE_IN_TRANSACTION_SESSION_TIMEOUT` | `limits.idle_in_transaction_session_timeout` | a duration, 24 days at most, or 0 for the server's | the server's |
/// | `pool_tags` | `POOL_TAGS` | `limits.tags` | `key=value,key=value`, with `%2C` for a comma | none |
/// | `pool_max_in_flight` | `POOL_MAX_IN_FLIGHT` | `multiplexing.max_in_flight` | 0 to 65535; 0 shares no connection | 16 |
/// | `pool_apart_after` | `POOL_APART_AFTER` | `multiplexing.apart_after` | a duration, or 0 for never | 10 ms |
///
/// A duration is written `90` (seconds), `90s`, `1m30s`, `2h`, `1d` or `500ms`, and is from 1 ms to 10 years. What each setting of the pool does is in the documentation of
/// [`pool_core::Config`], and of each limit in that of [`Limits`]. Names that pgxpool has are pgxpool's.
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
/// let mut config: PostgresConfig = "host=db.example port=5433 user=app password='a b' sslrootcert=system pool_max_conns=50".parse()?;
/// assert_eq!((config.hosts[0].to_string().as_str(), config.pool.max_size), ("db.example:5433", 50));
/// assert_eq!(config.sslmode, SslMode::VerifyFull);
/// assert!(!format!("{config:?}").contains("a b"), "a password is never shown");
/// config.pool.rotation_headroom = 2;
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// The servers, of which the first that can be reached and will [do](PostgresConfig::target_session_attrs) is taken. Default: that on this machine.
    pub hosts: Vec<Host>,
    /// Database. Default: the one named as the [user](Self::user), also if a [provider](crate::CredentialsProvider) says another user.
    pub database: Option<String>,
    /// User. Default: the user of the operating system.
    pub user: Option<String>,
    /// Password. Default none.
    pub password: Option<Password>,
    /// File with passwords by host, port, database and user, for when there is no `password`. It is read whenever a connection is opened. Default none.
    pub passfile: Option<PathBuf>,
    /// What the server takes on its command line, such as `-c statement_timeout=5s`; a space within a value is written `\ `. Default none.
    pub options: Option<String>,
    /// The name that the server shows for these sessions. Default none.
    pub application_name: Option<String>,
    /// Which servers of the list will do. Default any. A connection whose server says that it has become another is closed instead of used again.
    pub target_session_attrs: TargetSessionAttrs,
    /// In which order the servers are tried. Default as they are written.
    pub load_balance_hosts: LoadBalanceHosts,
    /// How long it may take to connect to one address of a server and to log in; and to have a server cancel what a session is doing. 1 ms to 10 years; default 5 s. All servers of the list together have [`Config::connect_timeout`](pool_core::Config::connect_timeout) of `pool`.
    pub connect_timeout: Duration,
    /// Whether to use TLS and what to verify. Default [`SslMode::Prefer`].
    pub sslmode: SslMode,
    /// How TLS begins. Default: the server is asked first.
    pub sslnegotiation: SslNegotiation,
    /// Whom to trust. Default `None`: `verify-ca` and `verify-full` need it.
    pub sslrootcert: Option<RootCertificates>,
    /// File with the certificate of the client, and those between it and an authority (PEM); none is sent if it is not there. Default none.
    pub sslcert: Option<PathBuf>,
    /// File with the key of the client (PEM or DER), not encrypted. Default none.
    pub sslkey: Option<PathBuf>,
    /// Whether the certificate of the client is sent. Default: if the server asks for it.
    pub sslcertmode: SslCertMode,
    /// File with lists of revoked certificates (PEM), of which the newest of each authority counts; nobody is asked if it is not there. Default none.
    pub sslcrl: Option<PathBuf>,
    /// Folder with such files. A server is refused if there is no list by the authority that has signed its certificate. Default none.
    pub sslcrldir: Option<PathBuf>,
    /// Whether the server is told by which name it is called (SNI). Default `true`.
    pub sslsni: bool,
    /// The least version of TLS. Default 1.2.
    pub ssl_min_protocol_version: TlsVersion,
    /// The greatest version of TLS. Default any.
    pub ssl_max_protocol_version: Option<TlsVersion>,
    /// Whether logging in proves that nobody stands in between. Default: if the server offers it, and then a certificate that cannot serve for that is refused.
    pub channel_binding: ChannelBinding,
    /// How the server may ask who one is. Default any way.
    pub require_auth: Option<RequireAuth>,
    /// The user of this machine that has to run the server, for Unix sockets. Default any.
    pub requirepeer: Option<String>,
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
    /// The settings of the pool. As long as nobody has changed its [`connect_timeout`](pool_core::Config::connect_timeout), that is the one of each server, for all of them, when the pool is made.
    pub pool: pool_core::Config,
    /// What is done with statements.
    pub statements: StatementSettings,
    /// What becomes of a session that its user gives back. Default: what it was changed in is undone.
    pub release: crate::release::ReleasePolicy,
    /// What bounds requests: how long they may take, what is slow, and what is said of them.
    pub limits: Limits,
    /// How connections are shared by those who ask through [`PostgresPool::multiplexed`](crate::PostgresPool::multiplexed).
    pub multiplexing: Multiplexing,
    /// What nobody has changed.
    pub(crate) untouched: settle::Untouched,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            hosts: vec![Host::default()],
            database: None,
            user: None,
            password: None,
            passfile: None,
            options: None,
            application_name: None,
            target_session_attrs: TargetSessionAttrs::default(),
            load_balance_hosts: LoadBalanceHosts::default(),
            connect_timeout: Duration::from_secs(5),
            sslmode: SslMode::default(),
            sslnegotiation: SslNegotiation::default(),
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            sslcertmode: SslCertMode::default(),
            sslcrl: None,
            sslcrldir: None,
            sslsni: true,
            ssl_min_protocol_version: TlsVersion::default(),
            ssl_max_protocol_version: None,
            channel_binding: ChannelBinding::default(),
            require_auth: None,
            requirepeer: None,
            keepalives: true,
            keepalives_idle: Some(Duration::from_mins(1)),
            keepalives_interval: Some(Duration::from_secs(10)),
            keepalives_count: Some(3),
            tcp_user_timeout: None,
            pool: pool_core::Config::default(),
            statements: StatementSettings::default(),
            release: crate::release::ReleasePolicy::default(),
            limits: Limits::default(),
            multiplexing: Multiplexing::default(),
            untouched: settle::Untouched::default(),
        }
    }
}

impl PostgresConfig {
    /// Checks everything that belongs together and the ranges of numbers, as is done when the pool is made.
    ///
    /// # Errors
    ///
    /// All that is out of its range or excludes something else, by its keyword in the [table](PostgresConfig#keywords).
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
        let mut problems = Problems::default();
        settle::check(self, &mut problems);
        problems.into_error().map_or(Ok(()), Err)
    }

    /// The user to connect as.
    pub(crate) fn resolved_user(&self) -> Result<String, PostgresConfigError> {
        let named = self.user.clone().filter(|user| !user.is_empty());
        named.or_else(surroundings::system_user).ok_or(PostgresConfigError::Missing { field: "user" })
    }
}

#[cfg(test)]
mod tests;
