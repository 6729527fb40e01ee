//! What an error means: what its receiver can do about it, and what the pool does with the connection.
//!
//! One table, [`SQLSTATES`], says it for what a server reports. A row is for a code, or for all codes that begin alike; some are for one message of a code that means several things. The
//! most specific row counts. The rest is about errors without a code: a stream that has ended, one that failed, or one with something on it that is not PostgreSQL's protocol.
//!
//! # Example
//!
//! ```
//! use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
//!
//! let deadlock = Diagnosis::of_sqlstate("40P01", "deadlock detected");
//! assert_eq!((deadlock.advice, deadlock.fate), (Advice::RetryTransaction, Fate::Keep));
//! let full = Diagnosis::of_sqlstate("53300", "sorry, too many clients already");
//! assert_eq!((full.advice, full.fate), (Advice::RetryLater, Fate::Close));
//! ```

mod class;
mod kind;
mod table;

use std::io;

use pool_core::AcquireError;

pub(crate) use class::{CLASSES, class_of, error_type};
pub(crate) use kind::{Kind, is_refused_by_the_client};
pub use table::{SQLSTATES, SqlStateRow};

/// What the receiver of an error can do about it.
///
/// # Example
///
/// ```
/// use pool_postgres::diagnosis::{Advice, Diagnosis};
///
/// assert_eq!(Diagnosis::of_sqlstate("23505", "duplicate key value").advice, Advice::Never);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Try the same again at once, on any connection. Inside a transaction that means the whole transaction, since nothing of it is left.
    RetryNow,
    /// Try the same again after a pause: the server starts, is full, or is not there.
    RetryLater,
    /// Try the whole transaction again, from its `BEGIN`; the statement alone would not help.
    RetryTransaction,
    /// Nobody knows whether it has been done. Try again only what may be done twice, or look first.
    OutcomeUnknown,
    /// Somebody has to change a password, a name, a certificate, a setting. It fails until then.
    FixConfiguration,
    /// The request itself is refused. It fails each time.
    Never,
}

/// What the pool does with a connection on which an error was reported, once its user gives it back.
///
/// # Example
///
/// ```
/// use pool_postgres::diagnosis::{Diagnosis, Fate};
///
/// assert_eq!(Diagnosis::of_sqlstate("25P02", "current transaction is aborted").fate, Fate::Reset);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It is as good as before. If a transaction is open on it, that is rolled back.
    Keep,
    /// What its user has left behind is cleared away: the transaction has failed and is rolled back.
    Reset,
    /// It is closed when its user gives it back. The pool sees to that after what a server reports and after a stream that fails, and after whatever fails with a [`QueryError`](crate::QueryError). Of an answer to the client's own methods that the
    /// client cannot read, the pool knows once it is [asked](crate::PostgresConnection::diagnose) what the error means; who does not ask [discards](pool_core::Lease::discard) the lease.
    Close,
    /// It is closed, since its server does not write: it is a standby, or was told to be read-only. What else goes there may be retired with
    /// [`Pool::retire_host`](pool_core::Pool::retire_host). The pool asks what the server has said about itself, so that a transaction that its own user has made read-only does no
    /// harm: then the connection is kept.
    EvictHost,
}

/// What an error means.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::diagnosis::{Advice, Diagnosis};
/// # async fn transfer(lease: &pool_postgres::PostgresLease<'_>) -> Result<(), tokio_postgres::Error> {
/// # use pool_postgres::tokio_postgres;
/// if let Err(error) = lease.batch_execute("UPDATE account SET amount = amount - 1").await {
///     match Diagnosis::of(&error).advice {
///         Advice::RetryTransaction => { /* begin again */ }
///         _ => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What the receiver of the error can do.
    pub advice: Advice,
    /// What the pool does with the connection.
    pub fate: Fate,
    /// Whether the prepared statement is of no further use: it has to be prepared again before the retry.
    pub prepare_again: bool,
    /// Whether nothing of the request was sent to a server, so that it can be tried again whatever it does.
    ///
    /// Known for errors of acquiring and connecting, which come before any request; and, by [`PostgresConnection::diagnose`](crate::PostgresConnection::diagnose), for a request on
    /// a session that had ended: the pool counts what is written. An error alone does not tell, so after [`Diagnosis::of`] this is `false`.
    pub safe_to_retry: bool,
}

