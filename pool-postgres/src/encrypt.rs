//! From a plain stream to an encrypted one.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Host;
use crate::encrypted::Done;
use crate::error::ConnectStep;
use crate::socket::Stream;
use crate::tap::not_postgres;
use crate::tls::{AnyConnector, TlsSession, TlsSocket};

/// `SSLRequest`: a length of 8 and a code in the place of the protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What failed, and in which step.
pub(crate) type Failed = (ConnectStep, Box<dyn std::error::Error + Send + Sync>);

/// Asks the server whether it has TLS.
pub(crate) async fn is_offered(stream: &mut Box<dyn Stream>) -> Result<bool, Failed> {
    let failed = |error: io::Error| (ConnectStep::TlsRequest, error.into());
    // Owned across the awaits: nothing. What a dropped future leaves is a stream on which a question is open, and its owner closes it.
    stream.write_all(&SSL_REQUEST).await.map_err(failed)?;
    // One byte and no more: whatever else has been sent before the handshake would be taken for part of the encrypted
    // session (CVE-2021-23222), so it is left to the handshake, which fails on it.
    match stream.read_u8().await.map_err(failed)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // Of a server that cannot start a process for it.
        b'E' => Err((ConnectStep::TlsRequest, io::Error::other("the server answers with an error").into())),
        other => Err((ConnectStep::TlsRequest, not_postgres(&[other]).into())),
    }
}

/// Shakes hands with the server.
pub(crate) async fn shake_hands(
    tls: &dyn AnyConnector,
    host: &Host,
    stream: Box<dyn Stream>,
) -> Result<(Box<dyn Stream>, Done), Failed> {
    // Owned across the await: the stream, by the library. Dropping the future closes it.
    let outcome = tls.connect(host, TlsSocket::new(stream)).await;
    let TlsSession { stream, end_point, sent_certificate } =
        outcome.map_err(|error| (ConnectStep::TlsHandshake, error))?;
    Ok((stream, Done { end_point, sent_certificate }))
}
