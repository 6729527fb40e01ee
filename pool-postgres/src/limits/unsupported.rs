//! A server that does not know a limit that it is to keep.

use super::Limits;
use super::settings::TRANSACTION_TIMEOUT;

/// A server, or a proxy before it, does not take a limit that the configuration wants it to keep: the cause of a [`ConnectError`](crate::ConnectError), beside what was said. It fails each time, until somebody changes the configuration.
///
/// # Example
///
/// ```no_run
/// use std::error::Error;
/// use pool_postgres::{ConnectError, UnsupportedLimit};
///
/// # fn is_too_old(error: &ConnectError) -> bool {
/// matches!(error.source().and_then(|cause| cause.downcast_ref()), Some(UnsupportedLimit::TooOld(_)))
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsupportedLimit {
    /// There is no `transaction_timeout` before PostgreSQL 17.
    #[error(
        "the server has no transaction_timeout, which is one of PostgreSQL 17; leave pool_transaction_timeout away"
    )]
    TooOld(#[source] tokio_postgres::Error),
    /// A proxy, such as PgBouncer, refuses options of the startup.
    #[error(
        "what is in front of the server refuses limits as options of the startup; leave pool_statement_timeout, pool_transaction_timeout and pool_idle_in_transaction_session_timeout away, and set them by ALTER ROLE ... SET"
    )]
    Proxy(#[source] tokio_postgres::Error),
}

impl UnsupportedLimit {
    /// Whether these limits are why somebody was not let in, or else the error as it was.
    pub(crate) fn of(limits: &Limits, error: tokio_postgres::Error) -> Result<Self, tokio_postgres::Error> {
        let Some(said) = error.as_db_error().filter(|_| limits.options().is_some()) else { return Err(error) };
        let (code, message) = (said.code().code(), said.message());
        if code == "42704" && message.contains(TRANSACTION_TIMEOUT) && limits.transaction_timeout.is_some() {
            Ok(Self::TooOld(error))
        } else if message.contains("unsupported startup parameter") && message.contains("options") {
            Ok(Self::Proxy(error))
        } else {
            Err(error)
        }
    }
}
