//! What the tests share.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pool_testkit::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that says everything back, and ends a connection when its client does.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// A proxy before a server that says everything back, and a client of it.
pub(crate) async fn client() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let client = connect(&proxy).await;
    (proxy, client)
}

/// One more client.
pub(crate) async fn connect(proxy: &Proxy) -> TcpStream {
    let before = proxy.seen().accepted;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.until(|seen| seen.accepted > before && seen.open() > 0).await;
    client
}

/// Says something and hears it back.
pub(crate) async fn works(client: &mut TcpStream) {
    client.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    in_time(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"hello");
}

/// All that is still to be read, and how it ends.
pub(crate) async fn rest(client: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut all = Vec::new();
    let end = in_time(client.read_to_end(&mut all)).await;
    (all, end.err().map(|error| error.kind()))
}

/// What takes ten seconds never happens.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it does not take for ever")
}

/// Whether it has not happened after a moment.
pub(crate) async fn pends<F: Future>(future: F) -> bool {
    tokio::time::timeout(Duration::from_millis(30), future).await.is_err()
}
