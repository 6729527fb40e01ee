//! What bounds requests, as it is configured.

use std::collections::BTreeMap;
use std::time::Duration;

/// What bounds the requests of [`Queries`](crate::Queries): how long they may take, what is slow, and what is said of them. In [`PostgresConfig::limits`](crate::PostgresConfig::limits).
///
/// Those of the client count for the methods of [`Queries`](crate::Queries) and of [`PostgresPool`](crate::PostgresPool), and not for those of [`tokio_postgres::Client`]; those of the server, for whatever is
/// asked. Behind PgBouncer see [`statement_timeout`](Self::statement_timeout).
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// let config = pool_postgres::PostgresConfig::builder()
///     .host("db.example")
///     .limits(|limits| {
///         limits.query_timeout = Some(Duration::from_secs(5));
///         limits.slow_query = Some(Duration::from_millis(200));
///         limits.tags.insert("service".to_owned(), "alerts".to_owned());
///     })
///     .build()?;
/// let same = "host=db.example pool_query_timeout=5s pool_slow_query=200ms pool_tags=service=alerts".parse()?;
/// assert_eq!(config, same);
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a request may take that says nothing else by [`Query::timeout`](crate::Query::timeout), from when it is begun on its connection to its answer: 1 ms to 10 years. What takes longer is cancelled on the server,
    /// and fails with [`TimedOut`](crate::TimedOut). What begins and ends a [transaction](crate::PostgresTransaction) has so long, too, but is not cancelled. Default none.
    pub query_timeout: Option<Duration>,
    /// How long a request that has been cancelled for its [timeout](Self::query_timeout) is waited for, so that it is known what has become of it: 1 ms to 10 years. If nothing is heard by then, the session is closed, unless others use it, too: then the request may go on. Default 2 s.
    pub cancel_timeout: Duration,
    /// Whether the server is asked to cancel a request whose future is dropped before the answer has come. The next request on the same connection is not sent before that is through. Default `true`.
    ///
    /// If it is `false`, a request that is dropped on a lease that is kept goes on, and the next one on it waits for that. A lease that goes back is put in order in any case.
    pub cancel_on_drop: bool,
    /// A request that takes so long, or longer, is slow: there is an event (one each 10 s), and [`PostgresDriver::on_slow_query`](crate::PostgresDriver::on_slow_query) is told. 1 ms to 10 years; default none.
    ///
    /// Of what is read or sent bit by bit, such as a stream, the time until the server has begun to answer counts, and it is told of when it has ended. So it is with [`sla`](Self::sla).
    pub slow_query: Option<Duration>,
    /// What the service has promised: [`QueryStats`](crate::QueryStats) counts the requests that were answered within this time, and those that were not. 1 ms to 10 years; default none.
    pub sla: Option<Duration>,
    /// `statement_timeout` of the sessions: how long the server lets a statement take. 1 ms to 24 days; default: what the server, the database or the role has.
    ///
    /// Like the two below, it is sent with the startup and costs no round trip, as a part of [`options`](crate::PostgresConfig::options), in whole milliseconds. PgBouncer refuses options that it does not know: there,
    /// it is set for the role, by `ALTER ROLE app SET statement_timeout = '5s'`.
    pub statement_timeout: Option<Duration>,
    /// `transaction_timeout` of the sessions: how long the server lets a transaction take before it ends the session. 1 ms to 24 days; default: what the server, the database or the role has. PostgreSQL 17 and later: an older server
    /// is not connected to, and the error says why ([`UnsupportedLimit`](crate::UnsupportedLimit)).
    pub transaction_timeout: Option<Duration>,
    /// `idle_in_transaction_session_timeout` of the sessions: how long a session may do nothing in a transaction before the server ends it. 1 ms to 24 days; default: what the server, the database or the role has.
    pub idle_in_transaction_session_timeout: Option<Duration>,
    /// What is said of every statement, in a comment behind it that the server's logs and `pg_stat_activity` show, in the form of sqlcommenter: `/*key='value'*/`. They are no place for secrets. Default none.
    pub tags: BTreeMap<String, String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_timeout: None,
            cancel_timeout: Duration::from_secs(2),
            cancel_on_drop: true,
            slow_query: None,
            sla: None,
            statement_timeout: None,
            transaction_timeout: None,
            idle_in_transaction_session_timeout: None,
            tags: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// Those that the server keeps, as options of the startup.
    pub(crate) fn options(&self) -> Option<String> {
        let all = [
            ("statement_timeout", self.statement_timeout),
            (TRANSACTION_TIMEOUT, self.transaction_timeout),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction_session_timeout),
        ];
        let option = |(name, time): (&str, Option<Duration>)| Some(format!("-c {name}={}", whole_milliseconds(time?)));
        all.into_iter().filter_map(option).reduce(|all, more| all + " " + &more)
    }

    /// Whether time is taken.
    pub(crate) fn are_timed(&self) -> bool {
        self.slow_query.is_some() || self.sla.is_some()
    }
}

/// Servers before PostgreSQL 17 do not have it.
pub(super) const TRANSACTION_TIMEOUT: &str = "transaction_timeout";

/// No less than that, since 0 would be for ever.
fn whole_milliseconds(time: Duration) -> u128 {
    time.as_nanos().div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_what_it_has_to_keep() {
        let mut limits = Limits { query_timeout: Some(Duration::from_secs(1)), ..Limits::default() };
        assert_eq!(limits.options(), None);
        limits.statement_timeout = Some(Duration::from_micros(1_500));
        limits.idle_in_transaction_session_timeout = Some(Duration::from_mins(1));
        assert_eq!(
            limits.options().as_deref(),
            Some("-c statement_timeout=2 -c idle_in_transaction_session_timeout=60000")
        );
    }
}
