//! One session.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::socket::Stream;
use crate::tap::{Session, Tap};

/// One session with PostgreSQL; derefs to [`tokio_postgres::Client`].
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    session: Arc<Session>,
    task: JoinHandle<()>,
}

pub(crate) type Wire = Connection<Tap<Box<dyn Stream>>, NoTlsStream>;

impl PostgresConnection {
    /// Starts the task that moves the messages of the session.
    pub(crate) fn new(client: Client, wire: Wire, session: Arc<Session>) -> Self {
        Self { client, session, task: tokio::spawn(run(wire)) }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Ends the session and returns once the server has closed it.
    ///
    /// Cancel safety: dropping the future closes the socket at once.
    pub(crate) async fn end(self) {
        let mut task = AbortOnDrop(self.task);
        // The task says goodbye to the server when its client is gone.
        drop(self.client);
        // Owned across the await: the task. Aborting it drops the socket.
        let _ = (&mut task.0).await;
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(mut wire: Wire) {
    while let Some(message) = poll_fn(|cx| wire.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(severity = notice.severity(), code = notice.code().code(), "{}", notice.message());
            }
            Ok(_) => {}
            // The client reports it to whoever uses the connection; `inspect` sees that it is closed.
            Err(error) => return tracing::debug!(%error, "a session ended"),
        }
    }
}

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PostgresConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
