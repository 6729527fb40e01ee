//! How a request fails.

use std::error::Error as StdError;
use std::fmt;

use pool_core::AcquireError;
use tokio_postgres::error::{DbError, SqlState};

use super::{Query, Summary, told};
use crate::batches::Skipped;
use crate::chain::{Whole, postgres};
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate, is_refused_by_the_client};
use crate::retry::Outcome;
use crate::tap::Mark;
use crate::transactions::{TransactionError, TransactionId};

/// What a request was about when it failed.
///
/// # Example
///
/// ```
/// assert_eq!(pool_postgres::QueryStep::Execute.to_string(), "executing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryStep {
    /// Acquiring a connection.
    Acquire,
    /// Sharing one, for what may not be asked on a connection that others use.
    Share,
    /// Having the server prepare the statement.
    Prepare,
    /// Executing it.
    Execute,
    /// Reading its rows, one after the other.
    Fetch,
    /// Copying rows in or out.
    Copy,
    /// Beginning a transaction, or a savepoint in one.
    Begin,
    /// Committing it.
    Commit,
    /// Rolling it back.
    RollBack,
    /// Listening for notifications.
    Listen,
}

impl fmt::Display for QueryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DOING[*self as usize])
    }
}

/// What is done in each step, in their order.
const DOING: [&str; 10] = [
    "acquiring a connection for",
    "sharing a connection for",
    "preparing",
    "executing",
    "reading the rows of",
    "copying by",
    "beginning by",
    "committing by",
    "rolling back by",
    "listening by",
];

/// A request has failed. Its message has everything below it, on one line, with the SQLSTATE: what was done, the statement without its literals, where, what has become of it, and why. Parameters
/// are not in it.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::PostgresPool;
/// use pool_postgres::tokio_postgres::error::SqlState;
///
/// # async fn insert(pool: &PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// match pool.execute("INSERT INTO account (name) VALUES ($1)", &[&"ada"]).await {
///     Err(error) if error.sqlstate() == Some(&SqlState::UNIQUE_VIOLATION) => println!("she is there already"),
///     outcome => println!("{} rows", outcome?),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct QueryError(Box<Inner>);

pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

#[derive(Debug)]
struct Inner {
    step: QueryStep,
    statement: String,
    host: Option<String>,
    outcome: Outcome,
    diagnosis: Diagnosis,
    /// By its number, if it is a `COMMIT` of which nobody knows what has become.
    transaction: Option<TransactionId>,
    /// Whether a part of it may have been committed, or of the transaction that it belongs to.
    is_partly_done: bool,
    cause: Cause,
    /// What may help.
    hint: Option<&'static str>,
    /// Which one of how many it is, if it belongs to a batch.
    in_batch: Option<(usize, usize)>,
    /// Whether that may have been done, or a part of it.
    batch_may_be_done: bool,
}

impl QueryError {
    /// No connection could be had.
    pub(crate) fn of_acquire(query: &Query<'_>, error: AcquireError) -> Self {
        let diagnosis = Diagnosis::of_acquire(&error);
        Self::new(QueryStep::Acquire, query.sql(), Outcome::NotDone, diagnosis, error)
    }

    /// The client reports an error for what has begun after the mark.
    pub(crate) fn of(
        connection: &PostgresConnection,
        step: QueryStep,
        sql: &str,
        since: Mark,
        error: tokio_postgres::Error,
    ) -> Self {
        let diagnosis = connection.diagnose(&error, since);
        let outcome = connection.outcome(&error, diagnosis, since);
        Self::new(step, sql, outcome, diagnosis, told(connection, error)).on(connection)
    }

    /// It has failed for a reason of our own.
    pub(crate) fn new(
        step: QueryStep,
        sql: &str,
        outcome: Outcome,
        diagnosis: Diagnosis,
        cause: impl Into<Cause>,
    ) -> Self {
        let statement = Summary(sql).to_string();
        Self(Box::new(Inner {
            step,
            statement,
            host: None,
            outcome,
            diagnosis,
            transaction: None,
            is_partly_done: false,
            cause: cause.into(),
            hint: None,
            in_batch: None,
            batch_may_be_done: false,
        }))
    }

    /// As it is, on this connection.
    pub(crate) fn on(mut self, connection: &PostgresConnection) -> Self {
        self.0.host = Some(connection.host().to_owned());
        self
    }

    /// As it is, with what may help.
    pub(crate) fn hinting(mut self, hint: Option<&'static str>) -> Self {
        self.0.hint = hint;
        self
    }

    /// As it is, about the statement with this index among so many.
    pub(crate) fn in_batch(mut self, index: usize, of: usize) -> Self {
        self.0.in_batch = Some((index, of));
        self
    }

    /// As it is, for somebody who knows what has become of it.
    pub(crate) fn settled(mut self, outcome: Outcome) -> Self {
        let Inner { outcome: known, diagnosis, .. } = &mut *self.0;
        *known = outcome;
        diagnosis.advice = match (outcome, diagnosis.advice) {
            (Outcome::Unknown, _) => Advice::OutcomeUnknown,
            (Outcome::NotDone, Advice::OutcomeUnknown) => Advice::RetryTransaction,
            (Outcome::NotDone, advice) => advice,
        };
        self
    }

    /// As it is, about a transaction that the server knows by this number.
    pub(crate) fn about(mut self, transaction: Option<TransactionId>) -> Self {
        self.0.transaction = transaction;
        self
    }

    /// As it is, of something that may have been committed in part.
    pub(crate) fn partly_done(mut self) -> Self {
        self.0.is_partly_done = true;
        self.settled(Outcome::Unknown)
    }

