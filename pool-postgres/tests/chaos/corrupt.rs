//! F047: bytes that are not those that were sent. Without TLS nobody can tell a wrong length from an answer that is slow: whoever waits has to look at the clock.

use pool_core::AcquireError;
use pool_testkit::proxy::{Direction, Toxic};
use tokio::time::timeout;

use crate::common::{Chaos, SHORT, answer, impatient, in_time, query};
use crate::invariants;

/// A connection works again soon. The first one may have been given back before its last answer came, which was not what it should have been.
async fn recovers(chaos: &Chaos) {
    let working = async {
        loop {
            let lease = chaos.acquire().await.expect("a connection");
            if matches!(timeout(SHORT, answer(&lease, 41)).await, Ok(Ok(42))) {
                return;
            }
            lease.discard();
        }
    };
    in_time("a connection works", working).await;
}

/// Lengths that cannot be: too small for themselves, negative, and more than a gibibyte.
const LENGTHS: [u32; 5] = [0, 3, 0x4000_0001, 0x7fff_ffff, 0xffff_ffff];

#[tokio::test]
async fn f047_no_length_in_an_answer_harms_the_pool() {
    let mut chaos = impatient(1).await;
    for kind in *b"1TDCZ" {
        for length in LENGTHS {
            let got = query(&mut chaos, Direction::ToClient, Toxic::length(kind, 1, length)).await;
            assert_eq!(got, None, "{} of length {length}", char::from(kind));
            recovers(&chaos).await;
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f047_no_length_in_a_request_harms_the_pool() {
    let mut chaos = impatient(1).await;
    for kind in *b"PBE" {
        for length in LENGTHS {
            let got = query(&mut chaos, Direction::ToServer, Toxic::length(kind, 1, length)).await;
            assert_eq!(got, None, "{} of length {length}", char::from(kind));
            recovers(&chaos).await;
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f047_no_length_in_a_handshake_harms_the_pool() {
    let mut chaos = Chaos::with(1, |config| config.pool.connect_timeout = 2 * SHORT).await;
    for kind in *b"RSKZ" {
        for length in LENGTHS {
            chaos.pool.retire_all();
            chaos.proxy.until(|seen| seen.open() == 0).await;
            chaos.proxy.set(Direction::ToClient, Toxic::length(kind, 1, length));
            let error = chaos.pool.acquire_timeout(3 * SHORT).await.map(drop).unwrap_err();
            assert!(
                matches!(error, AcquireError::OpenFailed { .. } | AcquireError::Timeout { .. }),
                "{} of length {length}: {error}",
                char::from(kind)
            );
            chaos.note(&error);
            chaos.proxy.calm().await;
            recovers(&chaos).await;
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f047_no_flipped_byte_of_an_answer_harms_the_pool() {
    let mut chaos = impatient(1).await;
    chaos.fill(1).await;
    let before = chaos.proxy.seen().bytes(Direction::ToClient);
    recovers(&chaos).await;
    let all = chaos.proxy.seen().bytes(Direction::ToClient) - before;
    assert!((50..200).contains(&all), "one answer: {all}");
    let mut whole = 0;
    for offset in 0..all {
        let got = query(&mut chaos, Direction::ToClient, Toxic::Flip { offset, mask: 0x81 }).await;
        whole += usize::from(got == Some(42));
        recovers(&chaos).await;
    }
    assert!(whole < usize::try_from(all).unwrap(), "some bytes matter");
    invariants::hold(chaos).await;
}
