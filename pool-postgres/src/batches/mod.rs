//! Statements that are sent together.

mod answers;
mod encode;
mod prepare;
mod refuse;
mod send;
mod sources;

pub(crate) use answers::Skipped;
pub use answers::{BatchAnswer, BatchAnswers};

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use tokio_postgres::types::ToSql;

use crate::limits::{Course, limited_begin};
use crate::query::{Query, QueryError};
use crate::results;
use crate::statements::note_healed;
use refuse::refuse;
use send::{How, begin};
use sources::{Source, Told};

/// A list of statements that are sent in one go, without waiting for an answer in between. The answers come in their order.
///
/// By default all of them are **[as one](Self::as_one)**: outside of a transaction they are one of their own, so that all is done or nothing, and after an error the rest is not executed. That is what surprises least
/// where an error is passed on and not looked into: nothing is left half done. **[One by one](Self::one_by_one)**, each is a transaction of its own, and one that fails fails alone. Inside of a transaction there is no difference but that the server
/// is told to go on after an error, which it refuses as long as that transaction has not been rolled back.
///
/// Statements are prepared once for each connection, all that are not known yet together, before anything is executed. So a statement cannot be about a table that another one of the same batch makes. All that is sent is in memory until it has left;
/// of what comes, what belongs to one statement. A `COPY` cannot be in a batch.
///
/// Made by [`PostgresPool::batch`](crate::PostgresPool::batch), [`PostgresConnection::batch`](crate::PostgresConnection::batch) and [`PostgresTransaction::batch`](crate::PostgresTransaction::batch).
///
/// # Example
///
/// ```no_run
/// # async fn insert(pool: &pool_postgres::PostgresPool, names: &[String]) -> Result<(), pool_postgres::QueryError> {
/// let mut batch = pool.batch();
/// for name in names {
///     batch.push("INSERT INTO account (name) VALUES ($1)", &[name]);
/// }
/// // All of them, or none.
/// let counts = batch.execute_all().await?;
/// assert_eq!(counts.len(), names.len());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before `send` or `execute_all`"]
pub struct Batch<'c, 'q> {
    source: Source<'c>,
    is_one: bool,
    entries: Vec<Entry<'q>>,
}

/// One of the statements.
struct Entry<'q> {
    query: Query<'q>,
    params: Box<[&'q (dyn ToSql + Sync)]>,
}

impl<'c, 'q> Batch<'c, 'q> {
    fn new(source: Source<'c>) -> Self {
        Self { source, is_one: true, entries: Vec::new() }
    }

