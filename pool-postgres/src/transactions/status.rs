//! What has become of a transaction, by its number.

use std::fmt;
use std::num::NonZeroU64;

use crate::diagnosis::Diagnosis;
use crate::pool::PostgresPool;
use crate::query::{Queries, QueryError, QueryStep};
use crate::retry::Outcome;

/// The number by which a server knows a transaction that has written something: `xid8`, which is never used twice.
///
/// # Example
///
/// ```
/// use std::num::NonZeroU64;
/// use pool_postgres::TransactionId;
///
/// let id = TransactionId::from(NonZeroU64::new(771).expect("no zero"));
/// assert_eq!((id.to_string().as_str(), id.get()), ("771", 771));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(NonZeroU64);

impl TransactionId {
    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// As the server writes it.
    pub(super) fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl From<NonZeroU64> for TransactionId {
    fn from(id: NonZeroU64) -> Self {
        Self(id)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What has become of a transaction, by [`PostgresPool::transaction_status`].
///
/// # Example
///
/// ```
/// assert_eq!(pool_postgres::TransactionStatus::InProgress.to_string(), "in progress");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionStatus {
    /// It is not over: a server that has lost its client may be at a `COMMIT` still.
    InProgress,
    /// It was committed.
    Committed,
    /// It was rolled back.
    Aborted,
    /// It is so long ago that the server has forgotten.
    Forgotten,
}

impl TransactionStatus {
    /// In the server's words.
    fn read(text: Option<&str>) -> Self {
        match text {
            Some("committed") => Self::Committed,
            Some("aborted") => Self::Aborted,
            Some(_) => Self::InProgress,
            None => Self::Forgotten,
        }
    }
}

impl fmt::Display for TransactionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "in progress",
            Self::Committed => "committed",
            Self::Aborted => "rolled back",
            Self::Forgotten => "forgotten",
        })
    }
}

const STATUS: &str = "SELECT pg_catalog.pg_xact_status($1::text::xid8)";

impl PostgresPool {
    /// Asks what has become of a transaction whose `COMMIT` was not answered: [`QueryError::transaction_id`] has its number if [that is asked for](crate::TrackId).
    ///
    /// It is the server of that transaction that knows. One that has taken its place may have lost the last transactions, as after a failover without synchronous replication, and gives their
    /// numbers to others.
    ///
    /// Cancel safety: nothing is done.
    ///
    /// # Errors
    ///
    /// [`QueryError`]; with the SQLSTATE 22023 if the number lies in the server's future.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, QueryError, TransactionStatus};
    ///
    /// # async fn look(pool: &PostgresPool, error: &QueryError) -> Result<Option<TransactionStatus>, QueryError> {
    /// match error.transaction_id() {
    ///     Some(id) => pool.transaction_status(id).await.map(Some),
    ///     None => Ok(None),
    /// }
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction_status(
        &self,
        id: impl Into<TransactionId> + Send,
    ) -> impl Future<Output = Result<TransactionStatus, QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let id = id.into().to_string();
            // Owned across the await: the lease, by the call. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&STATUS.into(), acquiring).await?;
            let row = lease.query_one(STATUS, &[&id]).await?;
            let status = row.try_get(0).map_err(|error| {
                let diagnosis = Diagnosis::of(&error);
                QueryError::new(QueryStep::Fetch, STATUS, Outcome::NotDone, diagnosis, error)
            });
            status.map(TransactionStatus::read)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_the_server_writes_it() {
        assert_eq!(TransactionId::read("18446744073709551615").map(TransactionId::get), Some(u64::MAX));
        assert!(["", "0", "-1", "x", "18446744073709551616"].iter().all(|text| TransactionId::read(text).is_none()));
    }

    #[test]
    fn a_status_is_read_as_the_server_writes_it() {
        let texts = [Some("committed"), Some("aborted"), Some("in progress"), None];
        let said = texts.map(|text| TransactionStatus::read(text).to_string());
        assert_eq!(said, ["committed", "rolled back", "in progress", "forgotten"]);
    }
}
