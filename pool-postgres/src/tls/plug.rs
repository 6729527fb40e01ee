//! Where a TLS library is plugged in.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::certificate::end_point;
use crate::config::Host;
use crate::socket::Stream;

/// A TLS library, with all that it is set to: whom it trusts, and by what it proves who the client is. rustls, as the [configuration](crate::PostgresConfig) says, is the one that pools have if they are
/// not [given](crate::PostgresDriver::with_tls) another one.
///
/// The pool opens the socket, asks the server whether it has TLS ([`sslnegotiation`](crate::PostgresConfig::sslnegotiation)), and leaves the handshake to this. With `sslnegotiation=direct`, where it does not ask, the
/// handshake has to offer the application protocol `postgresql` (ALPN), and to fail if the server does not agree on it: else one of another protocol might be made to take what is sent for its own. The pool cannot see that from outside.
///
/// No session should be resumed from an earlier one, since that looks at no certificate: one that has expired or was revoked meanwhile would do.
///
/// # Example
///
/// rustls with settings of one's own.
///
/// ```
/// use std::error::Error;
/// use std::sync::Arc;
///
/// use pool_postgres::{TlsConnector, TlsSession, TlsSocket};
/// use tokio_rustls::rustls::ClientConfig;
/// use tokio_rustls::rustls::pki_types::ServerName;
///
/// struct Own(Arc<ClientConfig>);
///
/// impl TlsConnector for Own {
///     async fn connect(&self, server: &str, socket: TlsSocket) -> Result<TlsSession, Box<dyn Error + Send + Sync>> {
///         let name = ServerName::try_from(server.to_owned())?;
///         let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.0)).connect(name, socket).await?;
///         if stream.get_ref().1.alpn_protocol() != Some(b"postgresql") {
///             return Err("the server does not speak PostgreSQL's protocol".into()); // with `sslnegotiation=direct`
///         }
///         let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first()).cloned();
///         let session = TlsSession::new(stream);
///         Ok(match certificate {
///             Some(certificate) => session.server_certificate(&certificate),
///             None => session,
///         })
///     }
/// }
/// ```
pub trait TlsConnector: Send + Sync + 'static {
    /// Shakes hands with a server, and verifies what is to be verified. `server` is its name, or its address if it has none.
    ///
    /// Cancel safety: the future is dropped, and the socket with it, when time is up.
    ///
    /// # Errors
    ///
    /// Whatever is in the way; it is shown after the name of the server. An [`io::Error`] of another [kind](io::ErrorKind) than `InvalidData` is one of the network, which may pass.
    fn connect(
        &self,
        server: &str,
        socket: TlsSocket,
    ) -> impl Future<Output = Result<TlsSession, Box<dyn StdError + Send + Sync>>> + Send;

    /// Whether what it is set to has changed since this was asked last, so that all sessions have to be replaced, as files with certificates may be others. Asked before each handshake, and now and then. `false` by default.
    ///
    /// Cancel safety: the future may be dropped.
    fn renew(&self) -> impl Future<Output = bool> + Send {
        ready(false)
    }
}

/// The socket on which a handshake begins.
pub struct TlsSocket(Box<dyn Stream>);

/// What comes of a handshake.
pub struct TlsSession {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) end_point: Option<Vec<u8>>,
    pub(crate) sent_certificate: bool,
}

impl TlsSession {
    /// A session on which everything that is sent is encrypted.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), end_point: None, sent_certificate: false }
    }

    /// The certificate that the server has shown (DER). It lets [channel binding](crate::PostgresConfig::channel_binding) prove that nobody stands in between: of the kind `tls-server-end-point` (RFC 5929).
    /// Without it there is none, and a server that offers it is refused unless `channel_binding` is `disable`, as is one whose certificate has no hash for it (Ed25519).
    #[must_use]
    pub fn server_certificate(mut self, certificate: &[u8]) -> Self {
        self.end_point = end_point(&CertificateDer::from(certificate));
        self
    }

    /// The server has asked for the certificate of the client, and was sent it: what [`sslcertmode=require`](crate::SslCertMode::Require) insists on.
    #[must_use]
    pub fn sent_certificate(mut self) -> Self {
        self.sent_certificate = true;
        self
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("sent_certificate", &self.sent_certificate).finish_non_exhaustive()
    }
}

impl TlsSocket {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self(stream)
    }
}

impl fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSocket").finish_non_exhaustive()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

pub(crate) type Handshake<'a> =
    Pin<Box<dyn Future<Output = Result<TlsSession, Box<dyn StdError + Send + Sync>>> + Send + 'a>>;

/// As [`TlsConnector`], of whatever type, for a host that may have a name, or an address, or both.
pub(crate) trait AnyConnector: Send + Sync {
    fn connect<'a>(&'a self, host: &'a Host, socket: TlsSocket) -> Handshake<'a>;
    fn renew(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
    /// Why it can do nothing.
    fn problem(&self) -> Option<String> {
        None
    }
}

impl<T: TlsConnector> AnyConnector for T {
    fn connect<'a>(&'a self, host: &'a Host, socket: TlsSocket) -> Handshake<'a> {
        Box::pin(async move {
            let name = host.peer();
            // Owned across the await: the socket, by the library. Dropping the future closes it.
            TlsConnector::connect(self, &name, socket).await
        })
    }

    fn renew(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(TlsConnector::renew(self))
    }
}
