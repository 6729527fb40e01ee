//! Looking at a session that has come back, and putting it in order.

use std::pin::pin;

use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use pool_core::trace::report;

use super::settle::settled;
use super::statements::{PREPARED, and_forgetting, undoing};
use crate::config::{OpenTransaction, ReleaseMode};
use crate::connection::PostgresConnection;
use crate::driver::PostgresDriver;
use crate::error::{ConnectError, ConnectStep};
use crate::server::PATIENCE;
use crate::tap::Changes;

impl PostgresDriver {
    /// Whether the next user may have a session as it is.
    pub(crate) fn is_in_order(&self, connection: &PostgresConnection) -> bool {
        let session = connection.session();
        let changes = session.changes();
        let is_clean = match self.config().release.mode {
            ReleaseMode::Fast => !changes.has(Changes::LOST),
            ReleaseMode::Changed => changes.is_none(),
            ReleaseMode::Verified => changes.is_none() && !connection.is_used(),
            ReleaseMode::Clean | ReleaseMode::Custom => !connection.is_used(),
        };
        is_clean && session.is_at_rest() && !session.prepared.has_orphans()
    }

    /// Why a session cannot be put in order, if that is known without asking the server.
    pub(crate) fn beyond_repair(&self, connection: &PostgresConnection) -> Option<&'static str> {
        let session = connection.session();
        // A failed transaction leaves nothing that could be kept.
        let is_open = session.is_in_transaction() && !session.has_failed();
        if session.changes().has(Changes::LOST) {
            // tokio-postgres looks types up with statements of its own, and would go on using them.
            Some("its user has discarded what its client had prepared for itself")
        } else if is_open && self.config().release.open_transaction == OpenTransaction::Close {
            Some("its user has left a transaction open")
        } else if self.would_lose_what_is_kept(connection) {
            Some("to undo what its user has changed would undo what a hook has set up, too")
        } else {
            None
        }
    }

    /// Only in the modes that undo what has changed: in the others it is what was asked for.
    fn would_lose_what_is_kept(&self, connection: &PostgresConnection) -> bool {
        let (kept, changes) = (connection.kept(), connection.session().changes());
        let undone = match changes {
            _ if changes.has(Changes::ANYTHING) => kept,
            _ if changes.has(Changes::UNSET) => kept.common(changes.and(Changes::SETTINGS)),
            _ => kept.common(changes),
        };
        !undone.is_none() && matches!(self.config().release.mode, ReleaseMode::Changed | ReleaseMode::Verified)
    }

    /// Waits for the answers that are due, cancels what does not answer soon, and rolls an open transaction back. What outlives that is left as it is.
    ///
    /// Cancel safety: nobody knows in what state the session is.
    pub(crate) async fn tidy(&self, connection: &PostgresConnection) -> Result<(), ConnectError> {
        let _duty = connection.session().on_duty();
        // Owned across the awaits: nothing.
        self.come_to_rest(connection).await?;
        execute(connection, &undoing(Changes::NONE, connection.session().is_in_transaction())).await
    }

    /// As [`tidy`](Self::tidy), and undoes what is to be undone by the policy. Tells what its user has left.
    ///
    /// Cancel safety: nobody knows in what state the session is.
    pub(crate) async fn put_in_order(&self, connection: &mut PostgresConnection) -> Result<(), ConnectError> {
        // Owned across the awaits: nothing. Whoever drops the future closes the connection.
        self.come_to_rest(connection).await?;
        // What was under way is known only now.
        if let Some(reason) = self.beyond_repair(connection) {
            tell(connection, reason);
            return Err(ConnectError::new(ConnectStep::Session, &connection.server().name, reason));
        }
        if connection.session().is_in_transaction() {
            tell(connection, "its user has left a transaction open, which is rolled back");
        }
        execute(connection, &self.undoing(connection)).await?;
        if let Some(sql) = self.custom() {
            execute(connection, sql).await?;
        }
        settled(connection).await;
        connection.note_order();
        Ok(())
    }

    fn custom(&self) -> Option<&str> {
        let release = &self.config().release;
        release.sql.as_deref().filter(|_| release.mode == ReleaseMode::Custom)
    }

    /// What is asked of the server, all at once.
    fn undoing(&self, connection: &PostgresConnection) -> String {
        let session = connection.session();
        let changes = match self.config().release.mode {
            ReleaseMode::Fast | ReleaseMode::Custom => Changes::NONE,
            ReleaseMode::Changed | ReleaseMode::Verified => session.changes(),
            ReleaseMode::Clean => Changes::ANYTHING,
        };
        let mut undoing = undoing(changes, session.is_in_transaction());
        let orphans = session.prepared.take_orphans();
        if !orphans.is_empty() {
            undoing = and_forgetting(undoing, &orphans);
        }
        // To ask for nothing is a sign of life, too.
        let verifies = undoing.is_empty() && self.config().release.mode == ReleaseMode::Verified;
        if verifies { ";".to_owned() } else { undoing }
    }

    /// Whether what is under way, and has been waited for since then, is not to be cancelled: the server is being asked already, or it commits.
    fn has_time(&self, connection: &PostgresConnection, since: Instant) -> bool {
        let session = connection.session();
        let may_commit = session.is_committing() && since.elapsed() < self.config().pool.reset_timeout / 2;
        may_commit || session.requests().is_held()
    }

    /// Returns once the server has answered everything that has been asked of the session so far. What takes long is cancelled: at once, but for a `COMMIT`, which has half of the time that there is. It has mostly been
    /// done by then, and one that waits for a standby would be told to wait no more.
    async fn come_to_rest(&self, connection: &PostgresConnection) -> Result<(), ConnectError> {
        if connection.settle() && !connection.session().is_busy() {
            return Ok(());
        }
        let began_at = Instant::now();
        // Queues behind everything else.
        let mut last = pin!(connection.batch_execute(""));
        loop {
            // Owned across the awaits: the question, which keeps its place when it is dropped.
            match timeout(PATIENCE, &mut last).await {
                // A cancellation that came late has hit the empty query, and nobody minds.
                Ok(Err(error)) if error.code() != Some(&SqlState::QUERY_CANCELED) => {
                    return Err(connection.server().error(ConnectStep::Session, error));
                }
                Ok(_) => return Ok(()),
                Err(_) if self.has_time(connection, began_at) => {}
                Err(_) => connection.peer().cancel(&connection.cancel_token()).await?,
            }
        }
    }
}

