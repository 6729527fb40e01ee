//! How a transaction fails without an error of somebody else.

/// How a transaction fails without an error of the server or of the client: what [`QueryError::transaction_error`](crate::QueryError::transaction_error) returns.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresTransaction, QueryError, TransactionError};
///
/// # async fn end(transaction: PostgresTransaction<'_>) -> Result<(), QueryError> {
/// match transaction.commit().await {
///     Err(error) if error.transaction_error() == Some(TransactionError::RolledBack) => {
///         println!("an error of a statement was passed over: {error}");
///         Err(error)
///     }
///     outcome => outcome,
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A statement of the transaction had failed, and nobody took notice. The server answers `COMMIT` with `ROLLBACK` then, which is no error for the client.
    #[error("the transaction had failed: COMMIT was answered with ROLLBACK")]
    RolledBack,
    /// A statement of the transaction has ended it, as `COMMIT` does, or has begun another one, so that nobody else knows what has become of it.
    #[error("the work has ended the transaction itself")]
    EndedByWork,
    /// The connection is in a transaction that somebody has begun by a statement of his own. It is left as it is.
    #[error("a transaction is open on the connection already")]
    AlreadyOpen,
    /// The name of a savepoint is empty, longer than 63 bytes, or has a zero in it; or a savepoint around it has the same.
    #[error("a savepoint has a name of 1 to 63 bytes without a zero, which none of those around it has")]
    SavepointName,
    /// The work of [`PostgresPool::transaction`](crate::PostgresPool::transaction) is over, and somebody has the transaction still. It is rolled back when he drops it.
    #[error("the work has kept the transaction")]
    Kept,
}
