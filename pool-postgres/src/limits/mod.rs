//! What bounds a request.

use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError};

/// Runs a request within its limits.
pub(crate) async fn limited<T>(
    _connection: &PostgresConnection,
    _query: &Query<'_>,
    request: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    // Owned across the await: the request.
    request.await
}
