//! Data that is copied in.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use futures_sink::Sink;
use tokio_postgres::{CopyInSink, Error, Statement};

use super::request::{Held, Request, is_other_message};
use crate::connection::PostgresConnection;
use crate::limits::limited_begin;
use crate::query::{Query, QueryError, QueryStep};
use crate::retry::Outcome;
use crate::statements::prepare_as;

/// More than this is sent in several pieces, so that nothing on the way has to keep it all.
const PIECE: usize = 64 << 10;

const TORN: &str = "only a part of some data was sent, since the future that sent it was dropped";
const TWICE: &str = "the server has told the number of rows twice";
const REFUSED: &str = "the server has refused the data";

/// Takes the data of a `COPY ... FROM STDIN`, in the format of the statement. Nothing is inserted before [`finish`](Self::finish) says so, and then all of it is; in a transaction, once that is committed.
///
/// [`send`](Self::send) waits while the server is busy with what it has, so that a few hundred kilobytes are on the way at most.
///
/// **Dropped** without `finish`, the copy fails on the server, and nothing is inserted. The connection is put in order before anybody else gets it; one that is kept can be used at once. In a
/// transaction that makes the transaction fail, as every error does.
///
/// Made by [`PostgresPool::copy_in`](crate::PostgresPool::copy_in), on a connection of its own that goes back at the end; by
/// [`PostgresConnection::copy_in`](crate::PostgresConnection::copy_in); and by [`PostgresTransaction::copy_in`](crate::PostgresTransaction::copy_in).
///
/// # Example
///
/// ```no_run
/// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// let mut copy = pool.copy_in("COPY account (id, name) FROM STDIN (FORMAT csv)").await?;
/// for line in ["1,ada\n", "2,grace\n"] {
///     copy.send(line).await?;
/// }
/// assert_eq!(copy.finish().await?, 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is inserted without `finish`"]
pub struct CopyIn<'a> {
    /// Until the server has refused something. First, since what is dropped first is first here: the copy fails before its lease goes back.
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
    request: Request,
    held: Held<'a>,
    /// Whether a part of some data was sent, and not the rest.
    is_torn: bool,
}

impl<'a> CopyIn<'a> {
    /// Sends the statement, and returns once the server takes data. Whoever calls has the connection for himself.
    pub(crate) async fn start(held: Held<'a>, query: Query<'_>) -> Result<Self, QueryError> {
        // Owned across the await: the connection, or its lease, which goes back and is put in order.
        let begun = limited_begin(&held, &query, None, || Self::begin(&held, &query)).await;
        let ((request, sink), course) = begun?;
        Ok(Self { sink: Some(sink), request: request.in_course(course), held, is_torn: false })
    }

    async fn begin(
        connection: &PostgresConnection,
        query: &Query<'_>,
    ) -> Result<(Request, Pin<Box<CopyInSink<Bytes>>>), QueryError> {
        let request = Request::new(connection, query);
        // Owned across the await: nothing.
        let prepared = prepare_as(connection, query.sql(), &[]).await;
        let statement = prepared.map_err(|error| request.error(connection, QueryStep::Prepare, error))?;
        let Some(name) = name_of(&statement) else {
            let why = "the client does not tell the name of its statement";
            return Err(request.wrong(connection, QueryStep::Prepare, Outcome::NotDone, why));
        };
        let request = Request::new(connection, query);
        let copying = &connection.session().copying;
        copying.expect(name);
        // Owned across the await: the statement. Dropped, the copy fails on the server.
        match connection.client().copy_in::<_, Bytes>(&statement).await {
            Ok(sink) => {
                connection.session().requests().muddle();
                Ok((request, Box::pin(sink)))
            }
            Err(error) => {
                copying.forget();
                let is_other = is_other_message(&error);
                let other =
                    || request.wrong(connection, QueryStep::Copy, Outcome::Unknown, "it is no COPY ... FROM STDIN");
                Err(if is_other { other() } else { request.error(connection, QueryStep::Copy, error) })
            }
        }
    }

    /// Sends some data, cut off wherever it may be: rows need not be whole. Waits until there is room for it on the way to the server.
    ///
    /// Cancel safety: a future that is dropped has sent nothing, or all, if the data has no more than 64 KiB. Of more, a part may have been sent: then whatever comes next fails, and nothing
    /// is inserted.
    ///
    /// # Errors
    ///
    /// [`QueryError`] with the step [`Copy`](QueryStep::Copy). If the server has refused something that was sent before, it is the server's error. Nothing is inserted.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<u64, pool_postgres::QueryError> {
    /// let mut copy = pool.copy_in("COPY account (id, name) FROM STDIN").await?;
    /// copy.send("1\tada\n").await?;
    /// copy.finish().await
    /// # }
    /// ```
    pub async fn send(&mut self, data: impl Into<Bytes> + Send) -> Result<(), QueryError> {
        let mut data = data.into();
        if self.is_torn {
            return Err(self.fail(TORN));
        }
        while !data.is_empty() {
            // Owned across the await: what is left of the data.
            self.wait_for_room().await?;
            let piece = data.split_to(data.len().min(PIECE));
            self.is_torn = !data.is_empty();
            self.pass_on(piece)?;
        }
        Ok(())
    }