    /// Whether a transaction may have been committed, as a whole or in part, when it failed; or statements that were sent along with it may have been.
    pub(crate) fn may_have_committed(&self) -> bool {
        let Inner { step, outcome, is_partly_done, batch_may_be_done, .. } = &*self.0;
        *is_partly_done || *batch_may_be_done || (*step == QueryStep::Commit && *outcome == Outcome::Unknown)
    }

    /// As it is, of a batch outside of a transaction that may have been done in part, whatever has become of this statement.
    pub(crate) fn of_batch_done(mut self, may_be_done: bool) -> Self {
        self.0.batch_may_be_done = may_be_done;
        self
    }

    /// As it is, for another reason, of which the one so far is a part.
    pub(crate) fn because<C: Into<Cause>>(self, cause: impl FnOnce(Cause) -> C) -> Self {
        let inner = *self.0;
        Self(Box::new(Inner { cause: cause(inner.cause).into(), ..inner }))
    }

    /// Which statement of a [`Batch`](crate::Batch) it is about, the first one being 0; `None` if it is not about one of a batch.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn run(batch: pool_postgres::Batch<'_, '_>) {
    /// if let Err(error) = batch.execute_all().await {
    ///     println!("{:?} is to blame", error.batch_index());
    /// }
    /// # }
    /// ```
    pub fn batch_index(&self) -> Option<usize> {
        self.0.in_batch.map(|(index, _)| index)
    }

    /// Whether the statement was not executed since an earlier one of its [`Batch`](crate::Batch) has failed.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn tell(error: &pool_postgres::QueryError) {
    /// if !error.is_skipped() {
    ///     println!("this is the one: {error}");
    /// }
    /// # }
    /// ```
    pub fn is_skipped(&self) -> bool {
        self.0.cause.is::<Skipped>()
    }

    /// What is below it.
    pub(crate) fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.0.cause.as_ref()
    }

    /// Whether the connection had ended before it was sent.
    pub(crate) fn was_not_sent(&self) -> bool {
        self.is_closed() && self.0.diagnosis.safe_to_retry
    }

    /// What it was about when it failed.
    pub fn step(&self) -> QueryStep {
        self.0.step
    }

    /// The statement, without literals and comments, and no longer than a few lines.
    pub fn statement(&self) -> &str {
        &self.0.statement
    }

    /// Whether it may have been done. It goes by the commands that the server has reported as completed. What a procedure or a block of code has committed on its own before it failed shows nowhere, so that outside of a transaction nobody knows of a `CALL`, nor
    /// of a `DO` that has `COMMIT`, `CALL` or `EXECUTE` in it. What `VACUUM` or `CREATE INDEX CONCURRENTLY` has left when it fails does not count.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// What it means: whether to try again.
    pub fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis
    }

    /// The SQLSTATE, if the server has reported an error.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.client_error().and_then(tokio_postgres::Error::code)
    }

    /// What the server has reported, with the name of the constraint, table, and column that it is about.
    pub fn as_db_error(&self) -> Option<&DbError> {
        self.client_error().and_then(tokio_postgres::Error::as_db_error)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client_error().is_some_and(tokio_postgres::Error::is_closed)
    }

    /// The error of the client, if it is that.
    pub fn client_error(&self) -> Option<&tokio_postgres::Error> {
        postgres(self.0.cause.as_ref())
    }

    /// That of the pool, if no connection could be had.
    pub fn acquire_error(&self) -> Option<&AcquireError> {
        self.0.cause.downcast_ref()
    }

    /// Why a transaction could not be begun or has not been committed, if it is not an error of the server or of the client.
    pub fn transaction_error(&self) -> Option<TransactionError> {
        self.0.cause.downcast_ref().copied()
    }

    /// By which number the server knows the transaction of which nobody knows whether it was committed: for [`PostgresPool::transaction_status`](crate::PostgresPool::transaction_status). `None` after any other
    /// error, if it was not [asked for](crate::TrackId), or if the transaction had written nothing.
    pub fn transaction_id(&self) -> Option<TransactionId> {
        self.0.transaction
    }
}

impl PostgresConnection {
    /// Whether what has begun after the mark, and has failed with this error, may have been done. A server that reports an error of one statement has not done it, also if it is not ready for the next
    /// one yet.
    pub(crate) fn outcome(&self, error: &tokio_postgres::Error, diagnosis: Diagnosis, since: Mark) -> Outcome {
        if diagnosis.safe_to_retry || self.is_refused(error, diagnosis, since) || self.has_done_nothing_since(since) {
            Outcome::NotDone
        } else {
            Outcome::Unknown
        }
    }

    fn is_refused(&self, error: &tokio_postgres::Error, diagnosis: Diagnosis, since: Mark) -> bool {
        // Beside others nobody can tell by what was written or completed.
        if since.is_shared() && is_refused_by_the_client(error) {
            return true;
        }
        error.as_db_error().is_some()
            && diagnosis.fate != Fate::Close
            && diagnosis.advice != Advice::OutcomeUnknown
            && (since.is_shared() || self.session().has_completed_nothing_since(since))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { step, statement, host, outcome, transaction, cause, hint, in_batch, .. } = &*self.0;
        write!(f, "{step} \"{statement}\"")?;
        if let Some((index, of)) = in_batch {
            write!(f, ", statement {} of {of} of a batch,", index + 1)?;
        }
        host.iter().try_for_each(|host| write!(f, " on {host}"))?;
        write!(f, " failed; {outcome}")?;
        if let Some(transaction) = transaction {
            write!(f, " (transaction {transaction})")?;
        }
        write!(f, ": {}{}", Whole(cause.as_ref()), Hint(*hint))
    }
}

/// What may help, if anything does.
struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// The cause is part of the message, and the source for programs.
impl StdError for QueryError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.cause.as_ref())
    }
}
