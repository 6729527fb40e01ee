//! What is slow.

use std::time::{Duration, Instant};

use pool_testkit::proxy::{Direction, Toxic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{client, connect, in_time, pends, rest, works};

async fn takes(client: &mut TcpStream) -> Duration {
    let started = Instant::now();
    works(client).await;
    started.elapsed()
}

#[tokio::test]
async fn bytes_are_late_each_way() {
    const TIME: Duration = Duration::from_millis(20);
    let (proxy, mut client) = client().await;
    let jitter = Duration::from_millis(10);
    proxy.set_both(Toxic::Delay { time: TIME, jitter, seed: 1 });
    assert!(takes(&mut client).await >= 2 * TIME);
    proxy.clear(Direction::ToServer);
    assert!(takes(&mut client).await >= TIME);
    proxy.calm().await;
    works(&mut client).await;
}

#[tokio::test]
async fn a_delay_does_not_add_up() {
    const TIME: Duration = Duration::from_secs(1);
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToServer, Toxic::Delay { time: TIME, jitter: Duration::ZERO, seed: 1 });
    let started = Instant::now();
    for sent in 1..=10 {
        client.write_all(b"x").await.unwrap();
        // Each is read by itself.
        while proxy.seen().bytes(Direction::ToServer) + 1 < sent && started.elapsed() < TIME / 4 {
            tokio::task::yield_now().await;
        }
    }
    let mut got = [0; 10];
    in_time(client.read_exact(&mut got)).await.unwrap();
    assert!((TIME..5 * TIME).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn bytes_come_in_pieces() {
    let (proxy, mut client) = client().await;
    client.set_nodelay(true).unwrap();
    proxy.set(Direction::ToClient, Toxic::Slice { bytes: 2, pause: Duration::from_millis(5) });
    client.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    assert!(in_time(client.read(&mut got)).await.unwrap() <= 2, "not all at once");
    in_time(proxy.until(|seen| seen.bytes(Direction::ToClient) == 5)).await;
    client.shutdown().await.unwrap();
    assert!(rest(&mut client).await.0.ends_with(b"o"));
}

#[tokio::test]
async fn so_many_bytes_pass_in_a_second() {
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToServer, Toxic::Bandwidth { bytes_per_second: 10_000 });
    let started = Instant::now();
    client.write_all(&[7; 2_000]).await.unwrap();
    let mut got = [0; 2_000];
    in_time(client.read_exact(&mut got)).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(170), "the last piece comes before its pause: {took:?}");
    proxy.set(Direction::ToServer, Toxic::Bandwidth { bytes_per_second: 1_000_000 });
    works(&mut client).await;
}

#[tokio::test]
async fn what_is_held_comes_later() {
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToServer, Toxic::Hold);
    client.write_all(b"hello").await.unwrap();
    assert!(pends(client.read_u8()).await);
    proxy.calm().await;
    let mut got = [0; 5];
    in_time(client.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"hello");
    works(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn a_sender_that_nobody_reads_from_has_to_wait() {
    let (proxy, mut client) = client().await;
    proxy.set(Direction::ToServer, Toxic::Hold);
    // More than all buffers on the way.
    let much = vec![0; 64 << 20];
    assert!(pends(client.write_all(&much)).await);
}
