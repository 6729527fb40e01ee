//! The driver: PostgreSQL behind the pool's seam.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{Driver, ErrorClass, SessionState};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use tokio_rustls::TlsConnector;

use crate::config::PostgresConfig;
use crate::connection::PostgresConnection;
use crate::error::{ConnectError, ConnectStep, PostgresError};
use crate::socket;
use crate::tap::{Session, Tap};
use crate::tls;

/// How long a reset waits for answers that are due before it asks the server to cancel, once for each request under way.
const PATIENCE: Duration = Duration::from_millis(20);

/// Opens sessions with one PostgreSQL server.
///
/// Before a session gets to its next user, open transactions are rolled back and queries that nobody waits for are cancelled. What outlives a
/// transaction stays: `SET`, `SET ROLE`, `LISTEN`, temporary tables, advisory locks of the session.
pub struct PostgresDriver {
    config: PostgresConfig,
    login: tokio_postgres::Config,
    tls: Option<TlsConnector>,
}

impl PostgresDriver {
    /// Prepares to connect; reads the certificates if the configuration needs any.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] if there is no user, [`PostgresError::Tls`] if the certificates cannot be used.
    pub fn new(config: PostgresConfig) -> Result<Self, PostgresError> {
        let mut login = tokio_postgres::Config::new();
        login.user(config.resolved_user()?);
        // The stream that tokio-postgres gets is already encrypted.
        login.ssl_mode(tokio_postgres::config::SslMode::Disable);
        if let Some(database) = &config.database {
            login.dbname(database);
        }
        if let Some(password) = &config.password {
            login.password(password.reveal());
        }
        if let Some(name) = &config.application_name {
            login.application_name(name);
        }
        Ok(Self { tls: tls::connector(&config)?, login, config })
    }

    /// The configuration.
    pub fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// Returns once the server has answered everything that has been asked of the session so far.
    async fn wait_or_cancel(&self, connection: &PostgresConnection) -> Result<(), ConnectError> {
        // Queues behind everything else.
        let mut last = pin!(connection.batch_execute(""));
        loop {
            match timeout(PATIENCE, &mut last).await {
                // A cancellation that came late has hit the empty query, and nobody minds.
                Ok(Err(error)) if error.code() != Some(&SqlState::QUERY_CANCELED) => {
                    return Err(self.session_error(error));
                }
                Ok(_) => return Ok(()),
                Err(_) => self.cancel(connection).await?,
            }
        }
    }

    /// Asks the server to stop what the session is doing: nobody waits for the answer any more. Returns once the server has passed that
    /// on to the session, so that it cannot hit what the next user does.
    async fn cancel(&self, connection: &PostgresConnection) -> Result<(), ConnectError> {
        let stream = socket::open(&self.config, self.tls.as_ref()).await?;
        // A tap's shutdown waits for the server, which closes the stream when it has done so.
        let mut tap = Tap::new(stream, Arc::default());
        let sent = connection.cancel_token().cancel_query_raw(&mut tap, NoTls).await;
        sent.map_err(|error| self.session_error(error))?;
        let closed = tap.shutdown().await;
        closed.map_err(|error| ConnectError::new(ConnectStep::Session, &socket::target(&self.config), error))
    }

    fn session_error(&self, error: tokio_postgres::Error) -> ConnectError {
        ConnectError::new(ConnectStep::Session, &socket::target(&self.config), error)
    }
}

impl std::fmt::Debug for PostgresDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Driver for PostgresDriver {
    type Connection = PostgresConnection;
    type Error = ConnectError;

    async fn connect(&self) -> Result<PostgresConnection, ConnectError> {
        // Owned across the awaits: the socket. Dropping the future closes it.
        let stream = socket::open(&self.config, self.tls.as_ref()).await?;
        let session = Arc::new(Session::default());
        let tap = Tap::new(stream, Arc::clone(&session));
        let failed = |error| ConnectError::new(ConnectStep::Startup, &socket::target(&self.config), error);
        let (client, wire) = self.login.connect_raw(tap, NoTls).await.map_err(failed)?;
        Ok(PostgresConnection::new(client, wire, session))
    }

    fn inspect(&self, connection: &mut PostgresConnection) -> SessionState {
        // A panic in the middle of a request, such as one in a `ToSql`, leaves half a message in the client's buffer.
        if std::thread::panicking() {
            return SessionState::Broken;
        }
        let settled = connection.settle();
        if connection.is_closed() {
            SessionState::Broken
        } else if settled && connection.session().is_at_rest() {
            SessionState::Clean
        } else {
            SessionState::Dirty
        }
    }

    /// Waits for the answers that are due, cancels what does not answer soon, and rolls an open transaction back.
    async fn reset(&self, connection: &mut PostgresConnection) -> Result<(), ConnectError> {
        // Owned across the awaits: nothing. The pool closes the connection of a reset that is dropped.
        self.wait_or_cancel(connection).await?;
        if connection.session().is_in_transaction() {
            connection.batch_execute("ROLLBACK").await.map_err(|error| self.session_error(error))?;
        }
        Ok(())
    }

    /// An empty query: the cheapest round trip that a session can make.
    async fn ping(&self, connection: &mut PostgresConnection) -> Result<(), ConnectError> {
        connection.batch_execute("").await.map_err(|error| self.session_error(error))
    }

    async fn close(&self, connection: PostgresConnection) {
        connection.end().await;
    }

    fn classify(&self, error: &ConnectError) -> ErrorClass {
        error.class()
    }
}
