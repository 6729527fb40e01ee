//! What can go wrong between the pool and PostgreSQL.

use std::error::Error as StdError;
use std::fmt;

use pool_core::{AcquireError, ErrorClass};
use tokio_postgres::error::SqlState;

use crate::config::PostgresConfigError;

/// The step of connecting that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Looking up the host name.
    Resolve,
    /// Opening the TCP connection or the Unix socket.
    Open,
    /// Asking the server for TLS, which it refused.
    TlsRequest,
    /// The TLS handshake, which includes verifying the server's certificate.
    TlsHandshake,
    /// Logging in.
    Startup,
    /// Talking to a session that had been established.
    Session,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host",
            Self::Open => "opening the socket",
            Self::TlsRequest => "asking for TLS",
            Self::TlsHandshake => "the TLS handshake",
            Self::Startup => "logging in",
            Self::Session => "talking to the server",
        })
    }
}

/// A connection that could not be opened or no longer works. Never contains a password.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// The step that failed.
    pub step: ConnectStep,
    /// Host and port, such as `db.example:5432` or `[::1]:5432`, or the path of the Unix socket.
    pub target: String,
    cause: Box<dyn StdError + Send + Sync>,
}

impl ConnectError {
    pub(crate) fn new(step: ConnectStep, target: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { step, target: target.to_owned(), cause: cause.into() }
    }

    /// The SQLSTATE that the server gave, if it came so far.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.postgres().and_then(tokio_postgres::Error::code)
    }

    fn postgres(&self) -> Option<&tokio_postgres::Error> {
        self.cause.downcast_ref()
    }

    /// Whether trying again may help.
    pub(crate) fn class(&self) -> ErrorClass {
        match self.step {
            ConnectStep::TlsRequest => ErrorClass::Permanent,
            ConnectStep::TlsHandshake if !self.is_io_trouble() => ErrorClass::Permanent,
            ConnectStep::Startup => self.postgres().map_or(ErrorClass::Transient, startup_class),
            _ => ErrorClass::Transient,
        }
    }

    /// Whether the network failed, as opposed to a certificate that does not verify: rustls wraps its own errors into `InvalidData`.
    fn is_io_trouble(&self) -> bool {
        self.cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() != std::io::ErrorKind::InvalidData)
    }
}

/// A wrong password or a database that does not exist stays so; a server that starts, is full, or goes away does not.
fn startup_class(error: &tokio_postgres::Error) -> ErrorClass {
    let Some(code) = error.code() else {
        // Not from the server: an end of the stream passes, a missing password stays.
        let network = error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<std::io::Error>);
        return if network { ErrorClass::Transient } else { ErrorClass::Permanent };
    };
    let permanent = [SqlState::INVALID_CATALOG_NAME, SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_OBJECT];
    if code.code().starts_with("28") || permanent.contains(code) {
        ErrorClass::Permanent
    } else {
        ErrorClass::Transient
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, target, cause } = self;
        write!(f, "{step} of {target} failed: {cause}")?;
        let mut next = cause.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

// The cause is part of the message.
impl StdError for ConnectError {}

/// What the methods of [`PostgresPool`](crate::PostgresPool) fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The configuration cannot be used.
    #[error("cannot use the configuration: {0}")]
    Config(#[from] PostgresConfigError),
    /// The certificates in `sslrootcert` or those of the operating system cannot be used.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No connection could be had.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// A connection was there, but the server did not answer as it should.
    #[error("the server does not answer a ping: {0}")]
    Ping(String),
}
