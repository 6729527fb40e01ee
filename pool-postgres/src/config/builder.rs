//! Putting a configuration together.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    ChannelBinding, Host, LoadBalanceHosts, Password, PostgresConfig, PostgresConfigError, RequireAuth,
    RootCertificates, SslCertMode, SslMode, SslNegotiation, TargetSessionAttrs, TlsVersion,
};
use crate::limits::Limits;
use crate::multiplex::Multiplexing;
use crate::statements::StatementSettings;

/// Collects a [`PostgresConfig`] in a program; made by [`PostgresConfig::builder`]. What is not said keeps its default, and all that is wrong is told at once, by [`build`](Self::build). `Debug` shows no password.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use pool_postgres::{PostgresConfig, SslMode};
///
/// let config = PostgresConfig::builder()
///     .host("db1.example")
///     .host("db2.example")
///     .port(5433)
///     .user("app")
///     .password("correct horse")
///     .sslmode(SslMode::VerifyFull)
///     .sslrootcert("/etc/ssl/db.pem")
///     .connect_timeout(Duration::from_secs(2))
///     .pool(|pool| pool.max_size = 50)
///     .build()?;
/// assert_eq!(config.hosts[0].to_string(), "db1.example:5433");
///
/// let wrong = PostgresConfig::builder().port(0).keepalives_count(200).pool(|pool| pool.min_size = 21).build();
/// assert_eq!(wrong.unwrap_err().problems().len(), 3);
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `build`"]
pub struct PostgresConfigBuilder {
    config: PostgresConfig,
    servers: Vec<Server>,
    /// Of servers that are named later.
    port: Option<u16>,
}

/// What is said of a server.
#[derive(Clone, Debug, Default)]
struct Server {
    name: String,
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// A method for each field, which takes what the type says and makes of it what the field holds.
macro_rules! setters {
    ($($name:ident: $type:ty => $made:expr),* $(,)?) => {$(
        #[doc = concat!("Sets [`PostgresConfig::", stringify!($name), "`].")]
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$name = $made($name);
            self
        }
    )*};
}

fn text(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}

fn path(path: impl Into<PathBuf>) -> Option<PathBuf> {
    Some(path.into()).filter(|path| !path.as_os_str().is_empty())
}

impl PostgresConfig {
    /// Begins with nothing but defaults. To change one that was parsed or completed, change its fields.
    ///
    /// # Example
    ///
    /// ```
    /// let config = pool_postgres::PostgresConfig::builder().host("db.example").database("app").build()?;
    /// assert_eq!(config.to_string(), "host=db.example port=5432 dbname=app");
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn builder() -> PostgresConfigBuilder {
        PostgresConfigBuilder { config: Self::default(), servers: Vec::new(), port: None }
    }
}

