//! One server: where it is, and what is asked of it from outside of a session.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};
use tokio_rustls::TlsConnector;

use crate::config::PostgresConfig;
use crate::error::{ConnectError, ConnectStep, PostgresError};
use crate::socket::{self, Stream};
use crate::tap::Tap;
use crate::tls;

/// How long answers that are due are waited for before the server is asked to cancel, once for each request under way.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);

/// Where sessions are opened.
pub(crate) struct Server {
    pub(crate) config: PostgresConfig,
    tls: Option<TlsConnector>,
    /// Host and port as configured, or the path of the Unix socket.
    pub(crate) name: Arc<str>,
}

impl Server {
    /// Reads the certificates if the configuration needs any.
    pub(crate) fn new(config: PostgresConfig) -> Result<Self, PostgresError> {
        Ok(Self { tls: tls::connector(&config)?, name: socket::target(&config).into(), config })
    }

    /// Opens a stream on which nothing has been sent yet.
    ///
    /// Cancel safety: dropping the future closes what has been opened so far.
    pub(crate) async fn open(&self) -> Result<Box<dyn Stream>, ConnectError> {
        self.open_noting(|_| {}).await
    }

    /// As [`open`](Self::open), and says each step before it.
    pub(crate) async fn open_noting(&self, note: impl Fn(ConnectStep)) -> Result<Box<dyn Stream>, ConnectError> {
        socket::open(&self.config, self.tls.as_ref(), note).await
    }

    /// What is done in a step.
    pub(crate) fn words(&self, step: ConnectStep) -> String {
        format!("{step} of {}", self.name)
    }

    /// An error of this server.
    pub(crate) fn error(&self, step: ConnectStep, cause: tokio_postgres::Error) -> ConnectError {
        ConnectError::new(step, &self.name, cause)
    }

    /// Asks the server to stop what a session is doing: nobody waits for the answer any more. Returns once the server has passed that
    /// on to the session, so that it cannot hit what the next user does.
    ///
    /// Cancel safety: the server may have been asked.
    pub(crate) async fn cancel(&self, token: &CancelToken) -> Result<(), ConnectError> {
        // Owned across the awaits: the socket, which is closed when the future is dropped. A tap's shutdown waits for the server, which closes the stream when it
        // has done so.
        let mut tap = Tap::last(self.open().await?);
        let sent = token.cancel_query_raw(&mut tap, NoTls).await;
        sent.map_err(|error| self.error(ConnectStep::Session, error))?;
        let closed = tap.shutdown().await;
        closed.map_err(|error| ConnectError::new(ConnectStep::Session, &self.name, error))
    }

    /// Ends a session by its stream, which has been taken from it: a server that is busy does not look whether anybody is there, so it is asked to stop until it has let go.
    ///
    /// Cancel safety: dropping the future closes the stream; the server may go on for as long as the query takes.
    pub(crate) async fn dismiss(&self, stream: Box<dyn Stream>, token: &CancelToken, busy: bool) {
        let mut tap = Tap::last(stream);
        // Owned across the awaits: the stream.
        let mut gone = pin!(tap.shutdown());
        let mut patience = if busy { Duration::ZERO } else { PATIENCE };
        while timeout(patience, &mut gone).await.is_err() {
            if let Err(error) = self.cancel(token).await {
                tracing::debug!(%error, "a session that was cut off may go on for a while");
                return;
            }
            // Requests in a row take one cancellation each, and a large one takes time to be stopped.
            patience = PATIENCE.max(2 * patience);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}
