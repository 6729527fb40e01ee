//! The statements that are a transaction's own.

use std::pin::pin;
use std::task::{Context, Waker};

use super::TransactionError;
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::limits::{TimedOut, patient};
use crate::query::{QueryError, QueryStep};
use crate::retry::Outcome;

/// Has a statement carried out. `on_sent` is called when the client is given it, without an await in between. What nobody waits for any more is not cancelled, as queries may be, and what takes longer than its limit is not either: what ends
/// or begins a transaction has to be carried out, or what follows it fails.
pub(super) async fn say(
    connection: &PostgresConnection,
    step: QueryStep,
    sql: &str,
    on_sent: impl FnOnce(),
) -> Result<(), QueryError> {
    let since = connection.mark();
    on_sent();
    // Owned across the await: nothing. The caller's transaction knows what to do when this is dropped.
    match patient(connection, connection.client().batch_execute(sql)).await {
        Ok(answer) => answer.map_err(|error| QueryError::of(connection, step, sql, since, error)),
        Err(timed_out) => Err(late(connection, step, sql, timed_out)),
    }
}

/// A statement has not been answered in time, and may be still.
pub(super) fn late(connection: &PostgresConnection, step: QueryStep, sql: &str, timed_out: TimedOut) -> QueryError {
    let diagnosis = Diagnosis::new(Advice::OutcomeUnknown, Fate::Keep);
    QueryError::new(step, sql, Outcome::Unknown, diagnosis, timed_out).on(connection)
}

/// Has a statement carried out before whatever is asked next, and waits for nothing: polled once, the client has it in its queue, and has woken the task of the session. Nobody hears the answer.
pub(crate) fn queue(connection: &PostgresConnection, sql: &str) {
    let mut asking = pin!(connection.client().batch_execute(sql));
    let _ = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    // What is asked next is not behind it in the queue then, where one could not tell which of them is which.
    connection.settle();
}

/// An error of a transaction's own.
pub(super) fn refuse(
    connection: &PostgresConnection,
    step: QueryStep,
    sql: &str,
    outcome: Outcome,
    cause: TransactionError,
) -> QueryError {
    let advice = if outcome == Outcome::Unknown { Advice::OutcomeUnknown } else { Advice::Never };
    QueryError::new(step, sql, outcome, Diagnosis::new(advice, Fate::Keep), cause).on(connection)
}
