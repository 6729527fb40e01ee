//! How a transaction begins.

use tokio_postgres::IsolationLevel;

/// What a transaction is begun with; the server's settings where nothing is said.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::retry::{Retrier, RetryError, TransactionOptions};
/// use pool_postgres::tokio_postgres::{Error, IsolationLevel};
///
/// # async fn sum(retrier: &Retrier) -> Result<i64, RetryError> {
/// let mut options = TransactionOptions::default();
/// options.isolation_level = Some(IsolationLevel::Serializable);
/// let sum = async |lease: std::sync::Arc<pool_postgres::PostgresOwnedLease>| -> Result<i64, Error> {
///     lease.query_one("SELECT sum(amount)::bigint FROM account", &[]).await?.try_get(0)
/// };
/// retrier.transaction_with(options, sum).await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TransactionOptions {
    /// The isolation level; `None` leaves it to `default_transaction_isolation`.
    pub isolation_level: Option<IsolationLevel>,
    /// Whether it may only read; `None` leaves it to `default_transaction_read_only`.
    pub read_only: Option<bool>,
    /// Whether one that is serializable and only reads waits at its beginning until it cannot fail; `None` leaves it to `default_transaction_deferrable`.
    pub deferrable: Option<bool>,
}

impl TransactionOptions {
    /// The statement that begins it.
    pub(super) fn begin(self) -> String {
        let access = self.read_only.map(|only| if only { "READ ONLY" } else { "READ WRITE" });
        let waits = self.deferrable.map(|waits| if waits { "DEFERRABLE" } else { "NOT DEFERRABLE" });
        let modes: Vec<_> = [self.isolation_level.map(isolation), access, waits].into_iter().flatten().collect();
        if modes.is_empty() { "BEGIN".to_owned() } else { format!("BEGIN {}", modes.join(", ")) }
    }
}

fn isolation(level: IsolationLevel) -> &'static str {
    match level {
        IsolationLevel::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
        IsolationLevel::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
        IsolationLevel::Serializable => "ISOLATION LEVEL SERIALIZABLE",
        // And the levels that the client may learn: the server's usual one.
        _ => "ISOLATION LEVEL READ COMMITTED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_with_what_is_said() {
        let begin = |isolation_level, read_only, deferrable| {
            TransactionOptions { isolation_level, read_only, deferrable }.begin()
        };
        assert_eq!(begin(None, None, None), "BEGIN");
        let strict = begin(Some(IsolationLevel::Serializable), Some(true), Some(true));
        assert_eq!(strict, "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE");
        assert_eq!(begin(None, Some(false), Some(false)), "BEGIN READ WRITE, NOT DEFERRABLE");
    }
}
