//! F047: bytes that are not those that were sent. Without TLS nobody can tell a wrong length from an answer that is slow: whoever waits has to look at the clock.

use futures_util::future::join_all;
use pool_core::AcquireError;
use pool_testkit::proxy::{Direction, Toxic};
use tokio::time::timeout;

use crate::asking::{answer, in_time};
use crate::common::{Chaos, impatient, query};
use crate::invariants;
use crate::users::SHORT;

/// A connection works again soon. The first one may have been given back before its last answer came, which was not what it should have been.
async fn recovers(chaos: &Chaos) {
    let working = async {
        loop {
            let lease = chaos.served().await;
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

/// Queries in which one length is wrong.
async fn lengths(direction: Direction, kind: u8) {
    let mut chaos = impatient(1).await;
    for length in LENGTHS {
        let got = query(&mut chaos, direction, Toxic::length(kind, 1, length)).await;
        assert_eq!(got, None, "{} of length {length}", char::from(kind));
        recovers(&chaos).await;
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f047_no_length_in_an_answer_harms_the_pool() {
    join_all(b"1TDCZ".map(|kind| lengths(Direction::ToClient, kind))).await;
}

#[tokio::test]
async fn f047_no_length_in_a_request_harms_the_pool() {
    join_all(b"PBE".map(|kind| lengths(Direction::ToServer, kind))).await;
}

/// Handshakes in which one length is wrong.
async fn lengths_of_a_handshake(kind: u8) {
    let mut chaos = Chaos::with(1, |config| config.pool.connect_timeout = 3 * SHORT).await;
    for length in LENGTHS {
        chaos.pool.retire_all();
        chaos.proxy.until(|seen| seen.open() == 0).await;
        chaos.proxy.set(Direction::ToClient, Toxic::length(kind, 1, length));
        let error = chaos.told_within(4 * SHORT).await;
        let told = matches!(error, AcquireError::OpenFailed { .. } | AcquireError::Timeout { failure: Some(_), .. });
        assert!(told, "{} of length {length}: {error}", char::from(kind));
        chaos.proxy.calm().await;
        recovers(&chaos).await;
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f047_no_length_in_a_handshake_harms_the_pool() {
    join_all(b"RSKZ".map(lengths_of_a_handshake)).await;
}

/// How many pools share the work.
const LANES: u64 = 4;

/// Flips every so manieth byte of an answer. Returns how many answers came all the same.
async fn flips(lane: u64) -> (u64, u64) {
    let mut chaos = impatient(1).await;
    chaos.fill(1).await;
    let before = chaos.proxy.seen().bytes(Direction::ToClient);
    drop(chaos.working().await);
    let all = chaos.proxy.seen().bytes(Direction::ToClient) - before;
    assert!((50..200).contains(&all), "one answer: {all}");
    let mut whole = 0;
    for offset in (0..all).filter(|offset| offset % LANES == lane) {
        let got = query(&mut chaos, Direction::ToClient, Toxic::Flip { offset, mask: 0x81 }).await;
        whole += u64::from(got == Some(42));
        recovers(&chaos).await;
    }
    invariants::hold(chaos).await;
    (whole, all)
}

#[tokio::test]
async fn f047_no_flipped_byte_of_an_answer_harms_the_pool() {
    let lanes = join_all((0..LANES).map(flips)).await;
    assert!(lanes.iter().map(|(whole, _)| whole).sum::<u64>() < lanes[0].1 / 2, "most bytes matter: {lanes:?}");
}
