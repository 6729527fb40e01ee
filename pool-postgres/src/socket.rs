//! From a host to a stream on which nothing has been sent yet.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::config::{Host, PostgresConfig};

/// A stream of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    /// The path of a Unix socket, or the name of an abstract one after its `@`.
    Unix(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// Where a host listens; its name is looked up now, whenever that is asked.
///
/// Cancel safety: nothing is lost.
pub(crate) async fn places(host: &Host) -> io::Result<Vec<Place>> {
    if host.is_socket() {
        return Ok(vec![Place::Unix(host.socket())]);
    }
    if let Some(address) = host.address {
        return Ok(vec![Place::Tcp(SocketAddr::new(address, host.port))]);
    }
    let found: Vec<_> = lookup_host((host.name.as_str(), host.port)).await?.map(Place::Tcp).collect();
    if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")) } else { Ok(found) }
}

/// Opens a stream.
///
/// Cancel safety: dropping the future closes it.
pub(crate) async fn open(place: &Place, config: &PostgresConfig) -> io::Result<Box<dyn Stream>> {
    match place {
        Place::Tcp(address) => Ok(Box::new(tuned(TcpStream::connect(address).await?, config)?)),
        Place::Unix(path) => open_unix(path, config).await,
    }
}

#[cfg(unix)]
async fn open_unix(path: &str, config: &PostgresConfig) -> io::Result<Box<dyn Stream>> {
    // tokio takes a leading zero for the mark of an abstract name.
    let name = path.strip_prefix('@').map_or_else(|| path.to_owned(), |name| format!("\0{name}"));
    let stream = tokio::net::UnixStream::connect(name).await?;
    if let Some(wanted) = &config.requirepeer {
        // Owned across the await: the stream.
        check_peer(&stream, wanted).await?;
    }
    Ok(Box::new(stream))
}

/// Whether it is this user of the system that runs the server.
#[cfg(unix)]
async fn check_peer(stream: &tokio::net::UnixStream, wanted: &str) -> io::Result<()> {
    let id = nix::unistd::Uid::from_raw(stream.peer_cred()?.uid());
    // Whom the system asks may be far away. Owned across the await: nothing.
    let user = tokio::task::spawn_blocking(move || nix::unistd::User::from_uid(id)).await??.map(|user| user.name);
    if user.as_deref() == Some(wanted) {
        return Ok(());
    }
    let runs = user.unwrap_or_else(|| format!("user {id}"));
    let problem = format!("requirepeer is {wanted:?}, and the server is run by {runs:?}");
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

#[cfg(not(unix))]
async fn open_unix(_: &str, _: &PostgresConfig) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A stream to somebody who says nothing, as a configuration wants it.
    async fn stream(text: &str) -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tuned(stream, &text.parse().unwrap()).unwrap()
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

    #[tokio::test]
    async fn an_address_counts_for_more_than_a_name() {
        let mut host = Host::new("db.invalid", 5433);
        host.address = Some([127, 0, 0, 1].into());
        assert_eq!(places(&host).await.unwrap(), [Place::Tcp(([127, 0, 0, 1], 5433).into())]);
        assert_eq!(places(&Host::new("/run/pg", 1)).await.unwrap(), [Place::Unix("/run/pg/.s.PGSQL.1".to_owned())]);
        assert_eq!(places(&Host::new("@pg", 1)).await.unwrap(), [Place::Unix("@pg/.s.PGSQL.1".to_owned())]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_abstract_socket_is_reached_and_its_peer_is_checked() {
        let name = format!("pool-test-{}", std::process::id());
        let listener = tokio::net::UnixListener::bind(format!("\0{name}")).unwrap();
        let place = Place::Unix(format!("@{name}"));
        let mut config = PostgresConfig { requirepeer: Some("nobody at all".to_owned()), ..PostgresConfig::default() };
        let error = open(&place, &config).await.err().unwrap();
        assert!(error.to_string().contains(r#"requirepeer is "nobody at all", and the server is run by"#), "{error}");
        config.requirepeer = crate::config::system_user();
        assert!(open(&place, &config).await.is_ok());
        drop(listener);
        assert!(open(&place, &config).await.is_err());
    }
}
