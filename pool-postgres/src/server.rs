//! One server: where it is, and what is asked of it from outside of a session.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pool_core::Recorder;
use pool_core::trace::report;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_postgres::CancelToken;

use crate::config::{Host, PostgresConfig, SslMode, SslNegotiation};
use crate::dismissals::Dismissals;
use crate::encrypt::{Failed, is_offered, shake_hands};
use crate::encrypted::Done;
use crate::error::{ConnectError, ConnectStep, PostgresError};
use crate::limits::Ledger;
use crate::socket::{self, Place, Stream};
use crate::tap::Tap;
use crate::tls::{self, AnyConnector};

/// How long answers that are due are waited for before the server is asked to cancel, once for each request under way.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);
/// How long at most before the server is asked once more to stop what a session does that has been cut off: there may be as many requests in a row as may share a connection, and each takes one cancellation.
const LONGEST_PATIENCE: Duration = Duration::from_millis(50);

/// For how long an attempt waits to hear whether certificates have changed.
const FOR_FILES: Duration = Duration::from_secs(1);

/// In what time all sessions are replaced that were opened with other certificates.
const ROTATION: Duration = Duration::from_mins(1);

/// The configuration, and what is made of it once.
pub(crate) struct Settings {
    pub(crate) config: PostgresConfig,
    tls: Option<Arc<dyn AnyConnector>>,
    /// Since there is a pool.
    pub(crate) recorder: OnceLock<Recorder>,
    /// What is counted of requests.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) dismissals: Arc<Dismissals>,
}

impl Settings {
    /// Reads the certificates if the configuration needs any.
    pub(crate) fn new(config: PostgresConfig) -> Result<Self, PostgresError> {
        Ok(Self::with_tls(tls::connector(&config)?, config))
    }

    /// With this TLS library, if there is to be any.
    pub(crate) fn with_tls(tls: Option<Arc<dyn AnyConnector>>, config: PostgresConfig) -> Self {
        let tls = tls.filter(|_| config.sslmode != SslMode::Disable);
        Self { config, tls, recorder: OnceLock::new(), ledger: Arc::default(), dismissals: Arc::default() }
    }

    /// Has all sessions replaced if certificates have changed.
    ///
    /// Cancel safety: a change is found by the next one who looks.
    pub(crate) async fn renew(&self) {
        let Some(tls) = &self.tls else { return };
        // Owned across the await: nothing.
        if tls.renew().await
            && let Some(recorder) = self.recorder.get()
        {
            recorder.retire_all_over(ROTATION);
        }
    }
}

/// Whether a stream is to be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// Where a session is, and how it got there: whoever asks for it to be cancelled goes the same way.
pub(crate) struct Server {
    pub(crate) settings: Arc<Settings>,
    pub(crate) host: Host,
    pub(crate) place: Place,
    /// Host and port as configured, or the path of the Unix socket.
    pub(crate) name: Arc<str>,
    /// The place, in words.
    pub(crate) address: Box<str>,
}

impl Server {
    pub(crate) fn new(settings: &Arc<Settings>, host: &Host, place: Place) -> Self {
        let (name, address) = (host.to_string().into(), place.to_string().into());
        Self { settings: Arc::clone(settings), host: host.clone(), place, name, address }
    }

