//! A request has taken too long.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::query::{Cause, Ended, QueryError};

/// A request took longer than its limit at the client, and was cancelled, unless it begins or ends a transaction: the cause of a [`QueryError`], beside what the server has answered to the cancellation. [`QueryError::outcome`] says whether it may have been done.
///
/// # Example
///
/// ```no_run
/// use std::error::Error;
/// use pool_postgres::TimedOut;
///
/// # fn limit(error: &pool_postgres::QueryError) -> Option<std::time::Duration> {
/// error.source()?.downcast_ref::<TimedOut>().map(|timed_out| timed_out.limit)
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("it took longer than its limit of {limit:?}")]
#[non_exhaustive]
pub struct TimedOut {
    /// How long it might have taken.
    pub limit: Duration,
    #[source]
    answer: Option<tokio_postgres::Error>,
}

impl TimedOut {
    /// Nothing has been heard of it.
    pub(crate) fn unanswered(limit: Duration) -> Self {
        Self { limit, answer: None }
    }

    /// The server has answered that it is cancelled.
    pub(crate) fn answered(limit: Duration, answer: Cause) -> Self {
        Self { limit, answer: answer.downcast().ok().map(|answer| *answer) }
    }
}

/// Which limit a request has come to.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::TimeLimit;
///
/// # fn is_ours(error: &pool_postgres::QueryError) -> bool {
/// matches!(error.time_limit(), Some(TimeLimit::Client(_)))
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeLimit {
    /// The one at the client, [`Limits::query_timeout`](crate::Limits::query_timeout) or [`Query::timeout`](crate::Query::timeout), of this length.
    Client(Duration),
    /// `statement_timeout` of the server.
    Statement,
    /// `lock_timeout` of the server.
    Lock,
    /// `transaction_timeout` of the server, which has ended the session.
    Transaction,
    /// `idle_in_transaction_session_timeout` of the server, which has ended the session.
    IdleInTransaction,
}

impl TimeLimit {
    /// Of what a server reports. The first two are told from other errors of the same codes by their messages, which are in English unless `lc_messages` says otherwise.
    fn of_server(code: &SqlState, message: &str) -> Option<Self> {
        match code.code() {
            "57014" if message.ends_with("due to statement timeout") => Some(Self::Statement),
            "55P03" if message.ends_with("due to lock timeout") => Some(Self::Lock),
            "25P04" => Some(Self::Transaction),
            "25P03" => Some(Self::IdleInTransaction),
            _ => None,
        }
    }
}

impl QueryError {
    /// Which limit the request has come to, if that is why it failed: the one at the client, or one that the server keeps. A server that speaks another language than English (`lc_messages`) says of a statement or a wait for a lock that it was
    /// cancelled, and not why.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::TimeLimit;
    ///
    /// # async fn ask(pool: &pool_postgres::PostgresPool) {
    /// if let Err(error) = pool.execute("SELECT pg_sleep(60)", &[]).await {
    ///     match error.time_limit() {
    ///         Some(TimeLimit::Client(limit)) => println!("given up after {limit:?}"),
    ///         Some(_) => println!("the server has ended it"),
    ///         None => println!("{error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn time_limit(&self) -> Option<TimeLimit> {
        let cause = std::error::Error::source(self);
        if let Some(timed_out) = cause.and_then(|cause| cause.downcast_ref::<TimedOut>()) {
            return Some(TimeLimit::Client(timed_out.limit));
        }
        // The answer, or the last that was heard of the session.
        let end = cause.and_then(|cause| cause.downcast_ref::<Ended>()).map(|ended| &ended.end);
        let said = self.as_db_error().map(|said| (said.code(), said.message()));
        let (code, message) = said.or_else(|| end.and_then(|end| Some((end.sqlstate.as_ref()?, &*end.message))))?;
        TimeLimit::of_server(code, message)
    }

    /// Whether the request has come to a [limit](Self::time_limit) of time. A connection that could not be had in time is none of these; that is in [`acquire_error`](Self::acquire_error).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn ask(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// match pool.execute("REFRESH MATERIALIZED VIEW report", &[]).await {
    ///     Err(error) if error.is_timeout() => println!("tomorrow, then"),
    ///     outcome => drop(outcome?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_timeout(&self) -> bool {
        self.time_limit().is_some()
    }

    /// Whether the server says that the request was cancelled because it was asked to.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sqlstate() == Some(&SqlState::QUERY_CANCELED) && self.time_limit().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_server_are_told_from_a_cancellation() {
        let of = |code, message| TimeLimit::of_server(&SqlState::from_code(code), message);
        for (code, message, limit) in [
            ("57014", "canceling statement due to user request", None),
            ("57014", "canceling statement due to statement timeout", Some(TimeLimit::Statement)),
            ("55P03", "canceling statement due to lock timeout", Some(TimeLimit::Lock)),
            ("55P03", "could not obtain lock on row in relation \"t\"", None),
            ("25P04", "terminating connection due to transaction timeout", Some(TimeLimit::Transaction)),
            ("25P03", "terminating connection due to idle-in-transaction timeout", Some(TimeLimit::IdleInTransaction)),
            ("57P01", "terminating connection due to administrator command", None),
        ] {
            assert_eq!(of(code, message), limit, "{code}: {message}");
        }
    }
}
