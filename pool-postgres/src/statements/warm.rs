//! Preparing on a new connection what others use most.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Error, Statement};

use super::prepare::prepare_as;
use crate::connection::PostgresConnection;
use crate::query::Query;

/// A connection does not wait longer for this before it is used.
const PATIENCE: Duration = Duration::from_millis(250);

type Preparing<'a> = Pin<Box<dyn Future<Output = Result<Statement, Error>> + Send + 'a>>;

async fn prepare(connection: &PostgresConnection, sql: &str) -> Result<Statement, Error> {
    // Owned across the await: the text.
    prepare_as(connection, &connection.tagged(&Query::new(sql)), &[]).await
}

/// Prepares what is used most on all connections, in one round trip. What the server refuses by now is forgotten.
///
/// Cancel safety: what has been prepared so far is kept.
pub(crate) async fn warm(connection: &PostgresConnection) {
    let statements = connection.statements();
    if statements.is_proxied() || statements.settings.warm == 0 {
        return;
    }
    let hottest = statements.knowledge.hottest(statements.settings.warm);
    if hottest.is_empty() {
        return;
    }
    let _duty = connection.session().on_duty();
    let mut under_way: Vec<(&str, Preparing<'_>)> =
        hottest.iter().map(|sql| (&**sql, Box::pin(prepare(connection, sql)) as Preparing<'_>)).collect();
    let all = poll_fn(|context| {
        under_way.retain_mut(|(sql, preparing)| match preparing.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(statement)) => {
                statements.keep_warm(sql, statement);
                false
            }
            // One that the server refuses by now, and not one for which the session has ended.
            Poll::Ready(Err(error)) => {
                if error.as_db_error().is_some_and(|said| said.code().code().starts_with("42")) {
                    statements.knowledge.forget(sql);
                }
                false
            }
        });
        if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    // Owned across the await: the requests. Dropped, the server prepares in vain, and forgets it when the connection comes back for the first time, if it can.
    let _ = timeout(PATIENCE, all).await;
}
