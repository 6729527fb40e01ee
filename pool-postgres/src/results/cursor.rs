//! Rows that are asked for in batches.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::{Row, Statement};

use super::cursor_rows::CursorRows;
use super::request::{Held, Request};
use crate::connection::PostgresConnection;
use crate::limits::limited_begin;
use crate::query::{Query, QueryError, QueryStep};
use crate::retry::Outcome;
use crate::statements::{Params, prepare_as};
use crate::tap::Changes;
use crate::transactions::queue;

/// Only reads, and is planned for all rows: a cursor is planned for the first ones otherwise.
const BEGIN: &str = "BEGIN READ ONLY; SELECT pg_catalog.set_config('cursor_tuple_fraction', '1', true)";
/// What `FETCH` takes.
const LARGEST: u32 = i32::MAX.unsigned_abs();
const TORN: &str = "a batch was asked for before and not waited for, so its rows are lost";

/// A query whose rows stay with the server until they are asked for, a batch at a time: a cursor of SQL, and so a portal of the server.
///
/// Made by [`PostgresPool::fetch_in_batches`](crate::PostgresPool::fetch_in_batches), in a transaction of its own, and by [`PostgresConnection::cursor`](crate::PostgresConnection::cursor), in one that
/// is open. Between the batches the connection has nothing to do and may be asked other things: that is what it has over a [`RowStream`](crate::RowStream), for a round trip for each batch. All
/// batches are of one snapshot.
///
/// Dropped halfway, it costs nothing: in a transaction of its own the connection goes back and that is rolled back; in another one the cursor stays until its end, or until [`close`](Self::close).
///
/// # Example
///
/// ```no_run
/// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// let mut batches = pool.fetch_in_batches("SELECT id, name FROM alert ORDER BY id", &[], 1000).await?;
/// while let Some(batch) = batches.fetch().await? {
///     println!("{} rows", batch.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the server keeps it until the end of the transaction"]
pub struct Cursor<'a> {
    /// Until the end.
    open: Option<Open<'a>>,
    fetch: Fetch,
    name: Box<str>,
    size: usize,
    /// Whether the transaction is its own.
    is_alone: bool,
    /// Whether a batch has been asked for and not been given to anybody.
    is_torn: bool,
}

/// How the next batch is asked for.
#[derive(Debug)]
enum Fetch {
    Text(String),
    Prepared(Statement),
}

#[derive(Debug)]
struct Open<'a> {
    request: Request,
    held: Held<'a>,
}

impl<'a> Cursor<'a> {
    /// Opens it in a transaction of its own.
    pub(super) async fn alone(
        held: Held<'a>,
        query: Query<'_>,
        params: Params<'_>,
        size: u32,
    ) -> Result<Self, QueryError> {
        // Owned across the await: the lease. Dropped, it goes back, and the transaction is rolled back.
        Self::open(held, &query, params, size, true).await
    }

    /// Opens it in the transaction that is open.
    pub(super) async fn declare(
        held: Held<'a>,
        query: Query<'_>,
        params: Params<'_>,
        size: u32,
    ) -> Result<Self, QueryError> {
        // Owned across the await: the connection, or its lease. A cursor that is opened meanwhile ends with the transaction.
        Self::open(held, &query, params, size, false).await
    }

    async fn open(
        held: Held<'a>,
        query: &Query<'_>,
        params: Params<'_>,
        size: u32,
        is_alone: bool,
    ) -> Result<Self, QueryError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("pool_cursor_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        check(&held, &Request::new(&held, query), size)?;
        let sql = format!("DECLARE {name} NO SCROLL CURSOR FOR {}", query.sql());
        // What begins its transaction is a part of it, and no request of anybody's.
        let opening = || async {
            // Owned across the awaits: nothing.
            if is_alone {
                begin(&held, query).await?;
            }
            execute(&held, query, &sql, params).await
        };
        // Owned across the await: the connection, or its lease.
        let (request, course) = limited_begin(&held, query, None, opening).await?;
        let fetch = Fetch::Text(format!("FETCH FORWARD {size} FROM {name}"));
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let open = Some(Open { request: request.in_course(course), held });
        Ok(Self { open, fetch, name: name.into(), size, is_alone, is_torn: false })
    }

