//! F044, F045: faults while a client is let in: encryption declined, a password checked, settings told.

use std::time::Duration;

use futures_util::future::join_all;
use pool_core::{AcquireError, OpenFailure};
use pool_testkit::proxy::{Direction, End, Toxic};

use crate::common::{Chaos, handshake};
use crate::invariants;

/// How many pools share the work.
const LANES: u64 = 4;

async fn cut_after_every_byte(direction: Direction) {
    join_all((0..LANES).map(|lane| cut_after(direction, lane))).await;
}

/// One attempt is cut after so many bytes: the next one succeeds, and nobody notices.
async fn cut_once(chaos: &Chaos, direction: Direction, bytes: u64, end: End) {
    chaos.proxy.until(|seen| seen.open() == 0).await;
    let failures = chaos.pool.stats().open_failures;
    chaos.proxy.set_once(direction, Toxic::CutAfter { bytes, end });
    let lease = chaos.acquire().await.unwrap_or_else(|error| panic!("cut after {bytes} bytes: {error}"));
    assert_eq!(chaos.pool.stats().open_failures, failures + 1, "cut after {bytes} bytes");
    lease.discard();
}

/// What is told when the last byte is missing: by then the password has been sent.
async fn told(chaos: &mut Chaos, direction: Direction, bytes: u64) {
    chaos.proxy.calm().await;
    drop(chaos.working().await);
    let stats = chaos.pool.stats();
    assert_eq!((stats.errors.open_transient, stats.broken), (stats.open_failures, stats.open_failures));
    chaos.proxy.set(direction, Toxic::CutAfter { bytes, end: End::Reset });
    chaos.pool.retire_all();
    let error = chaos.told_within(Duration::from_millis(500)).await;
    assert!(error.to_string().contains("logging in of 127.0.0.1"), "{error}");
}

/// Cuts attempts after every so manieth number of bytes of this direction.
async fn cut_after(direction: Direction, lane: u64) {
    let mut chaos = Chaos::start(1).await;
    let all = handshake(&chaos).await[usize::from(direction == Direction::ToClient)];
    assert!(all > 100, "a whole handshake: {all}");
    chaos.pool.retire_all();
    for bytes in (0..all).filter(|bytes| bytes % LANES == lane) {
        let end = if (bytes / LANES).is_multiple_of(2) { End::Close } else { End::Reset };
        cut_once(&chaos, direction, bytes, end).await;
    }
    told(&mut chaos, direction, all - 1).await;
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f045_the_handshake_is_cut_after_every_byte_of_the_client() {
    cut_after_every_byte(Direction::ToServer).await;
}

#[tokio::test]
async fn f045_the_handshake_is_cut_after_every_byte_of_the_server() {
    cut_after_every_byte(Direction::ToClient).await;
}

#[tokio::test]
async fn f044_a_handshake_that_drips_ends_at_the_connect_timeout() {
    const CONNECT: Duration = Duration::from_millis(300);
    let mut chaos = Chaos::with(2, |config| {
        config.pool.connect_timeout = CONNECT;
        config.pool.acquire_timeout = Duration::from_secs(1);
    })
    .await;
    chaos.proxy.set(Direction::ToClient, Toxic::Slice { bytes: 1, pause: Duration::from_millis(100) });
    let AcquireError::Timeout { failure: Some(failure), .. } = chaos.told().await else { panic!("a timeout") };
    assert!(matches!(*failure, OpenFailure::TimedOut { after: CONNECT, .. }), "{failure}");
    assert!(chaos.pool.stats().errors.open_timeouts > 0);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f044_rows_that_drip_are_put_together() {
    let chaos = Chaos::start(1).await;
    chaos.fill(1).await;
    chaos.proxy.set_both(Toxic::Slice { bytes: 1, pause: Duration::ZERO });
    let lease = chaos.working().await;
    // The body of a row looks like messages.
    let rows = lease.query("SELECT repeat('Z\u{1}E', 30), n FROM generate_series(1, 20) n", &[]).await.unwrap();
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row.get::<_, &str>(0).len() == 90));
    lease.batch_execute("BEGIN; SELECT 'I'").await.unwrap();
    drop(lease);
    let lease = chaos.working().await;
    assert!(lease.batch_execute("SAVEPOINT s").await.is_err(), "rolled back");
    drop(lease);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.closed), (1, 0), "the status was followed byte by byte");
}
