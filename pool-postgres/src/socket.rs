//! From a host name to a stream on which a session can start.

use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{PostgresConfig, SslMode};
use crate::error::{ConnectError, ConnectStep};
use crate::tap::not_postgres;

/// A stream of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a stream, with TLS as the configuration asks for; says each step before it.
///
/// Cancel safety: dropping the future closes what has been opened so far.
pub(crate) async fn open(
    config: &PostgresConfig,
    tls: Option<&TlsConnector>,
    note: impl Fn(ConnectStep),
) -> Result<Box<dyn Stream>, ConnectError> {
    if config.host.starts_with('/') {
        note(ConnectStep::Open);
        return open_unix(config).await;
    }
    let tcp = open_tcp(config, &note).await?;
    match tls {
        Some(tls) => upgrade(config, tls, tcp, &note).await,
        None => Ok(Box::new(tcp)),
    }
}

/// What the server is called, by errors and by `Driver::host`.
pub(crate) fn target(config: &PostgresConfig) -> String {
    let PostgresConfig { host, port, .. } = config;
    match host {
        folder if folder.starts_with('/') => socket_path(config),
        address if address.contains(':') => format!("[{address}]:{port}"),
        name => format!("{name}:{port}"),
    }
}

fn socket_path(config: &PostgresConfig) -> String {
    format!("{}/.s.PGSQL.{}", config.host, config.port)
}

#[cfg(unix)]
async fn open_unix(config: &PostgresConfig) -> Result<Box<dyn Stream>, ConnectError> {
    let path = socket_path(config);
    let stream = tokio::net::UnixStream::connect(&path).await;
    stream
        .map(|stream| Box::new(stream) as Box<dyn Stream>)
        .map_err(|error| ConnectError::new(ConnectStep::Open, &path, error))
}

#[cfg(not(unix))]
async fn open_unix(config: &PostgresConfig) -> Result<Box<dyn Stream>, ConnectError> {
    let cause = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Err(ConnectError::new(ConnectStep::Open, &socket_path(config), cause))
}

/// Tries all addresses of the host; the error is that of the last one.
async fn open_tcp(config: &PostgresConfig, note: &impl Fn(ConnectStep)) -> Result<TcpStream, ConnectError> {
    note(ConnectStep::Resolve);
    let addresses = lookup_host((config.host.as_str(), config.port)).await;
    let addresses = addresses.map_err(|error| ConnectError::new(ConnectStep::Resolve, &target(config), error))?;
    let mut last = ConnectError::new(ConnectStep::Resolve, &target(config), "the host has no address");
    note(ConnectStep::Open);
    for address in addresses {
        // Owned across the await: the socket. Dropping the future closes it.
        let stream = TcpStream::connect(address).await;
        match stream.and_then(|stream| tuned(stream, config)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = ConnectError::new(ConnectStep::Open, &address.to_string(), error),
        }
    }
    Err(last)
}

/// Makes a new stream quick, and the operating system look after it.
fn tuned(stream: TcpStream, config: &PostgresConfig) -> io::Result<TcpStream> {
    // Requests are written whole, so waiting for more to send only adds latency. Without it the stream works as well.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    if config.keepalives {
        socket.set_tcp_keepalive(&keepalive(config))?;
    }
    #[cfg(target_os = "linux")]
    if config.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(config.tcp_user_timeout)?;
    }
    Ok(stream)
}

/// What is `None` is left to the operating system.
fn keepalive(config: &PostgresConfig) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if let Some(time) = config.keepalives_idle {
        keepalive = keepalive.with_time(time);
    }
    if let Some(time) = config.keepalives_interval {
        keepalive = keepalive.with_interval(time);
    }
    if let Some(count) = config.keepalives_count {
        keepalive = keepalive.with_retries(count);
    }
    keepalive
}

/// `SSLRequest`: a length of 8 and a code in the place of the protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

async fn upgrade(
    config: &PostgresConfig,
    tls: &TlsConnector,
    mut tcp: TcpStream,
    note: &impl Fn(ConnectStep),
) -> Result<Box<dyn Stream>, ConnectError> {
    note(ConnectStep::TlsRequest);
    if !is_tls_granted(config, &mut tcp).await? {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(config.host.clone());
    let name = name.map_err(|error| ConnectError::new(ConnectStep::TlsRequest, &target(config), error))?;
    note(ConnectStep::TlsHandshake);
    let stream = tls.connect(name, tcp).await;
    let stream = stream.map_err(|error| ConnectError::new(ConnectStep::TlsHandshake, &target(config), error))?;
    Ok(Box::new(stream))
}

/// Asks the server for TLS. `false` if it has none and the configuration does not insist.
async fn is_tls_granted(config: &PostgresConfig, tcp: &mut TcpStream) -> Result<bool, ConnectError> {
    let failed = |step| move |error: io::Error| ConnectError::new(step, &target(config), error);
    let refused = failed(ConnectStep::TlsRequest);
    tcp.write_all(&SSL_REQUEST).await.map_err(failed(ConnectStep::Open))?;
    // One byte and no more: whatever else has been sent before the handshake would be taken for part of the encrypted
    // session (CVE-2021-23222), so it is left to the handshake, which fails on it.
    match tcp.read_u8().await.map_err(failed(ConnectStep::Open))? {
        b'S' => Ok(true),
        b'N' if config.sslmode == SslMode::Prefer => Ok(false),
        b'N' => Err(ConnectError::new(ConnectStep::TlsRequest, &target(config), "the server does not offer it")),
        // Of a server that cannot start a process for it.
        b'E' => Err(refused(io::Error::other("the server answers with an error"))),
        other => Err(refused(not_postgres(&[other]))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_is_called_by_host_and_port() {
        let name = |host: &str| target(&PostgresConfig { host: host.to_owned(), ..PostgresConfig::default() });
        assert_eq!(name("db.example"), "db.example:5432");
        assert_eq!(name("::1"), "[::1]:5432");
        assert_eq!(name("/run/postgresql"), "/run/postgresql/.s.PGSQL.5432");
    }

    /// A stream to somebody who says nothing, as a configuration wants it.
    async fn stream(text: &str) -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        open_tcp(&format!("host=127.0.0.1 port={port} {text}").parse().unwrap(), &|_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn the_operating_system_is_told_to_look_after_a_stream() {
        let stream = stream("keepalives_idle=7 keepalives_interval=2 keepalives_count=5 tcp_user_timeout=1500").await;
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        assert_eq!(times, (Duration::from_secs(7), Duration::from_secs(2)));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
    }

    #[tokio::test]
    async fn what_is_left_to_the_operating_system_is_left_alone() {
        let untouched = TcpKeepalive::new();
        let config: PostgresConfig = "keepalives_idle=0 keepalives_interval=0 keepalives_count=0".parse().unwrap();
        assert_eq!(format!("{:?}", keepalive(&config)), format!("{untouched:?}"));
        let stream = stream("keepalives=0").await;
        let socket = SockRef::from(&stream);
        assert!(!socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