impl Diagnosis {
    pub(crate) const fn new(advice: Advice, fate: Fate) -> Self {
        Self { advice, fate, prepare_again: false, safe_to_retry: false }
    }

    /// What an error of [`tokio_postgres`] means, by itself. [`PostgresConnection::diagnose`](crate::PostgresConnection::diagnose) knows more.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::diagnosis::{Advice, Diagnosis};
    /// # async fn insert(lease: &pool_postgres::PostgresLease<'_>) {
    /// if let Err(error) = lease.batch_execute("INSERT INTO t VALUES (1)").await {
    ///     let unknown = Diagnosis::of(&error).advice == Advice::OutcomeUnknown;
    ///     println!("{error}; it may have been inserted: {unknown}");
    /// }
    /// # }
    /// ```
    pub fn of(error: &tokio_postgres::Error) -> Self {
        match Kind::of(error) {
            Kind::Server { code, message } => Self::of_sqlstate(code, message),
            Kind::Stream(kind) => Self::of_io(kind),
            Kind::Closed | Kind::Protocol => Self::new(Advice::OutcomeUnknown, Fate::Close),
            Kind::Login => Self::new(Advice::FixConfiguration, Fate::Close),
            Kind::Client => Self::new(Advice::Never, Fate::Keep),
        }
    }

    /// What a SQLSTATE means; the message decides where the code means several things. A code that the table does not have is one that no retry helps with.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
    ///
    /// let stale = Diagnosis::of_sqlstate("0A000", "cached plan must not change result type");
    /// assert_eq!((stale.advice, stale.fate, stale.prepare_again), (Advice::RetryNow, Fate::Keep, true));
    /// let other = Diagnosis::of_sqlstate("0A000", "cross-database references are not implemented");
    /// assert_eq!((other.advice, other.fate), (Advice::Never, Fate::Keep));
    /// ```
    pub fn of_sqlstate(code: &str, message: &str) -> Self {
        Self::known(code, message).unwrap_or(Self::new(Advice::Never, Fate::Keep))
    }

    /// The same, if the table has it.
    pub(crate) fn known(code: &str, message: &str) -> Option<Self> {
        table::find(code, message).map(|row| row.diagnosis)
    }

    /// What an I/O error means. Some kinds come up only before there is a session; after any other one nobody knows what has become of the request.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use pool_postgres::diagnosis::{Advice, Diagnosis};
    ///
    /// assert_eq!(Diagnosis::of_io(ErrorKind::ConnectionRefused).advice, Advice::RetryLater);
    /// assert_eq!(Diagnosis::of_io(ErrorKind::ConnectionReset).advice, Advice::OutcomeUnknown);
    /// ```
    pub fn of_io(kind: io::ErrorKind) -> Self {
        Self::new(kind::io_advice(kind), Fate::Close)
    }

    /// What it means that no connection could be had. No request has been sent.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::diagnosis::Diagnosis;
    /// # async fn ask(pool: &pool_postgres::PostgresPool) {
    /// if let Err(error) = pool.acquire().await {
    ///     assert!(Diagnosis::of_acquire(&error).safe_to_retry);
    /// }
    /// # }
    /// ```
    pub fn of_acquire(error: &AcquireError) -> Self {
        let advice = match error {
            AcquireError::OpenFailed { .. } => Advice::FixConfiguration,
            AcquireError::Closed | AcquireError::NoRuntime { .. } | AcquireError::SelfWait { .. } => Advice::Never,
            _ => Advice::RetryLater,
        };
        Self::new(advice, Fate::Keep).unsent()
    }

    /// The same for a connection that is not there yet: whatever happened, nothing has been done, and what is unknown may pass.
    pub(crate) fn while_connecting(self) -> Self {
        let advice = match self.advice {
            Advice::Never | Advice::FixConfiguration => Advice::FixConfiguration,
            _ => Advice::RetryLater,
        };
        Self { advice, fate: Fate::Close, prepare_again: false, safe_to_retry: true }
    }

    /// The same for a request of which nothing was sent.
    pub(crate) fn unsent(self) -> Self {
        Self { safe_to_retry: true, ..self }
    }
}

#[cfg(test)]
mod tests;
