//! Servers without a server.

use std::io::ErrorKind;

use pool_testkit::proxy::{Script, ScriptedServer, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{in_time, pends, rest};

async fn client(script: Script) -> (ScriptedServer, TcpStream) {
    let server = ScriptedServer::start(script).await.unwrap();
    let client = TcpStream::connect(server.address()).await.unwrap();
    in_time(server.reached(1)).await;
    assert_eq!(server.accepted(), 1);
    (server, client)
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const STARTUP: [u8; 9] = [0, 0, 0, 9, 0, 3, 0, 0, 0];

#[tokio::test]
async fn a_script_is_followed() {
    let (server, mut client) = client(Script::new().login().message(b'Q').send(b"no").hold().send(b"thing")).await;
    client.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(in_time(client.read_u8()).await.unwrap(), b'N');
    client.write_all(&STARTUP).await.unwrap();
    let mut welcome = [0; 9 + 13 + 6];
    in_time(client.read_exact(&mut welcome)).await.unwrap();
    assert!(welcome.ends_with(&message(b'Z', b"I")));
    client.write_all(&[message(b'P', b"something else"), message(b'Q', b"now\0")].concat()).await.unwrap();
    assert_eq!(in_time(client.read_u16()).await.unwrap().to_be_bytes(), *b"no");
    assert!(pends(client.read_u8()).await);
    server.go_on();
    assert_eq!(rest(&mut client).await, (b"thing".to_vec(), None));
}

#[tokio::test]
async fn a_script_ends_as_it_says() {
    let (_server, mut reset) = client(Script::new().send(b"x").reset()).await;
    assert_eq!(rest(&mut reset).await, (b"x".to_vec(), Some(ErrorKind::ConnectionReset)));
    let (server, mut silent) = client(Script::new().silence()).await;
    assert!(pends(silent.read_u8()).await);
    drop(server);
    in_time(silent.read_u8()).await.unwrap_err();
}
