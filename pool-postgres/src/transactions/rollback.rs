//! How a transaction is rolled back, by hand and when it is dropped.

use std::thread;
use std::time::Duration;

use super::statement::{queue, say};
use super::story::{ROLLED_BACK, UNKNOWN};
use super::{Home, PostgresTransaction, Savepoint};
use crate::diagnosis::Fate;
use crate::query::{QueryError, QueryStep};
use crate::retry::Outcome;
use crate::tap::Ending;

const ROLLBACK: &str = "ROLLBACK";

/// For how long a server is asked to let go of a session that is of no use any more.
const PATIENCE: Duration = Duration::from_secs(5);

impl PostgresTransaction<'_> {
    /// Rolls it back, or undoes the savepoint, and waits until that is done. Dropping it does the same and waits for nothing.
    ///
    /// It waits for what has been asked before: a statement that nobody waits for any more is not cancelled by this.
    ///
    /// Cancel safety: it is rolled back all the same, before anything else that is asked of the connection.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the session has ended: then the server has rolled it back, or will when it notices. With
    /// [`TransactionError::EndedByWork`](super::TransactionError::EndedByWork) if a statement had ended it, so that there was nothing to roll back.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError};
    ///
    /// # async fn would_be_deleted(pool: &PostgresPool) -> Result<u64, QueryError> {
    /// let transaction = pool.begin().await?;
    /// let rows = transaction.execute("DELETE FROM alert WHERE status = 'resolved'", &[]).await?;
    /// transaction.rollback().await?;
    /// # Ok(rows)
    /// # }
    /// ```
    pub async fn rollback(self) -> Result<(), QueryError> {
        // Owned across the awaits: the transaction. Dropped, it is rolled back.
        match self.savepoint_of().map(Savepoint::undo) {
            Some(undo) => self.undo(&undo).await,
            None => self.rollback_told().await,
        }
    }

    /// Cancel safety: that of rolling back.
    async fn rollback_told(&self) -> Result<(), QueryError> {
        // Owned across the await: nothing.
        let outcome = self.rollback_all().await;
        if let (Some(story), Err(error)) = (self.own_story(), &outcome) {
            story.note(if error.outcome() == Outcome::Unknown { UNKNOWN } else { ROLLED_BACK });
            story.failed();
        }
        outcome
    }

    async fn undo(&self, undo: &str) -> Result<(), QueryError> {
        // Owned across the await: nothing. Once it is sent it is not to be sent again.
        let undone = say(self.connection(), QueryStep::RollBack, undo, || self.set_open(false)).await;
        undone.map_err(|error| self.failed(error.settled(Outcome::NotDone)))
    }

    async fn rollback_all(&self) -> Result<(), QueryError> {
        let session = self.connection().session();
        if session.has_ended_one_since(self.begun) {
            return Err(self.ended_by_work(QueryStep::RollBack, ROLLBACK));
        }
        // Owned across the await: nothing.
        let answer = say(self.connection(), QueryStep::RollBack, ROLLBACK, || {}).await;
        answer.map_err(|error| self.failed(error.settled(Outcome::NotDone)))?;
        if session.ending_since(self.begun) != Ending::RolledBack {
            return Err(self.ended_by_work(QueryStep::RollBack, ROLLBACK));
        }
        self.set_open(false);
        Ok(())
    }

    /// An error of it. After an answer that the client cannot read the pool closes the session when it comes back; nothing else is done in the transaction until then. If a statement has committed a part of the transaction, it must not be done again
    /// as a whole.
    pub(crate) fn failed(&self, error: QueryError) -> QueryError {
        if error.diagnosis().fate == Fate::Close && matches!(self.home, Home::Own(_)) {
            self.cut();
        }
        let is_partly_done = !self.connection().session().has_committed_nothing_since(self.begun);
        if is_partly_done { error.partly_done() } else { error }
    }

    /// Ends the session.
    fn cut(&self) {
        self.connection().line().cut(PATIENCE);
    }

    /// What ends it, to be sent when it is dropped. `None` if it has ended.
    fn farewell(&self) -> Option<String> {
        let connection = self.connection();
        match self.savepoint_of() {
            Some(savepoint) => Some(savepoint.undo()),
            None if connection.settle() && connection.session().is_at_rest() => None,
            None => Some(ROLLBACK.to_owned()),
        }
    }
}

/// Rolls it back, unless somebody else has it still. The statement is in the client's queue before whatever is asked next, and the task of the session sends it at once, whoever uses the connection. Nobody waits for
/// it: a pool that gets the connection back does before it hands it out.
impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        if !self.is_open() || !self.is_alone() || self.connection().is_closed() {
            return;
        }
        // A panic in the middle of a request, such as one in a `ToSql`, leaves half a message in the client's buffer: nothing can be sent behind that.
        if thread::panicking() {
            self.cut();
        } else if let Some(farewell) = self.farewell() {
            queue(self.connection(), &farewell);
        }
    }
}
