//! Why a session has ended.

mod counts;

use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

use crate::diagnosis::{Advice, Diagnosis, Fate, Kind};
use crate::tap::Words;

pub(crate) use counts::Counts;
pub use counts::Ends;

/// What ended a session.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::EndCause;
///
/// # fn is_network(lease: &pool_postgres::PostgresLease<'_>) -> bool {
/// matches!(lease.ended().map(|end| end.cause), Some(EndCause::Network(_)))
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// The server said why.
    Server,
    /// The server's end of the stream, and not a word.
    Closed,
    /// The stream failed.
    Network(io::ErrorKind),
    /// What came was not what the protocol has there.
    Protocol,
    /// The pool cut it off: by [`PostgresPool::close_within`](crate::PostgresPool::close_within), or since it did not answer when a request was [cancelled](crate::Limits::cancel_timeout).
    CutOff,
    /// The runtime ended that the session was opened on.
    Runtime,
}

/// How a session has ended, by [`PostgresConnection::ended`](crate::PostgresConnection::ended).
///
/// # Example
///
/// What a user is told is often no more than that the connection is closed.
///
/// ```no_run
/// # async fn ask(lease: &pool_postgres::PostgresLease<'_>) {
/// if let Err(error) = lease.batch_execute("SELECT 1").await {
///     match lease.ended() {
///         Some(end) => println!("{error}: {end}"),
///         None => println!("{error}; the session goes on"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEnd {
    /// What ended it.
    pub cause: EndCause,
    /// The SQLSTATE that the server gave.
    pub sqlstate: Option<SqlState>,
    /// What the server said, of which 500 bytes are kept, or what happened.
    pub message: String,
}

impl SessionEnd {
    /// The session's task has failed.
    pub(crate) fn by_error(error: &tokio_postgres::Error) -> Self {
        let cause = match Kind::of(error) {
            Kind::Server { code, message } => return Self::by_server(Words::new(code, message)),
            Kind::Closed => EndCause::Closed,
            Kind::Stream(kind) => EndCause::Network(kind),
            Kind::Protocol | Kind::Login | Kind::Client => EndCause::Protocol,
        };
        let below = std::error::Error::source(error);
        Self { cause, sqlstate: None, message: below.map_or_else(|| error.to_string(), ToString::to_string) }
    }

    /// The server has said why.
    pub(crate) fn by_server(words: Words) -> Self {
        let sqlstate = (!words.code.is_empty()).then(|| SqlState::from_code(&words.code));
        Self { cause: EndCause::Server, sqlstate, message: words.message }
    }

    pub(crate) fn by_us(cause: EndCause) -> Self {
        let message = match cause {
            EndCause::CutOff => "the pool has cut it off",
            _ => "the runtime that it was opened on has ended",
        };
        Self { cause, sqlstate: None, message: message.to_owned() }
    }

    /// A name for metrics: the SQLSTATE if it is one of those that are counted, or one of `other`, `closed`, `network`, `protocol`, `cut off` and `runtime`.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn label(lease: &pool_postgres::PostgresLease<'_>) -> Option<&'static str> {
    /// lease.ended().map(|end| end.label())
    /// # }
    /// ```
    pub fn label(&self) -> &'static str {
        match self.cause {
            EndCause::Server => counts::label_of(self.sqlstate.as_ref().map(SqlState::code)),
            EndCause::Closed => "closed",
            EndCause::Network(_) => "network",
            EndCause::Protocol => "protocol",
            EndCause::CutOff => "cut off",
            EndCause::Runtime => "runtime",
        }
    }

    /// What it means for whoever had a request under way.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::diagnosis::Advice;
    ///
    /// # fn again(lease: &pool_postgres::PostgresLease<'_>) -> bool {
    /// lease.ended().is_some_and(|end| end.diagnosis().advice == Advice::RetryTransaction)
    /// # }
    /// ```
    pub fn diagnosis(&self) -> Diagnosis {
        match &self.sqlstate {
            Some(code) => Diagnosis { fate: Fate::Close, ..Diagnosis::of_sqlstate(code.code(), &self.message) },
            None => Diagnosis::new(Advice::OutcomeUnknown, Fate::Close),
        }
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(code) => write!(f, "the server ended it: {} ({})", self.message, code.code()),
            None => f.write_str(&self.message),
        }
    }
}
