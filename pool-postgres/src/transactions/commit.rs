//! How a transaction is committed, and what has become of it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::{Severity, SqlState};

use super::statement::{late, refuse, say};
use super::story::UNKNOWN;
use super::{PostgresTransaction, TrackId, TransactionError, TransactionId};
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::limits::patient;
use crate::query::{QueryError, QueryStep};
use crate::retry::Outcome;
use crate::tap::{Ending, Mark};

/// What commits.
pub(crate) const COMMIT: &str = "COMMIT";

const ID: &str = "SELECT pg_catalog.pg_current_xact_id_if_assigned()";

/// What has become of a transaction that had begun at one mark, if `COMMIT`, which was sent after another one, has failed with this error.
pub(crate) fn outcome_of_commit(
    connection: &PostgresConnection,
    error: &tokio_postgres::Error,
    diagnosis: Diagnosis,
    begun: Mark,
    since: Mark,
) -> Outcome {
    let is_over =
        is_refusal(error, diagnosis) || connection.is_unsent(error, since) || was_ended_idle(connection, error);
    let is_first = begun.asks_no_commit_until(since) && connection.session().has_committed_nothing_since(begun);
    if is_over && is_first { Outcome::NotDone } else { Outcome::Unknown }
}

/// Whether the server has answered `COMMIT` by an error after which the session goes on: then the transaction was rolled back. What somebody in between says, or somebody who goes away, is no answer.
fn is_refusal(error: &tokio_postgres::Error, diagnosis: Diagnosis) -> bool {
    let goes_on = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
    goes_on && diagnosis.fate != Fate::Close && diagnosis.advice != Advice::OutcomeUnknown
}

impl PostgresTransaction<'_> {
    /// Commits, and says whether the server has. What was done in a savepoint is kept for as long as the transaction around it is not rolled back.
    ///
    /// If it fails, [`QueryError::outcome`] says what is known. [`NotDone`](Outcome::NotDone): nothing of the transaction is there, since the server has refused it, as for a constraint that is deferred, or has answered
    /// `COMMIT` with `ROLLBACK` ([`TransactionError::RolledBack`]), or has never been asked. [`Unknown`](Outcome::Unknown): the session has ended after `COMMIT` was sent, or the answer did not come within [`query_timeout`](crate::Limits::query_timeout), and the server may commit still; or a statement
    /// has ended the transaction before ([`TransactionError::EndedByWork`]). The server can be [asked](crate::TrackId) afterwards. Of a savepoint it is unknown only if no answer came in time: then it is not undone, and what was done in
    /// it is kept with the transaction around it.
    ///
    /// Cancel safety: what was sent is carried out, unless the connection goes back to its pool and it takes longer than half of [`reset_timeout`](pool_core::Config::reset_timeout), after which it is cancelled; nobody learns whether it has been. What was not is rolled back. Whatever is asked of the connection next is not inside of the transaction.
    ///
    /// # Errors
    ///
    /// [`QueryError`]. The transaction is over then, and a savepoint undone, unless its outcome is unknown.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::retry::Outcome;
    /// use pool_postgres::{PostgresTransaction, QueryError};
    ///
    /// # async fn end(transaction: PostgresTransaction<'_>) -> Result<(), QueryError> {
    /// match transaction.commit().await {
    ///     Err(error) if error.outcome() == Outcome::Unknown => println!("look whether it is there: {error}"),
    ///     outcome => outcome?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn commit(self) -> Result<(), QueryError> {
        // Owned across the awaits: the transaction. Dropped, it is rolled back, unless the end of it has been sent.
        match self.savepoint_of().map(super::Savepoint::release) {
            Some(release) => self.release(&release).await,
            None => self.commit_told().await,
        }
    }

    async fn release(&self, release: &str) -> Result<(), QueryError> {
        // Owned across the await: nothing. Once it is sent it is not to be undone, which would be an error if it has been carried out.
        let released = say(self.connection(), QueryStep::Commit, release, || self.set_open(false)).await;
        released.map_err(|error| {
            // Only one that the server has refused is there still, and can be gone back to.
            let is_refused = error.sqlstate().is_some();
            self.set_open(is_refused);
            // Of a session that has ended nothing is left: the transaction around it was not committed.
            let is_undone = is_refused || error.is_closed();
            self.failed(error.settled(if is_undone { Outcome::NotDone } else { Outcome::Unknown }))
        })
    }

    /// Cancel safety: that of committing.
    async fn commit_told(&self) -> Result<(), QueryError> {
        let Some(story) = self.own_story() else { return self.commit_all().await };
        story.note(UNKNOWN);
        // Owned across the await: nothing.
        let outcome = self.commit_all().await;
        story.committed(&outcome);
        outcome
    }

    async fn commit_all(&self) -> Result<(), QueryError> {
        let connection = self.connection();
        if connection.session().has_ended_one_since(self.begun) {
            return Err(self.ended_by_work(QueryStep::Commit, COMMIT));
        }
        // Owned across the awaits: nothing. Before the second one nothing has been sent that would commit.
        let known = self.ask_before().await?;
        let (answer, since, id) = self.say_commit(known).await;
        match answer.map(|()| connection.session().ending_since(self.begun)) {
            Ok(Ending::Committed) => {
                self.set_open(false);
                Ok(())
            }
            Ok(Ending::RolledBack) => {
                Err(refuse(connection, QueryStep::Commit, COMMIT, Outcome::NotDone, TransactionError::RolledBack))
            }
            Ok(Ending::Before) => Err(self.ended_by_work(QueryStep::Commit, COMMIT)),
            Err(error) => {
                let outcome = self.outcome(&error, since);
                let id = id.filter(|_| outcome == Outcome::Unknown);
                Err(self.failed(error.settled(outcome).about(id)))
            }
        }
    }

    /// The number of the transaction, if it is to be known before `COMMIT` is sent.
    async fn ask_before(&self) -> Result<Option<TransactionId>, QueryError> {
        if self.options.track_id != TrackId::BeforeCommit {
            return Ok(None);
        }
        let connection = self.connection();
        // Owned across the await: nothing.
        let asked = patient(connection, ask_id(connection)).await;
        asked.map_err(|timed_out| late(connection, QueryStep::Commit, ID, timed_out).settled(Outcome::NotDone))
    }

    /// The answer to `COMMIT`, when it was sent, and what the server has said about the transaction's number.
    async fn say_commit(&self, known: Option<TransactionId>) -> (Result<(), QueryError>, Mark, Option<TransactionId>) {
        let connection = self.connection();
        let since = connection.mark();
        let committing = say(connection, QueryStep::Commit, COMMIT, || {});
        // Owned across the awaits: the requests.
        if self.options.track_id == TrackId::WithCommit {
            let (answer, id) = along(committing, ask_id(connection)).await;
            (answer, since, id.flatten())
        } else {
            (committing.await, since, known)
        }
    }

    /// What has become of it, if `COMMIT`, which was sent after the mark, has failed.
    fn outcome(&self, error: &QueryError, since: Mark) -> Outcome {
        let Some(cause) = error.client_error() else { return Outcome::Unknown };
        outcome_of_commit(self.connection(), cause, error.diagnosis(), self.begun, since)
    }

    pub(super) fn ended_by_work(&self, step: QueryStep, sql: &str) -> QueryError {
        refuse(self.connection(), step, sql, Outcome::Unknown, TransactionError::EndedByWork)
    }
}

