//! What can go wrong between the pool and PostgreSQL.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use pool_core::{AcquireError, ErrorClass};
use tokio_postgres::error::SqlState;

use crate::chain::{Whole, postgres};
use crate::config::PostgresConfigError;
use crate::diagnosis::{Advice, Diagnosis, Fate, Kind};

/// The step of connecting that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Looking up the host name.
    Resolve,
    /// Asking the [provider](crate::CredentialsProvider) what to log in with.
    Credentials,
    /// Opening the TCP connection or the Unix socket.
    Open,
    /// Asking the server for TLS: it has none, answers with an error or not at all, or is no PostgreSQL.
    TlsRequest,
    /// The TLS handshake, which includes verifying the server's certificate.
    TlsHandshake,
    /// Logging in.
    Startup,
    /// Finding out whether the server is what [`target_session_attrs`](crate::PostgresConfig::target_session_attrs) wants.
    Role,
    /// Talking to a session that had been established.
    Session,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host",
            Self::Credentials => "asking for the credentials",
            Self::Open => "opening the socket",
            Self::TlsRequest => "asking for TLS",
            Self::TlsHandshake => "the TLS handshake",
            Self::Startup => "logging in",
            Self::Role => "looking what the server is",
            Self::Session => "talking to the server",
        })
    }
}

/// A connection that could not be opened or no longer works. Its message has everything below it, on one line, and the SQLSTATE. Never contains a password.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// The step that failed.
    pub step: ConnectStep,
    /// Host and port, such as `db.example:5432` or `[::1]:5432`, or the path of the Unix socket.
    pub target: String,
    cause: Box<dyn StdError + Send + Sync>,
    /// What had failed before in the same attempt: at other servers, at other addresses, or in another way.
    pub earlier: Vec<ConnectError>,
    /// Whether another server has failed before for a reason that may pass.
    others_may_pass: bool,
}

impl ConnectError {
    pub(crate) fn new(step: ConnectStep, target: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { step, target: target.to_owned(), cause: cause.into(), earlier: Vec::new(), others_may_pass: false }
    }

    /// The last failure of several.
    pub(crate) fn after(mut self, mut earlier: Vec<Self>) -> Self {
        earlier.append(&mut self.earlier);
        self.earlier = earlier;
        self
    }

    /// The last failure of an attempt in which others have failed, too, perhaps for a reason that may pass.
    pub(crate) fn after_others(mut self, may_pass: bool) -> Self {
        self.others_may_pass = may_pass;
        self
    }

    /// Whether a server that fails so may let one in later. One that is there and is not what is wanted has said what it is.
    pub(crate) fn may_pass(&self) -> bool {
        self.step != ConnectStep::Role && self.class() != ErrorClass::Permanent
    }

    /// Whether the server has refused the user or the password, in one way or the other.
    pub(crate) fn is_refusal(&self) -> bool {
        let refusals = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
        let is_one = |error: &Self| error.sqlstate().is_some_and(|code| refusals.contains(code));
        is_one(self) || self.earlier.iter().any(is_one)
    }

    /// Whether it is an error of the network, and not of what somebody has said on it.
    pub(crate) fn is_of_the_network(&self) -> bool {
        // Of what is not accepted, invalid data is what rustls and the tap report.
        let is_network = |kind| kind != io::ErrorKind::InvalidData;
        match (self.postgres().map(Kind::of), self.cause.downcast_ref::<io::Error>()) {
            (Some(Kind::Closed), _) => true,
            (Some(Kind::Stream(kind)), _) => is_network(kind),
            (Some(_), _) => false,
            (None, error) => error.is_some_and(|error| is_network(error.kind())),
        }
    }

    /// The SQLSTATE that the server gave, if it came so far.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.postgres().and_then(tokio_postgres::Error::code)
    }

    fn postgres(&self) -> Option<&tokio_postgres::Error> {
        postgres(self.cause.as_ref())
    }

    /// What it means. If several servers were tried, it is [final](Advice::FixConfiguration) only if none of them failed for a reason that may pass.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::diagnosis::Advice;
    ///
    /// fn is_hopeless(error: &pool_postgres::ConnectError) -> bool {
    ///     error.diagnosis().advice == Advice::FixConfiguration
    /// }
    /// ```
    pub fn diagnosis(&self) -> Diagnosis {
        if self.step == ConnectStep::Session {
            return self.postgres().map_or(Diagnosis::new(Advice::OutcomeUnknown, Fate::Close), Diagnosis::of);
        }
        let advice = match (self.postgres(), self.cause.downcast_ref::<io::Error>()) {
            (Some(error), _) => login_advice(error),
            (_, Some(error)) => io_advice(error.kind()),
            // In words of our own.
            _ if self.step == ConnectStep::TlsRequest => Advice::FixConfiguration,
            _ => Advice::RetryLater,
        };
        let advice = if self.others_may_pass { Advice::RetryLater } else { advice };
        Diagnosis::new(advice, Fate::Close).while_connecting()
    }

    /// What it means for a pool: [permanent](ErrorClass::Permanent) if the [`diagnosis`](Self::diagnosis) is that somebody has to change the configuration, and [full](ErrorClass::Full) if the server, the database
    /// or the role has no more connections to give (53300).
    ///
    /// # Example
    ///
    /// ```no_run
    /// fn may_pass(error: &pool_postgres::ConnectError) -> bool {
    ///     error.class() == pool_postgres::pool_core::ErrorClass::Transient
    /// }
    /// ```
    pub fn class(&self) -> ErrorClass {
        match self.diagnosis().advice {
            Advice::FixConfiguration => ErrorClass::Permanent,
            _ if self.sqlstate() == Some(&SqlState::TOO_MANY_CONNECTIONS) => ErrorClass::Full,
            _ => ErrorClass::Transient,
        }
    }
}