    /// The next batch: as many rows as were agreed on, or fewer in the last one; `None` at the end. One round trip, and one more at the end of a transaction of its own, which is committed then.
    ///
    /// Cancel safety: none. A batch that was asked for and not waited for is lost, and there is an error instead of the one after it.
    ///
    /// # Errors
    ///
    /// [`QueryError`] with the step [`Fetch`](QueryStep::Fetch), or [`Commit`](QueryStep::Commit) if the transaction that it was all read in cannot be committed. There are no batches after that.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn first(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let mut batches = pool.fetch_in_batches("SELECT name FROM alert", &[], 100).await?;
    /// if let Some(batch) = batches.fetch().await? {
    ///     println!("{} of at most 100", batch.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fetch(&mut self) -> Result<Option<Vec<Row>>, QueryError> {
        // Owned across the await: nothing. Of what is asked and not waited for, the next call will know.
        let outcome = self.fetch_batch().await;
        match &outcome {
            Ok(Some(rows)) if rows.len() == self.size => {}
            Ok(_) => drop(self.end(None)),
            Err(error) => self.leave(Some(error)),
        }
        outcome
    }

    async fn fetch_batch(&mut self) -> Result<Option<Vec<Row>>, QueryError> {
        let Some(Open { request, held }) = &mut self.open else { return Ok(None) };
        if mem::replace(&mut self.is_torn, true) {
            return Err(request.wrong(held, QueryStep::Fetch, Outcome::NotDone, TORN));
        }
        request.go_on(held);
        // Owned across the await: nothing.
        let batch = match &self.fetch {
            Fetch::Prepared(statement) => held.client().query(statement, &[]).await,
            // With the types of its columns, which the client would ask for in the middle of the answer otherwise.
            Fetch::Text(sql) => {
                let prepared = prepare_as(held, sql, &[]).await;
                let statement = prepared.map_err(|error| request.error(held, QueryStep::Prepare, error))?;
                let batch = held.client().query(&statement, &[]).await;
                self.fetch = Fetch::Prepared(statement);
                batch
            }
        };
        let rows = batch.map_err(|error| request.error(held, QueryStep::Fetch, error))?;
        if rows.len() < self.size && self.is_alone {
            // Owned across the await: the rows of the last batch, which are lost.
            commit(held, request).await?;
        }
        self.is_torn = false;
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    /// It is over, with this error if it has failed.
    fn end(&mut self, error: Option<&QueryError>) -> Option<Held<'a>> {
        let Open { mut request, held } = self.open.take()?;
        request.end(&held, error);
        Some(held)
    }

    /// The same, and ends the transaction if that is its own.
    fn leave(&mut self, error: Option<&QueryError>) {
        if let Some(held) = self.end(error)
            && self.is_alone
            && !std::thread::panicking()
        {
            queue(&held, "ROLLBACK");
        }
    }

    /// Closes it before the end of its transaction, so that the server keeps nothing of it. In a transaction of its own that is committed; nothing was written in it.
    ///
    /// Cancel safety: it may have been closed.
    ///
    /// # Errors
    ///
    /// [`QueryError`]. The transaction has failed then.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn first(connection: &pool_postgres::PostgresConnection) -> Result<(), Box<dyn std::error::Error>> {
    /// connection.batch_execute("BEGIN").await?;
    /// let mut names = connection.cursor("SELECT name FROM alert", &[], 100).await?;
    /// let first = names.fetch().await?;
    /// names.close().await?;
    /// connection.batch_execute("COMMIT").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(mut self) -> Result<(), QueryError> {
        // Owned across the await: the cursor. Dropped, its lease goes back, and the transaction is rolled back.
        let closed = self.shut().await;
        self.end(closed.as_ref().err());
        closed
    }

    async fn shut(&mut self) -> Result<(), QueryError> {
        let Some(Open { request, held }) = &mut self.open else { return Ok(()) };
        request.go_on(held);
        self.is_torn = true;
        // Whatever comes of it, nothing is to be said to the server after that.
        if mem::take(&mut self.is_alone) {
            // Owned across the await: nothing.
            return commit(held, request).await;
        }
        let sql = format!("CLOSE {}", self.name);
        // Owned across the await: nothing.
        let closed = held.client().batch_execute(&sql).await;
        closed.map_err(|error| request.error(held, QueryStep::Execute, error))
    }

    /// Its rows one by one, each batch asked for when the one before has been read.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut rows = pool.fetch_in_batches("SELECT name FROM alert", &[], 1000).await?.rows();
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{}", row.try_get::<_, &str>(0)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn rows(self) -> CursorRows<'a> {
        CursorRows::new(self)
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // Between two batches, all that was asked has been answered.
        if let Some(open) = &mut self.open
            && self.is_torn
        {
            open.request.leave(&open.held);
        }
        self.leave(None);
    }
}

fn check(connection: &PostgresConnection, request: &Request, size: u32) -> Result<(), QueryError> {
    let is_possible = (1..=LARGEST).contains(&size);
    let wrong = || {
        let why = format!("a batch has 1 to {LARGEST} rows, not {size}");
        request.wrong(connection, QueryStep::Prepare, Outcome::NotDone, why)
    };
    if is_possible { Ok(()) } else { Err(wrong()) }
}

/// Begins a transaction for it. It is rolled back when the lease goes back.
async fn begin(connection: &PostgresConnection, query: &Query<'_>) -> Result<(), QueryError> {
    let request = Request::new(connection, query);
    // Owned across the await: nothing.
    let begun = connection.client().batch_execute(BEGIN).await;
    begun.map_err(|error| request.error(connection, QueryStep::Begin, error))
}

/// Prepares a statement for this once, and executes it: each cursor has one of its own, which nobody has any use for later.
async fn execute(
    connection: &PostgresConnection,
    query: &Query<'_>,
    sql: &str,
    params: Params<'_>,
) -> Result<Request, QueryError> {
    let request = Request::new(connection, query);
    // Owned across the await: nothing.
    let prepared = prepare_as(connection, sql, &[]).await;
    let statement = prepared.map_err(|error| request.error(connection, QueryStep::Prepare, error))?;
    connection.ask(query);
    // Owned across the await: the statement, which is closed when it is dropped.
    let executed = connection.client().execute(&statement, params).await;
    executed.map_err(|error| request.error(connection, QueryStep::Execute, error))?;
    Ok(request)
}

async fn commit(connection: &PostgresConnection, request: &Request) -> Result<(), QueryError> {
    // Owned across the await: nothing. The transaction has only read.
    let committed = connection.client().batch_execute("COMMIT").await;
    // The cursor has gone with its transaction, before which there was none.
    connection.session().forget_changes(Changes::CURSORS);
    committed.map_err(|error| request.late_error(connection, QueryStep::Commit, error))
}
