//! Having the server prepare a statement, for somebody who may not wait for that.

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Statement};

use crate::connection::PostgresConnection;

/// Has the client prepare a statement. If the future is dropped, the server may have it all the same, and forgets it when the connection comes back to its pool, if it can be told from others and no proxy stands in between.
pub(crate) async fn prepare_as(connection: &PostgresConnection, sql: &str, types: &[Type]) -> Result<Statement, Error> {
    let mut preparing = Preparing { connection, sql, since: connection.session().prepared.count(), is_awaited: true };
    // Owned across the await: the statement, by the guard.
    let prepared = connection.client().prepare_typed(sql, types).await;
    preparing.is_awaited = false;
    prepared
}

/// A statement that is being prepared.
struct Preparing<'a> {
    connection: &'a PostgresConnection,
    sql: &'a str,
    /// How many had been prepared before.
    since: u64,
    is_awaited: bool,
}

/// The future was dropped.
impl Drop for Preparing<'_> {
    fn drop(&mut self) {
        // Behind a proxy another server may answer the question whether it is there, or what forgets it.
        let is_ours = !self.connection.statements().is_proxied();
        if self.is_awaited && is_ours && !std::thread::panicking() {
            // What it is called is known when it is sent. If that is later, it stays: who asks for the same meanwhile may be sent first.
            let session = self.connection.session();
            if self.connection.settle() && session.requests().is_drained() {
                session.prepared.abandon(self.since, self.sql);
            }
        }
    }
}
