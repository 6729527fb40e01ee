//! How a transaction begins.

use tokio_postgres::IsolationLevel;

/// What a transaction is begun with; the server's settings where nothing is said.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::tokio_postgres::IsolationLevel;
/// use pool_postgres::{PostgresPool, Queries, QueryError, TransactionOptions};
///
/// # async fn sum(pool: &PostgresPool) -> Result<i64, QueryError> {
/// let mut options = TransactionOptions::default();
/// options.isolation_level = Some(IsolationLevel::Serializable);
/// options.read_only = Some(true);
/// let transaction = pool.begin_with(options).await?;
/// let row = transaction.query_one("SELECT sum(amount)::bigint FROM account", &[]).await?;
/// transaction.commit().await?;
/// # Ok(row.get(0))
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
    /// Whether an error after which nobody knows what has become of a `COMMIT` says [by which number](crate::QueryError::transaction_id) the server knows the transaction. [`TrackId::Never`] by default. The
    /// [retrying runner](crate::retry) takes no notice of it.
    pub track_id: TrackId,
}

/// When the server is asked for the [number](crate::TransactionId) of a transaction that is to be committed.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresPool, Queries, QueryError, TrackId, TransactionOptions, TransactionStatus};
/// use pool_postgres::retry::Outcome;
///
/// # async fn pay(pool: &PostgresPool) -> Result<(), QueryError> {
/// let mut options = TransactionOptions::default();
/// options.track_id = TrackId::BeforeCommit;
/// let transaction = pool.begin_with(options).await?;
/// transaction.execute("UPDATE account SET amount = amount - 1 WHERE id = 7", &[]).await?;
/// match transaction.commit().await {
///     Err(error) if error.outcome() == Outcome::Unknown => match error.transaction_id() {
///         Some(id) if pool.transaction_status(id).await? == TransactionStatus::Committed => Ok(()),
///         _ => Err(error),
///     },
///     known => known,
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackId {
    /// Not at all.
    #[default]
    Never,
    /// Along with `COMMIT`, which costs no round trip. The number is known if the connection is lost while the server commits, as when it waits for a standby; it is not if the server's answer to this question is lost, too.
    WithCommit,
    /// Before `COMMIT` is sent, which costs a round trip. The number is known whenever the outcome is not, unless the transaction has written nothing and so has none.
    BeforeCommit,
}

impl TransactionOptions {
    /// The statement that begins it.
    pub(crate) fn begin(self) -> String {
        let access = self.read_only.map(|only| if only { "READ ONLY" } else { "READ WRITE" });
        let waits = self.deferrable.map(|waits| if waits { "DEFERRABLE" } else { "NOT DEFERRABLE" });
        let modes: Vec<_> = [self.isolation_level.map(isolation), access, waits].into_iter().flatten().collect();
        if modes.is_empty() { "BEGIN".to_owned() } else { format!("BEGIN {}", modes.join(", ")) }
    }
}

pub(super) fn isolation(level: IsolationLevel) -> &'static str {
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
            TransactionOptions { isolation_level, read_only, deferrable, ..TransactionOptions::default() }.begin()
        };
        assert_eq!(begin(None, None, None), "BEGIN");
        let strict = begin(Some(IsolationLevel::Serializable), Some(true), Some(true));
        assert_eq!(strict, "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE");
        assert_eq!(begin(None, Some(false), Some(false)), "BEGIN READ WRITE, NOT DEFERRABLE");
    }
}
