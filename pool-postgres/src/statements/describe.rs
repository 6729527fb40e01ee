//! Asking what types the parameters of a statement have.

use std::pin::pin;
use std::task::{Context, Waker};

use tokio_postgres::{Client, Statement};

use super::prepare::prepare_as;
use super::run::Failure;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryStep};

/// Prepares a statement for the types of its parameters, and has the client learn those of its columns. Behind a proxy in a transaction of its own, unless there is one: what is prepared is gone before another server answers.
pub(super) async fn describe(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, Failure> {
    let client = connection.client();
    let since = connection.mark_for(query);
    // What others ask is not to become a part of a transaction.
    let is_alone = connection.statements().is_proxied() && since.was_at_rest() && !since.is_shared();
    let failed = |error| Failure { step: QueryStep::Prepare, error, since, was_known: false };
    connection.ask(query);
    if !is_alone {
        // Owned across the await: nothing. Dropped, the server prepares it in vain, and forgets it when the connection comes back, if it can.
        return prepare_as(connection, query.sql(), query.types().unwrap_or_default()).await.map_err(failed);
    }
    let mut open = Open { client, is_open: true };
    // Owned across the awaits: the transaction, which is rolled back when the future is dropped; and the statement.
    client.batch_execute("BEGIN").await.map_err(failed)?;
    connection.ask(query);
    let statement = prepare_as(connection, query.sql(), query.types().unwrap_or_default()).await.map_err(failed)?;
    connection.ask(query);
    // Whoever is next is not to be taken for a part of it.
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    open.is_open = false;
    Ok(statement)
}

/// A transaction in which nothing is done. If it is dropped before its end, that is sent, before whatever comes next; nobody waits for the answer.
struct Open<'a> {
    client: &'a Client,
    is_open: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // A request of the client is in its queue once it has been polled.
            let _ = pin!(self.client.batch_execute("ROLLBACK")).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
