//! A server that ends in order while somebody listens.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use pool_core::http::Status;
use pool_testkit::fake::quiet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::Shown;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that ends when it is told to, and when all its connections have ended.
struct Served {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn serve(status: &Status) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, told) = oneshot::channel();
    let server = axum::serve(listener, status.router()).with_graceful_shutdown(async { _ = told.await });
    Served { address, end, serving: tokio::spawn(server.into_future()) }
}

/// One who has got an event, and listens on.
async fn listen(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /pool/events HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: snapshot") {
        heard.push_str(&String::from_utf8(read(&mut stream).await).unwrap());
        assert!(!heard.is_empty(), "it has not ended");
    }
    stream
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut part = vec![0; 64 * 1024];
    let length = timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
    part.truncate(length);
    part
}

/// What is heard until the end.
async fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn it_ends_when_the_streams_are_ended() {
    let shown = Shown::new(quiet(3));
    let served = serve(&shown.status).await;
    let (one, other) = (listen(served.address).await, listen(served.address).await);
    served.end.send(()).unwrap();
    let mut serving = served.serving;
    // It would wait for ever for those who listen, who get their events all the time.
    timeout(3 * crate::common::SECOND, &mut serving).await.expect_err("it waits for those who listen");
    shown.status.end_events();
    timeout(PATIENCE, serving).await.expect("it ends").unwrap().unwrap();
    for stream in [one, other] {
        assert!(rest(stream).await.contains("event: snapshot"), "the last one");
    }
}

#[tokio::test]
async fn it_ends_when_the_pool_is_closed() {
    let shown = Shown::new(quiet(3));
    let served = serve(&shown.status).await;
    let stream = listen(served.address).await;
    served.end.send(()).unwrap();
    shown.pool.close().await;
    timeout(PATIENCE, served.serving).await.expect("it ends").unwrap().unwrap();
    assert!(rest(stream).await.contains("event: closed"));
}

/// Those that have ended take no place.
#[tokio::test]
async fn one_who_goes_away_holds_up_nobody() {
    let shown = Shown::new(quiet(3));
    let served = serve(&shown.status).await;
    drop(listen(served.address).await);
    served.end.send(()).unwrap();
    timeout(PATIENCE, served.serving).await.expect("it ends").unwrap().unwrap();
}
