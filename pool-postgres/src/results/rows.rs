//! Rows as they come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio_postgres::{Error, Row};

use super::request::{Held, Request};
use crate::connection::PostgresConnection;
use crate::limits::limited_begin;
use crate::query::{Query, QueryError, QueryStep};
use crate::statements::{Params, Ready, is_outdated, ready};

/// The rows of a query, one after the other: a [`Stream`]. What is not asked for stays with the server, so that a result of any size takes a few kilobytes here, however slow its reader is.
///
/// Made by [`PostgresPool::stream`](crate::PostgresPool::stream), with a connection of its own that goes back when the stream has ended, and by
/// [`PostgresConnection::stream`](crate::PostgresConnection::stream). What else is asked on the same connection waits until the stream has ended or was dropped.
///
/// **Dropped halfway**, it has the server stop: the rest is not read. The connection is put in order before anybody else gets it; one that is kept can be used at once, and what is asked next waits until the server has
/// stopped. In a transaction that makes the transaction fail, as every cancellation does; if it is to go on, read to the end, or use a [`Cursor`](crate::Cursor). If something had been sent behind
/// the query already, there is no telling which of them a cancellation would hit, and the rest is read and thrown away.
///
/// **Leaked** by [`std::mem::forget`], it blocks its connection. If its lease is dropped, the connection is closed after [`reset_timeout`](pool_core::Config::reset_timeout).
///
/// # Example
///
/// ```no_run
/// use futures_util::TryStreamExt;
///
/// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut rows = pool.stream("SELECT name FROM alert WHERE status = $1", &[&"resolved"]).await?;
/// while let Some(row) = rows.try_next().await? {
///     println!("{}", row.try_get::<_, &str>(0)?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "the server has begun to answer"]
pub struct RowStream<'a> {
    /// Until the end.
    open: Option<Open<'a>>,
    affected: Option<u64>,
}

/// What is dropped first is first here.
struct Open<'a> {
    rows: Pin<Box<tokio_postgres::RowStream>>,
    request: Request,
    held: Held<'a>,
}

/// A request, and the rows that come of it.
type Begun = (Request, Pin<Box<tokio_postgres::RowStream>>);

impl<'a> RowStream<'a> {
    /// Sends the query, and returns once the server has accepted its parameters.
    pub(super) async fn start(held: Held<'a>, query: Query<'_>, params: Params<'_>) -> Result<Self, QueryError> {
        // Owned across the await: the connection, or its lease, which goes back and is put in order.
        let begun = limited_begin(&held, &query, None, || Self::begin(&held, &query, params)).await;
        let ((request, rows), course) = begun?;
        let request = request.in_course(course);
        Ok(Self { open: Some(Open { rows, request, held }), affected: None })
    }

    async fn begin(
        connection: &PostgresConnection,
        query: &Query<'_>,
        params: Params<'_>,
    ) -> Result<Begun, QueryError> {
        // Owned across the awaits: the statement. What has been asked is answered all the same, and nobody reads that.
        let since = connection.mark();
        match Self::ask(connection, query, params).await? {
            Ok(begun) => Ok(begun),
            Err((_, error)) if is_outdated(connection, query, &error, since) => {
                let again = Self::ask(connection, query, params).await?;
                again.map_err(|(request, error)| request.error(connection, QueryStep::Execute, error))
            }
            Err((request, error)) => Err(request.error(connection, QueryStep::Execute, error)),
        }
    }

    /// The inner error is the client's, of the execution.
    async fn ask(
        connection: &PostgresConnection,
        query: &Query<'_>,
        params: Params<'_>,
    ) -> Result<Result<Begun, (Request, Error)>, QueryError> {
        // Owned across the awaits: the statement.
        let how = ready(connection, query, params.len()).await?;
        let request = Request::alone(connection, query).await;
        let (client, params) = (connection.client(), params.iter().copied());
        let rows = match how {
            Ready::Prepared(statement) => client.query_raw(&statement, params).await,
            Ready::Typed(types) => client.query_typed_raw(&connection.tagged(query), params.zip(types)).await,
        };
        Ok(match rows {
            Ok(rows) => Ok((request.begun(connection), Box::pin(rows))),
            Err(error) => Err((request, error)),
        })
    }

    /// How many rows the statement has inserted, updated, deleted or returned; `None` before the end of the stream.
    pub fn rows_affected(&self) -> Option<u64> {
        self.affected
    }
}

impl Stream for RowStream<'_> {
    type Item = Result<Row, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let next = match ready!(open.rows.as_mut().poll_next(cx)) {
            Some(Ok(row)) => return Poll::Ready(Some(Ok(row))),
            Some(Err(error)) => Some(Err(open.request.error(&open.held, QueryStep::Fetch, error))),
            None => {
                self.affected = open.rows.rows_affected();
                None
            }
        };
        self.end(next.as_ref().and_then(|next| next.as_ref().err()));
        Poll::Ready(next)
    }
}

impl RowStream<'_> {
    /// It is over, with this error if it has failed. Gives back what it has.
    fn end(&mut self, error: Option<&QueryError>) {
        let Some(mut open) = self.open.take() else { return };
        // If the server still has something to say, nobody wants to hear it.
        if error.is_none_or(|error| error.as_db_error().is_none()) {
            open.request.stop(&open.held);
        }
        open.request.end(&open.held, error);
    }
}

impl Drop for RowStream<'_> {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            open.request.stop(&open.held);
            open.request.leave(&open.held);
        }
    }
}

impl fmt::Debug for RowStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}
