//! Asking what types the parameters of a statement have.

use std::pin::pin;
use std::task::{Context, Waker};

use tokio_postgres::{Client, Statement};

use super::run::Failure;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryStep};

/// Prepares a statement for the types of its parameters. Behind a proxy in a transaction of its own, unless there is one: what is prepared is gone before another server answers.
pub(super) async fn describe(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, Failure> {
    let client = connection.client();
    let since = connection.mark();
    let is_alone = connection.statements().is_proxied() && since.was_at_rest();
    let failed = |error| Failure { step: QueryStep::Prepare, error, since, was_known: false };
    if !is_alone {
        // Owned across the await: nothing. Dropped, the server prepares it in vain.
        return client.prepare(query.sql()).await.map_err(failed);
    }
    let open = Open(client);
    // Owned across the awaits: the transaction, which is rolled back when the future is dropped; and the statement.
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let statement = client.prepare(query.sql()).await.map_err(failed)?;
    drop(open);
    Ok(statement)
}

/// A transaction in which nothing is done. Its end is sent when this is dropped, before whatever comes next; nobody waits for the answer.
struct Open<'a>(&'a Client);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // A request of the client is in its queue once it has been polled.
        let _ = pin!(self.0.batch_execute("ROLLBACK")).poll(&mut Context::from_waker(Waker::noop()));
    }
}