    /// Returns once a piece can be passed on.
    pub(super) async fn wait_for_room(&mut self) -> Result<(), QueryError> {
        if self.held.session().copying.is_refused() {
            // Owned across the await: the sink, by the call.
            return Err(self.refusal().await);
        }
        let Some(sink) = &mut self.sink else { return Err(self.fail(REFUSED)) };
        // Owned across the await: nothing.
        let ready = poll_fn(|cx| sink.as_mut().poll_ready(cx)).await;
        ready.map_err(|error| self.lost(error))
    }

    pub(super) fn pass_on(&mut self, piece: Bytes) -> Result<(), QueryError> {
        let Some(sink) = &mut self.sink else { return Err(self.fail(REFUSED)) };
        let sent = sink.as_mut().start_send(piece);
        sent.map_err(|error| self.lost(error))
    }

    /// What the server has said against the data. It overlooks the end that it is told for that.
    async fn refusal(&mut self) -> QueryError {
        let Some(mut sink) = self.sink.take() else { return self.fail(REFUSED) };
        // Owned across the await: the sink. Dropped, the server is told that the copy has failed, which it knows.
        match sink.as_mut().finish().await {
            Ok(_) => self.fail(REFUSED),
            Err(error) => self.lost(error),
        }
    }

    /// Says that all has been sent, and returns how many rows have been inserted, once that is certain: outside of a transaction they have been committed, and constraints that are checked
    /// at the end hold.
    ///
    /// Cancel safety: a future that is dropped leaves the copy to fail, or to succeed if the server had been told; nobody knows which.
    ///
    /// # Errors
    ///
    /// [`QueryError`] with the step [`Copy`](QueryStep::Copy), with the server's error if it has refused anything: then nothing is inserted. Only if the connection was lost, its
    /// [outcome](QueryError::outcome) is unknown.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::retry::Outcome;
    ///
    /// # async fn end(copy: pool_postgres::CopyIn<'_>) {
    /// match copy.finish().await {
    ///     Ok(rows) => println!("{rows} rows"),
    ///     Err(error) if error.outcome() == Outcome::NotDone => println!("none: {error}"),
    ///     Err(error) => println!("look whether they are there: {error}"),
    /// }
    /// # }
    /// ```
    pub async fn finish(mut self) -> Result<u64, QueryError> {
        // Owned across the await: the copy, with the connection or its lease.
        let rows = self.complete().await;
        self.request.end(&self.held, rows.as_ref().err());
        rows
    }

    async fn complete(&mut self) -> Result<u64, QueryError> {
        if self.is_torn {
            return Err(self.fail(TORN));
        }
        let Some(mut sink) = self.sink.take() else { return Err(self.fail(REFUSED)) };
        // Owned across the await: the sink. Dropped before the server has been told, the copy fails.
        let rows = sink.as_mut().finish().await;
        let rows = rows.map_err(|error| self.request.error(&self.held, QueryStep::Copy, error))?;
        // Owned across the await: the same.
        self.end_of_answer(sink.as_mut()).await?;
        if self.held.session().copying.is_refused() { Err(self.fail(REFUSED)) } else { Ok(rows) }
    }

    /// Waits for the end of the answer, once the server has said how many rows there are: it commits only after that, and says that it is ready, which the client does not expect here. It was something else that should not have come if
    /// the session has not seen that end, or if more comes than the end of the request.
    async fn end_of_answer(&self, mut sink: Pin<&mut CopyInSink<Bytes>>) -> Result<(), QueryError> {
        let late = |error| Err(self.request.late_error(&self.held, QueryStep::Copy, error));
        let twice = || Err(self.request.wrong(&self.held, QueryStep::Copy, Outcome::Unknown, TWICE));
        // Owned across the awaits: nothing.
        match poll_fn(|cx| sink.as_mut().poll_finish(cx)).await {
            Err(error) if is_other_message(&error) && !self.held.session().is_busy() => {}
            Err(error) => return late(error),
            Ok(_) => return twice(),
        }
        match poll_fn(|cx| sink.as_mut().poll_finish(cx)).await {
            Err(error) if error.is_closed() => Ok(()),
            Err(error) => late(error),
            Ok(_) => twice(),
        }
    }

    /// The client reports an error, and nobody has told the server that the data is complete.
    fn lost(&mut self, error: Error) -> QueryError {
        let error = self.request.undone(&self.held, QueryStep::Copy, error);
        self.request.end(&self.held, Some(&error));
        error
    }

    /// Makes the copy fail, for a reason of our own.
    fn fail(&mut self, why: &str) -> QueryError {
        self.sink = None;
        let error = self.request.wrong(&self.held, QueryStep::Copy, Outcome::NotDone, why);
        self.request.end(&self.held, Some(&error));
        error
    }
}

/// Without `finish`, or while that is waited for.
impl Drop for CopyIn<'_> {
    fn drop(&mut self) {
        self.request.leave(&self.held);
    }
}

impl CopyIn<'_> {
    /// What is to be sent next cannot be. The copy goes on without it.
    pub(super) fn unsendable(&self, why: String) -> QueryError {
        self.request.wrong(&self.held, QueryStep::Copy, Outcome::NotDone, why)
    }
}

/// The client has the name of a statement and tells it to nobody but those who look for errors.
fn name_of(statement: &Statement) -> Option<String> {
    let shown = format!("{statement:?}");
    let (_, name) = shown.split_once("name: \"")?;
    name.split_once('"').map(|(name, _)| name.to_owned()).filter(|name| !name.is_empty())
}

impl fmt::Debug for CopyIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn").field("open", &self.sink.is_some()).finish_non_exhaustive()
    }
}