/// Tells of what a user has left behind, by what the server has said of it: never by a statement.
#[cold]
pub(crate) fn tell(connection: &PostgresConnection, what: &str) {
    let Some(left_out) = connection.tally().ledger().may_warn() else { return };
    let session = connection.session();
    let (state, suppressed) = (connection.activity().status, (left_out > 0).then_some(left_out));
    let (process, last_command) = (session.process(), session.last_command());
    report(
        || tracing::warn!(host = connection.host(), process, %state, last_command, suppressed, "a session has come back: {what}"),
    );
}

/// Has statements executed, if there are any, and forgets what they say was prepared by SQL.
async fn execute(connection: &PostgresConnection, sql: &str) -> Result<(), ConnectError> {
    if sql.is_empty() {
        return Ok(());
    }
    let failed = |error| connection.server().error(ConnectStep::Session, error);
    // Owned across the awaits: nothing.
    let answers = connection.client().simple_query(sql).await.map_err(failed)?;
    let prepared = deallocating(&answers);
    if !prepared.is_empty() {
        connection.client().batch_execute(&prepared).await.map_err(failed)?;
    }
    Ok(())
}

/// What forgets the statements that these answers name.
fn deallocating(answers: &[SimpleQueryMessage]) -> String {
    let names = answers.iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) if row.columns().first().is_some_and(|column| column.name() == PREPARED) => {
            row.get(0)
        }
        _ => None,
    });
    names.map(|name| format!("DEALLOCATE {name}")).collect::<Vec<_>>().join("; ")
}
