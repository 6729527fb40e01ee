//! How statements get to the server.

mod ask;

pub(crate) use ask::{All, Ask, Count, One, Optional, Params};

use tokio_postgres::Statement;

use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError, QueryStep};

/// A statement that has been prepared on this connection.
pub(crate) async fn statement(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, QueryError> {
    let mark = connection.mark();
    // Owned across the await: nothing.
    let prepared = connection.client().prepare(query.sql()).await;
    prepared.map_err(|error| QueryError::of(connection, QueryStep::Prepare, query.sql(), mark, error))
}

/// Has a statement executed, and reads what it comes to.
pub(crate) async fn run<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
) -> Result<A::Answer, QueryError> {
    // Owned across the awaits: the statement.
    let statement = statement(connection, query).await?;
    let mark = connection.mark();
    let answer = A::ask(connection.client(), &statement, params).await;
    answer.map_err(|error| QueryError::of(connection, QueryStep::Execute, query.sql(), mark, error))
}

/// Has statements executed that are not prepared.
pub(crate) async fn run_batch(connection: &PostgresConnection, query: &Query<'_>) -> Result<(), QueryError> {
    let mark = connection.mark();
    // Owned across the await: nothing.
    let answer = connection.client().batch_execute(query.sql()).await;
    answer.map_err(|error| QueryError::of(connection, QueryStep::Execute, query.sql(), mark, error))
}
