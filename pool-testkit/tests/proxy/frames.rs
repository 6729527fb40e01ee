//! What is cut and edited between messages.

use pool_testkit::proxy::{Direction, End, Frame, Place, Proxy, Script, ScriptedServer, Toxic, message};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::{in_time, rest};

fn startup() -> Vec<u8> {
    [&[0, 0, 0, 9], &[0, 3, 0, 0][..], b"\0"].concat()
}

fn conversation() -> Vec<u8> {
    [message(b'C', b"one"), message(b'D', b""), message(b'C', b"two"), message(b'Z', b"I")].concat()
}

/// What a client hears of a conversation, and the proxy.
async fn heard(toxic: Option<Toxic>) -> (Vec<u8>, Proxy) {
    let server = ScriptedServer::start(Script::new().startup().message(b'Q').send(&conversation())).await.unwrap();
    let proxy = Proxy::postgres(server.address()).await.unwrap();
    if let Some(toxic) = toxic {
        proxy.set(Direction::ToClient, toxic);
    }
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(&[startup(), message(b'P', b""), message(b'Q', b"all")].concat()).await.unwrap();
    (rest(&mut client).await.0, proxy)
}

async fn length(kind: u8, nth: u64, place: Place) -> usize {
    let (heard, proxy) = heard(Some(Toxic::CutAt { kind, nth, place, end: End::Close })).await;
    in_time(proxy.until(|seen| seen.struck == 1)).await;
    heard.len()
}

#[tokio::test]
async fn messages_pass_and_are_counted() {
    let (heard, proxy) = heard(None).await;
    assert_eq!(heard, conversation());
    let seen = proxy.seen();
    assert_eq!([Frame::STARTUP, b'P', b'Q', b'X'].map(|kind| seen.frames(Direction::ToServer, kind)), [1, 1, 1, 0]);
    assert_eq!([b'C', b'D', b'Z', b'X'].map(|kind| seen.frames(Direction::ToClient, kind)), [2, 1, 1, 0]);
    assert_eq!(seen.struck, 0);
}

/// One who was let in is not counted any more when the next one comes; two who come at the same time are.
#[tokio::test]
async fn those_who_are_not_yet_let_in_are_counted() {
    let script = Script::new().startup().send(&message(b'Z', b"I")).message(b'Q').send(b"never");
    let server = ScriptedServer::start(script).await.unwrap();
    let proxy = Proxy::postgres(server.address()).await.unwrap();
    let mut clients = Vec::new();
    for (number, most) in [(1, 1), (2, 1)] {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(&startup()).await.unwrap();
        in_time(proxy.until(|seen| seen.frames(Direction::ToClient, b'Z') == number)).await;
        assert_eq!(proxy.seen().most_opening, most);
        clients.push(client);
    }
    for open in [3, 4] {
        clients.push(TcpStream::connect(proxy.address()).await.unwrap());
        in_time(proxy.until(|seen| seen.open() == open)).await;
    }
    assert_eq!(proxy.seen().most_opening, 2);
    clients.truncate(2);
    in_time(proxy.until(|seen| seen.open() == 2)).await;
    clients.push(TcpStream::connect(proxy.address()).await.unwrap());
    in_time(proxy.until(|seen| seen.open() == 3)).await;
    assert_eq!(proxy.seen().most_opening, 2, "those who went are not counted");
}

#[tokio::test]
async fn a_connection_is_cut_between_messages() {
    assert_eq!(length(b'C', 1, Place::Before).await, 0);
    assert_eq!(length(b'C', 1, Place::After).await, 8);
    assert_eq!(length(b'C', 2, Place::Before).await, 13);
    assert_eq!(length(b'C', 2, Place::After).await, 21);
    assert_eq!(length(b'Z', 1, Place::Before).await, 21);
}

#[tokio::test]
async fn a_connection_is_cut_before_it_begins() {
    let server = ScriptedServer::start(Script::new().startup().send(b"never")).await.unwrap();
    let proxy = Proxy::postgres(server.address()).await.unwrap();
    let toxic = Toxic::CutAt { kind: Frame::STARTUP, nth: 1, place: Place::Before, end: End::Close };
    proxy.set(Direction::ToServer, toxic);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(&startup()).await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], None));
}

#[tokio::test]
async fn a_message_is_replaced() {
    let editor = |frame: &Frame| match (frame.kind(), frame.number(), frame.body()) {
        (b'C', 2, b"two") => message(b'E', b"three"),
        (b'D', ..) => vec![],
        _ => frame.bytes().to_vec(),
    };
    let (heard, proxy) = heard(Some(Toxic::edit(editor))).await;
    let wanted = [message(b'C', b"one"), message(b'E', b"three"), message(b'Z', b"I")].concat();
    assert_eq!((heard, proxy.seen().struck), (wanted, 2));
}

#[tokio::test]
async fn a_length_is_overwritten() {
    let (heard, _proxy) = heard(Some(Toxic::length(b'C', 2, 3))).await;
    let wrong = [&[b'C', 0, 0, 0, 3], &b"two"[..]].concat();
    assert_eq!(heard, [message(b'C', b"one"), message(b'D', b""), wrong, message(b'Z', b"I")].concat());
}
