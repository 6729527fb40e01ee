//! What is lost, cut or changed.

use std::io::ErrorKind;

use pool_testkit::proxy::{Direction, End, Toxic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{client, connect, in_time, pends, rest, works};

#[tokio::test]
async fn a_connection_ends_after_exactly_so_many_bytes() {
    let (proxy, _) = client().await;
    for end in [End::Close, End::Reset, End::Silence] {
        for bytes in [0, 1, 4, 5] {
            let wanted = proxy.seen().struck + 1;
            let mut client = connect(&proxy).await;
            proxy.set(Direction::ToClient, Toxic::CutAfter { bytes, end });
            client.write_all(b"hello").await.unwrap();
            in_time(proxy.until(|seen| seen.struck == wanted)).await;
            proxy.calm().await;
            let (got, error) = rest(&mut client).await;
            assert_eq!(got, b"hello"[..usize::try_from(bytes).unwrap()], "{end:?}");
            assert_eq!(error, (end != End::Close).then_some(ErrorKind::ConnectionReset), "{end:?} {bytes}");
        }
    }
}

#[tokio::test]
async fn bytes_are_counted_from_when_it_is_set() {
    let (proxy, mut client) = client().await;
    works(&mut client).await;
    proxy.set(Direction::ToClient, Toxic::CutAfter { bytes: 7, end: End::Close });
    works(&mut client).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(rest(&mut client).await, (b"he".to_vec(), None));
}

#[tokio::test]
async fn what_happens_once_happens_to_one() {
    let (proxy, mut one) = client().await;
    let mut two = connect(&proxy).await;
    proxy.set_once(Direction::ToServer, Toxic::CutAfter { bytes: 0, end: End::Reset });
    one.write_all(b"hello").await.unwrap();
    assert_eq!(rest(&mut one).await.1, Some(ErrorKind::ConnectionReset));
    works(&mut two).await;
    works(&mut connect(&proxy).await).await;
    assert_eq!(proxy.seen().struck, 1);
}

#[tokio::test]
async fn a_byte_is_flipped() {
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToClient, Toxic::Flip { offset: 6, mask: 0x20 });
    works(&mut client).await;
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, (b"hEllo".to_vec(), None));
    assert_eq!(proxy.seen().struck, 1);
}

#[tokio::test]
async fn what_is_lost_is_lost_and_the_connection_with_it() {
    for direction in Direction::BOTH {
        let (proxy, mut client) = client().await;
        let mut untouched = connect(&proxy).await;
        proxy.set(direction, Toxic::Drop);
        client.write_all(b"hello").await.unwrap();
        in_time(proxy.until(|seen| seen.struck == 1)).await;
        assert!(pends(client.read_u8()).await);
        proxy.calm().await;
        assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
        works(&mut untouched).await;
    }
}

#[tokio::test]
async fn the_end_of_a_stream_can_be_lost_too() {
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToServer, Toxic::Drop);
    client.shutdown().await.unwrap();
    in_time(proxy.until(|seen| seen.open() == 0)).await;
    assert!(pends(client.read_u8()).await);
    proxy.calm().await;
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn one_direction_ends_and_the_other_goes_on() {
    let (proxy, mut client) = client().await;
    works(&mut client).await;
    proxy.set(Direction::ToClient, Toxic::HalfClose);
    assert_eq!(in_time(client.read_u8()).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let before = proxy.seen().bytes(Direction::ToServer);
    client.write_all(b"hello").await.unwrap();
    in_time(proxy.until(|seen| seen.bytes(Direction::ToServer) == before + 5)).await;
    assert_eq!(proxy.seen().bytes(Direction::ToClient), 5, "the answer is lost");
}

#[tokio::test]
async fn bytes_are_injected_into_what_is_open() {
    let (proxy, mut client) = client().await;
    works(&mut client).await;
    proxy.inject(Direction::ToClient, b"from nobody");
    let mut got = [0; 11];
    in_time(client.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"from nobody");
    works(&mut client).await;
    works(&mut connect(&proxy).await).await;
}