    /// Whether it is on this machine, as far as its address tells.
    pub(crate) fn is_near(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Tcp(address) => address.ip().is_loopback(),
        }
    }

    /// Whether it is reached by a Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.place, Place::Unix(_))
    }

    /// Opens a stream on which nothing has been sent yet, and says each step before it. The handshake, if it is encrypted.
    ///
    /// Cancel safety: dropping the future closes what has been opened so far.
    pub(crate) async fn open(
        &self,
        encryption: Encryption,
        note: impl Fn(ConnectStep),
    ) -> Result<(Box<dyn Stream>, Option<Done>), ConnectError> {
        note(ConnectStep::Open);
        let config = &self.settings.config;
        if encryption != Encryption::Never {
            // Owned across the await: nothing. If their disk says nothing, those from before will do.
            let _ = timeout(FOR_FILES, self.settings.renew()).await;
            let problem =
                self.settings.tls.as_ref().map_or_else(|| Some("there is no TLS".to_owned()), |tls| tls.problem());
            if let Some(problem) = problem {
                return Err(ConnectError::new(ConnectStep::TlsRequest, &self.name, problem));
            }
        }
        let failed = |error| ConnectError::new(ConnectStep::Open, &self.address, error);
        // Owned across the awaits: the stream. Dropping it closes it.
        let stream = socket::open(&self.place, config).await.map_err(|error: io::Error| failed(error))?;
        let Some(tls) = self.settings.tls.as_ref().filter(|_| encryption != Encryption::Never) else {
            return Ok((stream, None));
        };
        self.encrypt(tls.as_ref(), stream, encryption, note)
            .await
            .map_err(|(step, cause)| ConnectError::new(step, &self.name, cause))
    }

    async fn encrypt(
        &self,
        tls: &dyn AnyConnector,
        mut stream: Box<dyn Stream>,
        encryption: Encryption,
        note: impl Fn(ConnectStep),
    ) -> Result<(Box<dyn Stream>, Option<Done>), Failed> {
        note(ConnectStep::TlsRequest);
        if self.settings.config.sslnegotiation == SslNegotiation::Postgres && !is_offered(&mut stream).await? {
            let insists = encryption == Encryption::Always;
            let refused = || (ConnectStep::TlsRequest, "the server does not offer it".into());
            return if insists { Err(refused()) } else { Ok((stream, None)) };
        }
        note(ConnectStep::TlsHandshake);
        let (stream, done) = shake_hands(tls, &self.host, stream).await?;
        Ok((stream, Some(done)))
    }

    /// What is done in a step.
    pub(crate) fn words(&self, step: ConnectStep) -> String {
        format!("{step} of {}", self.name)
    }

    /// An error of this server.
    pub(crate) fn error(&self, step: ConnectStep, cause: tokio_postgres::Error) -> ConnectError {
        ConnectError::new(step, &self.name, cause)
    }
}

/// A server on which there is a session.
pub(crate) struct Peer {
    pub(crate) server: Arc<Server>,
    /// Whether the session is encrypted.
    pub(crate) is_encrypted: bool,
}

impl Peer {
    /// Asks the server to stop what a session is doing: nobody waits for the answer any more. Returns once the server has passed that
    /// on to the session, so that it cannot hit what the next user does. It takes no longer than `connect_timeout`.
    ///
    /// Cancel safety: the server may have been asked.
    pub(crate) async fn cancel(&self, token: &CancelToken) -> Result<(), ConnectError> {
        let limit = self.server.settings.config.connect_timeout;
        // Owned across the await: the socket, by the call.
        timeout(limit, self.request_cancel(token)).await.unwrap_or_else(|_| {
            let cause = io::Error::new(io::ErrorKind::TimedOut, "a request to cancel took longer than connect_timeout");
            Err(ConnectError::new(ConnectStep::Session, &self.server.name, cause))
        })
    }

    /// By the same way as the session: to the same address, and encrypted if that is.
    async fn request_cancel(&self, token: &CancelToken) -> Result<(), ConnectError> {
        let encryption = if self.is_encrypted { Encryption::Always } else { Encryption::Never };
        // Owned across the awaits: the socket, which is closed when the future is dropped. A tap's shutdown waits for the server, which closes the stream when it
        // has done so.
        let mut tap = Tap::asking(self.server.open(encryption, |_| {}).await?.0);
        let sent = token.cancel_query_raw(&mut tap, Done::default()).await;
        sent.map_err(|error| self.server.error(ConnectStep::Session, error))?;
        let closed = tap.shutdown().await;
        closed.map_err(|error| ConnectError::new(ConnectStep::Session, &self.server.name, error))
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
                report(|| tracing::debug!(%error, "a session that was cut off may go on for a while"));
                return;
            }
            // Requests in a row take one cancellation each, and a large one takes time to be stopped.
            patience = PATIENCE.max(2 * patience).min(LONGEST_PATIENCE);
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.server.name).finish_non_exhaustive()
    }
}
