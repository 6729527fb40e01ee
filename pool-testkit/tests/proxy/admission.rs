//! What becomes of new connections.

use std::io::ErrorKind;

use pool_testkit::proxy::{Admission, Direction, End, Proxy, Script, ScriptedServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{client, connect, echo, in_time, pends, rest, works};

#[tokio::test]
async fn connections_pass_and_are_counted() {
    let (proxy, mut one) = client().await;
    let mut two = connect(&proxy).await;
    works(&mut one).await;
    works(&mut two).await;
    proxy.until(|seen| seen.open() == 2).await;
    assert_eq!((proxy.seen().accepted, proxy.seen().struck, proxy.connections()), (2, 0, 2));
    assert_eq!(proxy.seen().ports().len(), 2, "each by its own port");
    proxy.until(|seen| Direction::BOTH.map(|direction| seen.bytes(direction)) == [10, 10]).await;
    drop(one);
    in_time(proxy.until(|seen| seen.open() == 1)).await;
    in_time(proxy.reached(2)).await;
    works(&mut two).await;
}

#[tokio::test]
async fn the_end_of_one_side_reaches_the_other() {
    let (_proxy, mut client) = client().await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, (b"last words".to_vec(), None));
}

#[tokio::test]
async fn new_connections_are_refused_and_old_ones_stay() {
    let (proxy, mut old) = client().await;
    for _ in 0..3 {
        proxy.admit(Admission::Refuse).await;
        assert_eq!(TcpStream::connect(proxy.address()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        works(&mut old).await;
        proxy.calm().await;
        works(&mut connect(&proxy).await).await;
    }
    assert_eq!(proxy.seen().accepted, 4);
}

#[tokio::test]
async fn new_connections_are_reset() {
    let (proxy, mut old) = client().await;
    proxy.admit(Admission::Reset).await;
    let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(rest(&mut fresh).await, (vec![], Some(ErrorKind::ConnectionReset)));
    works(&mut old).await;
}

#[tokio::test]
async fn new_connections_hear_nothing() {
    let (proxy, mut old) = client().await;
    for admission in [Admission::Silence, Admission::Ignore] {
        proxy.admit(admission).await;
        let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
        fresh.write_all(b"hello").await.unwrap();
        assert!(pends(fresh.read_u8()).await);
        works(&mut old).await;
        proxy.calm().await;
        match admission {
            // It waited in the queue of the system.
            Admission::Ignore => assert_eq!(in_time(fresh.read_u8()).await.unwrap(), b'h'),
            _ => assert_eq!(rest(&mut fresh).await.1, Some(ErrorKind::ConnectionReset)),
        }
    }
}

#[tokio::test]
async fn everything_ends_with_the_handle() {
    let (proxy, mut client) = client().await;
    let address = proxy.address();
    drop(proxy);
    let (rest, end) = rest(&mut client).await;
    assert!(rest.is_empty() && end.is_none_or(|end| end == ErrorKind::ConnectionReset));
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_server_that_is_not_there_resets() {
    // Nobody has that address: no other test takes the port.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let proxy = Proxy::start(("127.0.0.3", port)).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!((proxy.seen().accepted, proxy.connections()), (1, 0));
}

#[tokio::test]
async fn all_that_are_open_are_cut_and_new_ones_pass() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    for end in [End::Close, End::Reset] {
        let (mut one, mut two) = (connect(&proxy).await, connect(&proxy).await);
        works(&mut one).await;
        works(&mut two).await;
        proxy.cut_all(end).await;
        assert_eq!(proxy.connections(), 0);
        let wanted = (end == End::Reset).then_some(ErrorKind::ConnectionReset);
        assert_eq!((rest(&mut one).await.1, rest(&mut two).await.1), (wanted, wanted));
        works(&mut connect(&proxy).await).await;
    }
    let mut silent = connect(&proxy).await;
    works(&mut silent).await;
    proxy.cut_all(End::Silence).await;
    silent.write_all(b"hello").await.unwrap();
    assert!(pends(silent.read_u8()).await);
    works(&mut connect(&proxy).await).await;
    proxy.calm().await;
    assert_eq!(rest(&mut silent).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn new_connections_go_to_another_server() {
    let (proxy, mut old) = client().await;
    let another = ScriptedServer::start(Script::new().send(b"another")).await.unwrap();
    let before = proxy.upstream();
    proxy.redirect(another.address());
    assert_eq!(rest(&mut connect(&proxy).await).await, (b"another".to_vec(), None));
    works(&mut old).await;
    proxy.redirect(before);
    works(&mut connect(&proxy).await).await;
}
