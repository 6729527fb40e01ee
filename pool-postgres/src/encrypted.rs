//! What tokio-postgres is told of a stream that is encrypted before it gets it.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// A handshake that has been done already, and what proves that it was with this server (`tls-server-end-point` of RFC 5929), if that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) end_point: Option<Vec<u8>>,
    /// Whether the server has asked for the certificate of the client, and was sent it.
    pub(crate) sent_certificate: bool,
}

impl Done {
    /// Has the login go straight on to the handshake that is done, instead of asking for one.
    pub(crate) fn announce(login: &mut tokio_postgres::Config) {
        login.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Done {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Encrypted<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Encrypted { stream, end_point: self.end_point }))
    }
}

/// The stream as it is.
pub(crate) struct Encrypted<S> {
    stream: S,
    end_point: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