impl PostgresConfigBuilder {
    /// Adds a server by its [name](Host::name), to be tried after those before. Default: that on this machine alone.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.servers.push(Server { name: name.into(), ..Server::default() });
        self
    }

    /// The [address](Host::address) of the server that was named last, or that of another one without a name if that has its address.
    ///
    /// # Example
    ///
    /// ```
    /// let builder = pool_postgres::PostgresConfig::builder().host("db.example").hostaddr([192, 0, 2, 1]);
    /// assert_eq!(builder.build()?.to_string(), "host=db.example hostaddr=192.0.2.1 port=5432");
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn hostaddr(mut self, address: impl Into<IpAddr>) -> Self {
        let address = Some(address.into());
        match self.servers.last_mut() {
            Some(last) if last.address.is_none() => last.address = address,
            _ => self.servers.push(Server { address, ..Server::default() }),
        }
        self
    }

    /// The [port](Host::port) of the servers so far that have none; if there is no server yet, of those to come. Default 5432.
    ///
    /// # Example
    ///
    /// ```
    /// let builder = pool_postgres::PostgresConfig::builder().host("a").host("b").port(5433).host("c").port(5434);
    /// assert_eq!(builder.build()?.to_string(), "host=a,b,c port=5433,5433,5434");
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn port(mut self, port: u16) -> Self {
        if self.servers.is_empty() {
            self.port = Some(port);
        }
        self.servers.iter_mut().for_each(|server| server.port = server.port.or(Some(port)));
        self
    }

    /// Changes the settings of the pool, in [`PostgresConfig::pool`].
    pub fn pool(mut self, change: impl FnOnce(&mut pool_core::Config)) -> Self {
        change(&mut self.config.pool);
        self
    }

    /// Changes what is done with statements, in [`PostgresConfig::statements`].
    pub fn statements(mut self, change: impl FnOnce(&mut StatementSettings)) -> Self {
        change(&mut self.config.statements);
        self
    }

    /// Changes what becomes of a session that its user gives back, in [`PostgresConfig::release`].
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::{PostgresConfig, ReleaseMode};
    ///
    /// let config = PostgresConfig::builder().release(|release| release.mode = ReleaseMode::Clean).build()?;
    /// assert_eq!(config.to_string(), "pool_release=clean");
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn release(mut self, change: impl FnOnce(&mut crate::release::ReleasePolicy)) -> Self {
        change(&mut self.config.release);
        self
    }

    /// Changes the limits of requests, in [`PostgresConfig::limits`].
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.config.limits);
        self
    }

    /// Changes how connections are shared, in [`PostgresConfig::multiplexing`].
    pub fn multiplexing(mut self, change: impl FnOnce(&mut Multiplexing)) -> Self {
        change(&mut self.config.multiplexing);
        self
    }

    setters! {
        database: impl Into<String> => text,
        user: impl Into<String> => text,
        password: impl Into<Password> => |password: _| Some(Into::into(password)),
        passfile: impl Into<PathBuf> => path,
        options: impl Into<String> => text,
        application_name: impl Into<String> => text,
        target_session_attrs: TargetSessionAttrs => std::convert::identity,
        load_balance_hosts: LoadBalanceHosts => std::convert::identity,
        connect_timeout: Duration => std::convert::identity,
        sslmode: SslMode => std::convert::identity,
        sslnegotiation: SslNegotiation => std::convert::identity,
        sslrootcert: impl Into<RootCertificates> => |roots: _| Some(Into::into(roots)),
        sslcert: impl Into<PathBuf> => path,
        sslkey: impl Into<PathBuf> => path,
        sslcertmode: SslCertMode => std::convert::identity,
        sslcrl: impl Into<PathBuf> => path,
        sslcrldir: impl Into<PathBuf> => path,
        sslsni: bool => std::convert::identity,
        ssl_min_protocol_version: TlsVersion => std::convert::identity,
        ssl_max_protocol_version: TlsVersion => Some,
        channel_binding: ChannelBinding => std::convert::identity,
        require_auth: RequireAuth => Some,
        requirepeer: impl Into<String> => text,
        keepalives: bool => std::convert::identity,
        keepalives_idle: impl Into<Option<Duration>> => Into::into,
        keepalives_interval: impl Into<Option<Duration>> => Into::into,
        keepalives_count: impl Into<Option<u32>> => Into::into,
        tcp_user_timeout: impl Into<Option<Duration>> => Into::into,
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, as for [`PostgresConfig::validate`]: [`problems`](PostgresConfigError::problems) has it one by one. Never with a password.
    pub fn build(self) -> Result<PostgresConfig, PostgresConfigError> {
        let Self { mut config, mut servers, port } = self;
        if servers.is_empty() {
            servers.push(Server { name: Host::default().name, ..Server::default() });
        }
        let usual = port.unwrap_or(Host::default().port);
        let host = |Server { name, address, port }| Host { name, address, port: port.unwrap_or(usual) };
        config.hosts = servers.into_iter().map(host).collect();
        config.validate()?;
        Ok(config.in_step())
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::FIELDS;
    use super::super::tests::parse;
    use super::super::{OpenTransaction, ReleaseMode, own};
    use super::*;
    use crate::statements::StatementMode;

    const ALL: &str = "host=a,b,c hostaddr=,192.0.2.1, port=1,1,2 dbname=d user=u password=s3cr3t passfile=/p options='-c a=b' application_name=n \
        target_session_attrs=primary load_balance_hosts=random connect_timeout=3 sslmode=verify-full sslnegotiation=direct sslrootcert=system sslcert=/c \
        sslkey=/k sslcertmode=require sslcrl=/r sslcrldir=/d sslsni=0 ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.3 \
        channel_binding=require require_auth=scram-sha-256 requirepeer=p keepalives=0 keepalives_idle=7 keepalives_interval=0 keepalives_count=9 \
        tcp_user_timeout=1500 pool_max_conns=50 pool_statement_mode=unprepared pool_statement_cache=9 pool_prepare_after=2 pool_warm_statements=1 \
        pool_release=custom pool_release_sql='RESET ALL' pool_on_open_transaction=close pool_query_timeout=3 pool_cancel_timeout=1 \
        pool_cancel_on_drop=false pool_slow_query=4 pool_sla=5 pool_statement_timeout=6 pool_transaction_timeout=7 \
        pool_idle_in_transaction_session_timeout=8 pool_tags=a=b pool_max_in_flight=5 pool_apart_after=9";

    fn all() -> PostgresConfigBuilder {
        let seconds = Duration::from_secs;
        PostgresConfig::builder()
            .host("a")
            .host("b")
            .hostaddr([192, 0, 2, 1])
            .port(1)
            .host("c")
            .port(2)
            .database("d")
            .user("u")
            .password("s3cr3t")
            .passfile("/p")
            .options("-c a=b")
            .application_name("n")
            .target_session_attrs(TargetSessionAttrs::Primary)
            .load_balance_hosts(LoadBalanceHosts::Random)
            .connect_timeout(seconds(3))
            .sslmode(SslMode::VerifyFull)
            .sslnegotiation(SslNegotiation::Direct)
            .sslrootcert(RootCertificates::System)
            .sslcert("/c")
            .sslkey("/k")
            .sslcertmode(SslCertMode::Require)
            .sslcrl("/r")
            .sslcrldir("/d")
            .sslsni(false)
            .ssl_min_protocol_version(TlsVersion::V1_3)
            .ssl_max_protocol_version(TlsVersion::V1_3)
            .channel_binding(ChannelBinding::Require)
            .require_auth("scram-sha-256".parse().unwrap())
            .requirepeer("p")
            .keepalives(false)
            .keepalives_idle(seconds(7))
            .keepalives_interval(None)
            .keepalives_count(9)
            .tcp_user_timeout(Duration::from_millis(1500))
            .pool(|pool| pool.max_size = 50)
            .statements(|statements| {
                statements.mode = StatementMode::Unprepared;
                (statements.cache, statements.prepare_after, statements.warm) = (9, 2, 1);
            })
            .release(|release| {
                release.mode = ReleaseMode::Custom;
                release.sql = Some("RESET ALL".to_owned());
                release.open_transaction = OpenTransaction::Close;
            })
            .limits(|limits| {
                (limits.query_timeout, limits.cancel_timeout, limits.cancel_on_drop) =
                    (Some(seconds(3)), seconds(1), false);
                (limits.slow_query, limits.sla) = (Some(seconds(4)), Some(seconds(5)));
                (limits.statement_timeout, limits.transaction_timeout) = (Some(seconds(6)), Some(seconds(7)));
                limits.idle_in_transaction_session_timeout = Some(seconds(8));
                limits.tags.insert("a".to_owned(), "b".to_owned());
            })
            .multiplexing(|multiplexing| {
                (multiplexing.max_in_flight, multiplexing.apart_after) = (5, Some(seconds(9)));
            })
    }

    #[test]
    fn a_builder_says_what_a_string_says() {
        let built = all().build().unwrap();
        assert_eq!(built, parse(ALL));
        assert_eq!(built.pool.connect_timeout, Duration::from_secs(9), "for three servers");
        let default = PostgresConfig::default();
        let left: Vec<_> =
            FIELDS.iter().chain(own::fields()).filter(|field| (field.get)(&built) == (field.get)(&default)).collect();
        assert!(left.is_empty(), "{:?}", left.iter().map(|field| field.keyword).collect::<Vec<_>>());
        assert!(!format!("{:?}", all()).contains("s3cr3t"));
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let built = |builder: PostgresConfigBuilder| builder.build().unwrap();
        assert_eq!(built(PostgresConfig::builder()), PostgresConfig::default());
        assert_eq!(built(PostgresConfig::builder().port(6)), parse("port=6"));
        assert_eq!(built(PostgresConfig::builder().port(6).host("a").host("b").port(7)), parse("host=a,b port=7"));
        assert_eq!(built(PostgresConfig::builder().port(6).host("a").host("b")), parse("host=a,b port=6"));
        assert_eq!(
            built(PostgresConfig::builder().hostaddr([1; 4]).hostaddr([2; 4])),
            parse("hostaddr=1.1.1.1,2.2.2.2")
        );
        assert_eq!(built(PostgresConfig::builder().user("").sslcert("")), PostgresConfig::default());
    }

    #[test]
    fn everything_that_is_wrong_with_what_a_program_says_is_told_at_once() {
        let builder = all()
            .host("postgres://u:s3cr3t@h/db")
            .port(0)
            .database("postgres://u:s3cr3t@h/db")
            .user("a\0b")
            .sslmode(SslMode::Require)
            .ssl_max_protocol_version(TlsVersion::V1_2)
            .keepalives_count(200)
            .connect_timeout(Duration::ZERO)
            .pool(|pool| pool.min_size = 51);
        let error = builder.build().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.problems().len(), 9, "{text}");
        for part in [
            "host: a name is allowed",
            r#"port = "0" is not allowed; allowed: 1 to 65535"#,
            "dbname: a name is allowed",
            "user: there is a zero byte",
            "sslrootcert=system and sslmode=require",
            "there is no version between them",
            r#"keepalives_count = "200""#,
            r#"connect_timeout = "0ns""#,
            r#"pool_min_conns = "51""#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}