/// Whether the server has ended the session because nothing was asked of it inside of the transaction for too long: then it has not seen the `COMMIT`. That is the answer which the client takes for that to `COMMIT`,
/// or the last that was heard of the session. It looks for this before it takes up a request and never after that. Of `transaction_timeout` (25P04) that does not hold: it may run out in the middle of a commit, and be told once that
/// is through.
fn was_ended_idle(connection: &PostgresConnection, error: &tokio_postgres::Error) -> bool {
    let is_idle = |code: &SqlState| *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT;
    error.code().is_some_and(is_idle)
        || connection.ended().and_then(|end| end.sqlstate).is_some_and(|code| is_idle(&code))
}

/// The number of the transaction, if the server says it: one that has written nothing has none, and one that has failed is not told.
async fn ask_id(connection: &PostgresConnection) -> Option<TransactionId> {
    // Owned across the await: nothing.
    let answer = connection.client().simple_query(ID).await.ok()?;
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().and_then(TransactionId::read),
        _ => None,
    })
}

/// Waits for one future, and polls another one along with it, each time before it, so that what that one asks is asked first. Its output, if it has ended by then.
async fn along<M, B>(main: impl Future<Output = M>, beside: impl Future<Output = B>) -> (M, Option<B>) {
    let (mut main, mut beside) = (pin!(main), pin!(beside));
    let mut ended = None;
    // Owned across the await: both futures.
    let output = poll_fn(|context| {
        if ended.is_none() {
            ended = output_of(beside.as_mut().poll(context));
        }
        let output = main.as_mut().poll(context);
        if output.is_ready() && ended.is_none() {
            // Its answer may have come between the two.
            ended = output_of(beside.as_mut().poll(context));
        }
        output
    })
    .await;
    (output, ended)
}

fn output_of<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