    /// As it is, with another statement behind the others. Its parameters are read when the batch is sent.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn move_on(pool: &pool_postgres::PostgresPool, id: i64) -> Result<(), pool_postgres::QueryError> {
    /// let batch = pool
    ///     .batch()
    ///     .add("UPDATE alert SET status = 'resolved' WHERE id = $1", &[&id])
    ///     .add("INSERT INTO history (alert) VALUES ($1)", &[&id]);
    /// batch.execute_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add(mut self, query: impl Into<Query<'q>>, params: &[&'q (dyn ToSql + Sync)]) -> Self {
        self.push(query, params);
        self
    }

    /// As [`add`](Self::add), for a loop.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn fill<'q>(batch: &mut pool_postgres::Batch<'_, 'q>, ids: &'q [i64]) {
    /// for id in ids {
    ///     batch.push("DELETE FROM alert WHERE id = $1", &[id]);
    /// }
    /// # }
    /// ```
    pub fn push(&mut self, query: impl Into<Query<'q>>, params: &[&'q (dyn ToSql + Sync)]) {
        self.entries.push(Entry { query: query.into(), params: params.into() });
    }

    /// As it is, with all statements as one, which is the default: they share one `Sync` of the protocol. Outside of a transaction they are one, which the server commits after the last of them. So the answers to those before are of use only once the last one is there: if that is an
    /// error, none of them has been done.
    ///
    /// Statements are refused that begin or end transactions, or that commit by themselves: `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT` and their kin, `CALL`, `DO` with `COMMIT`, `CALL` or `EXECUTE` in it, `VACUUM`, `DISCARD ALL`, `CREATE DATABASE`, whatever
    /// is done `CONCURRENTLY`, and others that cannot be inside of a transaction.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn clear(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let batch = pool.batch().as_one().add("DELETE FROM history", &[]).add("DELETE FROM alert", &[]);
    /// batch.execute_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_one(mut self) -> Self {
        self.is_one = true;
        self
    }

    /// As it is, with each statement for itself: there is a `Sync` of the protocol behind each. Outside of a transaction each is one of its own: those before one that fails have been done, and those behind it are done, too.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    ///
    /// # async fn insert(pool: &pool_postgres::PostgresPool, names: &[String]) -> Result<(), pool_postgres::QueryError> {
    /// let mut batch = pool.batch().one_by_one();
    /// for name in names {
    ///     batch.push("INSERT INTO account (name) VALUES ($1)", &[name]);
    /// }
    /// let mut answers = batch.send().await?;
    /// while let Some(answer) = answers.next().await {
    ///     if let Err(error) = answer {
    ///         println!("{error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn one_by_one(mut self) -> Self {
        self.is_one = false;
        self
    }

    /// How many statements it has.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn count(pool: &pool_postgres::PostgresPool) {
    /// assert_eq!(pool.batch().add("SELECT 1", &[]).len(), 1);
    /// # }
    /// ```
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look(pool: &pool_postgres::PostgresPool) {
    /// assert!(pool.batch().is_empty());
    /// # }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Prepares what is not known yet, sends all of it, and returns the answers as they come: a [`Stream`] of one for each statement. Without any statement, nothing is asked and nobody is waited for.
    ///
    /// Cancel safety: what has been sent is cancelled on the server, unless [`cancel_on_drop`](crate::Limits::cancel_on_drop) says otherwise, and may have been done.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had. If a statement is refused, cannot be prepared or has parameters that cannot be sent, nothing has been executed; but in a batch whose statements are one by one only that
    /// statement fails, and the stream says so.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn read(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let mut answers = pool.batch().add("SELECT name FROM account", &[]).add("SELECT 2", &[]).send().await?;
    /// while let Some(answer) = answers.try_next().await? {
    ///     println!("{:?}", answer.rows());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(self) -> Result<BatchAnswers<'c>, QueryError> {
        // Owned across the awaits: the batch, by the calls, and the connection.
        match self.hold().await? {
            Some(begun) => begun.send(true, None).await,
            None => Ok(BatchAnswers::none()),
        }
    }

    /// Where it is executed, if there is anything to execute.
    async fn hold(self) -> Result<Option<Held<'c, 'q>>, QueryError> {
        let Self { source, is_one, entries } = self;
        let Some(Entry { query: first, .. }) = entries.first() else { return Ok(None) };
        refuse(&entries, is_one)?;
        // Owned across the await: the caller's place in the queue.
        let (connection, told) = source.hold(first).await?;
        Ok(Some(Held { connection: Arc::new(connection), told, is_one, entries }))
    }

    /// Sends all of it, and returns how many rows each statement has inserted, updated, deleted, or returned and thrown away, once all have been executed.
    ///
    /// If statements that are one, outside of a transaction, come to nothing since what was known of one of them is out of date, such as the columns of a table that somebody has changed, all of it is prepared anew and sent once more.
    ///
    /// Cancel safety: as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and the first error of a statement: its [number](QueryError::batch_index) says which. Of statements that are one by one, the others have been executed nevertheless.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn insert(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let insert = "INSERT INTO account (name) VALUES ($1)";
    /// let counts = pool.batch().add(insert, &[&"ada"]).add(insert, &[&"grace"]).execute_all().await?;
    /// assert_eq!(counts, [1, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn execute_all(self) -> Result<Vec<u64>, QueryError> {
        // Owned across the awaits: the batch, and the connection. Dropped, what is under way is cancelled.
        let Some(held) = self.hold().await? else { return Ok(Vec::new()) };
        let answers = held.send(false, None).await?.with_another_try();
        match held.counts(answers).await {
            (_, Some(course)) => {
                note_healed(&held.connection);
                held.counts(held.send(false, Some(course)).await?).await.0
            }
            (outcome, None) => outcome,
        }
    }
}

/// A batch with its connection.
struct Held<'c, 'q> {
    connection: Arc<results::Held<'c>>,
    told: Told<'c>,
    is_one: bool,
    entries: Vec<Entry<'q>>,
}

impl<'c> Held<'c, '_> {
    /// For the first time, or once more in the same course.
    async fn send(&self, is_read: bool, course: Option<Course>) -> Result<BatchAnswers<'c>, QueryError> {
        let (Self { connection, entries, .. }, told) = (self, Arc::clone(&self.told));
        let how = How { is_one: self.is_one, is_read };
        // Owned across the await: the connection, or its lease, which goes back and is put in order.
        let begun = limited_begin(connection, &entries[0].query, course, || begin(connection, entries, how)).await;
        match begun {
            Ok((sent, course)) => Ok(BatchAnswers::new(sent, course, Arc::clone(connection), told, is_read)),
            Err(error) => Err(told(error)),
        }
    }

    /// The counts or the first error, and if it is to be sent once more its course.
    async fn counts(&self, mut answers: BatchAnswers<'c>) -> (Result<Vec<u64>, QueryError>, Option<Course>) {
        // Owned across the awaits: the answers. Dropped, what is under way is cancelled.
        let (mut counts, mut failed) = (Vec::with_capacity(self.entries.len()), None);
        while let Some(answer) = poll_fn(|context| Pin::new(&mut answers).poll_next(context)).await {
            match answer {
                Ok(answer) => counts.push(answer.rows_affected()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        (failed.map_or(Ok(counts), Err), answers.course_once_more())
    }
}

impl fmt::Debug for Batch<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).field("as_one", &self.is_one).finish_non_exhaustive()
    }
}
