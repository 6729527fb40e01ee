//! Data that is copied out.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio_postgres::{CopyOutStream, Error};

use super::request::{Held, Request, is_other_message};
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::limits::limited_begin;
use crate::query::{Query, QueryError, QueryStep};
use crate::retry::Outcome;
use crate::statements::prepare_as;

/// What the server says after the data: that the command is complete, and that it is ready.
const LAST: u8 = 2;
const TWICE: &str = "the data has ended twice";

/// The data of a `COPY ... TO STDOUT`, as the server sends it, in the format of the statement: a [`Stream`] of pieces, which are of one row each. What is not asked for stays with the server.
///
/// It ends well only if the server says that the command has succeeded. Dropped halfway, it is as a [`RowStream`](crate::RowStream).
///
/// Made by [`PostgresPool::copy_out`](crate::PostgresPool::copy_out) and [`PostgresConnection::copy_out`](crate::PostgresConnection::copy_out).
///
/// # Example
///
/// ```no_run
/// use futures_util::TryStreamExt;
/// use tokio::io::AsyncWriteExt;
///
/// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = tokio::fs::File::create("alerts.csv").await?;
/// let mut data = pool.copy_out("COPY alert TO STDOUT (FORMAT csv, HEADER)").await?;
/// while let Some(piece) = data.try_next().await? {
///     file.write_all(&piece).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "the server has begun to send"]
pub struct CopyOut<'a> {
    /// Until the end.
    open: Option<Open<'a>>,
    sql: Box<str>,
    /// How many messages are to come after the data, once that has ended.
    last: Option<u8>,
}

/// What is dropped first is first here.
struct Open<'a> {
    data: Pin<Box<CopyOutStream>>,
    request: Request,
    held: Held<'a>,
}

impl<'a> CopyOut<'a> {
    /// Sends the statement, and returns once the server sends data.
    pub(super) async fn start(held: Held<'a>, query: Query<'_>) -> Result<Self, QueryError> {
        // Owned across the await: the connection, or its lease, which goes back and is put in order.
        let begun = limited_begin(&held, &query, None, || Self::begin(&held, &query)).await;
        let ((request, data), course) = begun?;
        let request = request.in_course(course);
        Ok(Self { sql: query.sql().into(), open: Some(Open { data, request, held }), last: None })
    }

    async fn begin(
        connection: &PostgresConnection,
        query: &Query<'_>,
    ) -> Result<(Request, Pin<Box<CopyOutStream>>), QueryError> {
        let before = Request::new(connection, query);
        // Owned across the await: nothing.
        let prepared = prepare_as(connection, query.sql(), &[]).await;
        let statement = prepared.map_err(|error| before.error(connection, QueryStep::Prepare, error))?;
        // Owned across the await: the statement.
        let request = Request::alone(connection, query).await;
        // Owned across the await: the statement. What has been asked is answered all the same, and nobody reads that.
        match connection.client().copy_out(&statement).await {
            Ok(data) => Ok((request.begun(connection), Box::pin(data))),
            Err(error) if is_other_message(&error) => {
                // It would wait for data for ever.
                if connection.session().copying.is_taking() {
                    connection.cut();
                }
                let why = "it is no COPY ... TO STDOUT";
                Err(request.wrong(connection, QueryStep::Copy, Outcome::Unknown, why))
            }
            Err(error) => Err(request.error(connection, QueryStep::Copy, error)),
        }
    }

    /// What has come is not what its reader expects.
    pub(super) fn wrong(&mut self, why: &str) -> QueryError {
        let diagnosis = Diagnosis::new(Advice::Never, Fate::Keep);
        let error = QueryError::new(QueryStep::Copy, &self.sql, Outcome::Unknown, diagnosis, why);
        let error = match &self.open {
            Some(open) => error.on(&open.held),
            None => error,
        };
        self.end(Some(&error));
        error
    }

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

impl Open<'_> {
    /// Something else has come than data: an error, before the end of the data or after it, or once more the end of the data, which cannot be.
    fn failed(&self, error: Option<Error>, has_ended: bool) -> QueryError {
        match error {
            Some(error) if has_ended => self.request.late_error(&self.held, QueryStep::Copy, error),
            Some(error) => self.request.error(&self.held, QueryStep::Copy, error),
            None => self.request.wrong(&self.held, QueryStep::Copy, Outcome::Unknown, TWICE),
        }
    }
}

impl Stream for CopyOut<'_> {
    type Item = Result<Bytes, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let end = loop {
            let Some(open) = &mut this.open else { return Poll::Ready(None) };
            match (ready!(open.data.as_mut().poll_next(cx)), this.last) {
                (Some(Ok(piece)), _) => return Poll::Ready(Some(Ok(piece))),
                (None, None) => this.last = Some(LAST),
                // The client expects data alone, and calls an error what else there is.
                (Some(Err(error)), Some(left)) if is_other_message(&error) => match left {
                    0 | 1 if open.request.is_completed(&open.held) => break None,
                    0 | 1 => break Some(open.failed(Some(error), true)),
                    _ => this.last = Some(left - 1),
                },
                (failed, last) => break Some(open.failed(failed.and_then(Result::err), last.is_some())),
            }
        };
        this.end(end.as_ref());
        Poll::Ready(end.map(Err))
    }
}

impl Drop for CopyOut<'_> {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            open.request.stop(&open.held);
            open.request.leave(&open.held);
        }
    }
}

impl fmt::Debug for CopyOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOut").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}