/// A wrong password or a database that does not exist stays so; a server that starts, is full, or goes away does not. What is not known may pass.
fn login_advice(error: &tokio_postgres::Error) -> Advice {
    match Kind::of(error) {
        Kind::Server { code, message } => Diagnosis::known(code, message).map_or(Advice::RetryLater, |it| it.advice),
        Kind::Stream(kind) => io_advice(kind),
        Kind::Closed => Advice::RetryLater,
        Kind::Protocol | Kind::Login | Kind::Client => Advice::FixConfiguration,
    }
}

/// rustls, and what looks for PostgreSQL's protocol, report what they do not accept as invalid data.
fn io_advice(kind: io::ErrorKind) -> Advice {
    match kind {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Advice::FixConfiguration,
        kind => Diagnosis::of_io(kind).advice,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, target, cause, earlier, .. } = self;
        write!(f, "{step} of {target} failed: {}", Whole(cause.as_ref()))?;
        earlier.iter().try_for_each(|error| write!(f, "; before that, {error}"))
    }
}

/// The cause is part of the message, and the source for programs.
impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// Why there is no pool, or why [`health`](crate::PostgresPool::health) has found it wanting: the error of [`connect`](crate::PostgresPool::connect), of [`connect_lazy`](crate::PostgresPool::connect_lazy), of what builds pools,
/// drivers and [servers](crate::PostgresServers), and of `health`.
///
/// Other methods of a [`PostgresPool`](crate::PostgresPool) have errors of their own: whatever asks the server, such as `query`, `stream`, `copy_in`, `begin` and a batch, fails with a [`QueryError`](crate::QueryError), and `transaction` with that of its work, which a
/// `QueryError` is turned into; `acquire` and its kin with an [`AcquireError`]; `reconfigure` with a [`ConfigError`](pool_core::ConfigError); `retrying` with a [`PostgresConfigError`], and what it runs with a
/// [`RetryError`](crate::retry::RetryError); and a [`listener`](crate::PostgresPool::listener) with a [`ListenError`](crate::ListenError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The configuration cannot be used.
    #[error("cannot use the configuration: {0}")]
    Config(#[from] PostgresConfigError),
    /// TLS cannot be set up: a file of `sslrootcert`, `sslcert`, `sslkey`, `sslcrl` or `sslcrldir`, or the certificates of the operating system, cannot be used, or are needed and not named.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No connection could be had.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// A connection was there, but the server did not answer as it should.
    #[error("the server does not answer a ping: {0}")]
    Ping(String),
}

impl PostgresError {
    /// What it means. Whatever it was about, no request of the caller's has been sent.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::diagnosis::Advice;
    /// # async fn start(config: pool_postgres::PostgresConfig) {
    /// if let Err(error) = pool_postgres::PostgresPool::connect(config).await {
    ///     let hopeless = error.diagnosis().advice == Advice::FixConfiguration;
    ///     println!("{error}; trying again may help: {}", !hopeless);
    /// }
    /// # }
    /// ```
    pub fn diagnosis(&self) -> Diagnosis {
        let advice = match self {
            Self::Config(_) | Self::Tls(_) => Advice::FixConfiguration,
            Self::Acquire(error) => return Diagnosis::of_acquire(error),
            Self::Ping(_) => Advice::RetryLater,
        };
        Diagnosis::new(advice, Fate::Close).unsent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_before_a_server_answered_is_told_by_its_kind() {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, InvalidData, NotFound, PermissionDenied, TimedOut};
        let of = |step, kind: io::ErrorKind| ConnectError::new(step, "db:5432", io::Error::from(kind)).diagnosis();
        for (step, kind, advice) in [
            (ConnectStep::Resolve, NotFound, Advice::RetryLater),
            (ConnectStep::Open, ConnectionRefused, Advice::RetryLater),
            (ConnectStep::Open, PermissionDenied, Advice::FixConfiguration),
            (ConnectStep::Open, TimedOut, Advice::RetryLater),
            (ConnectStep::TlsRequest, InvalidData, Advice::FixConfiguration),
            (ConnectStep::TlsRequest, io::ErrorKind::Other, Advice::RetryLater),
            (ConnectStep::TlsHandshake, InvalidData, Advice::FixConfiguration),
            (ConnectStep::TlsHandshake, ConnectionReset, Advice::RetryLater),
        ] {
            let diagnosis = of(step, kind);
            assert_eq!((diagnosis.advice, diagnosis.safe_to_retry), (advice, true), "{step}: {kind}");
        }
        let session = of(ConnectStep::Session, ConnectionReset);
        assert_eq!((session.advice, session.safe_to_retry), (Advice::OutcomeUnknown, false));
        let no_tls = ConnectError::new(ConnectStep::TlsRequest, "db:5432", "the server does not offer it");
        assert_eq!(no_tls.class(), ErrorClass::Permanent);
    }

    #[test]
    fn a_pool_that_cannot_be_had_has_sent_nothing() {
        let advice = |error: PostgresError| (error.diagnosis().advice, error.diagnosis().safe_to_retry);
        assert_eq!(advice(PostgresError::Tls(String::new())), (Advice::FixConfiguration, true));
        assert_eq!(advice(PostgresError::Ping(String::new())), (Advice::RetryLater, true));
        assert_eq!(advice(PostgresError::Acquire(AcquireError::Closed)), (Advice::Never, true));
    }
}
