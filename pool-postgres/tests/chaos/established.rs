//! F034, F036, F038, F039, F040: what happens to connections that have been established.

use std::time::Duration;

use pool_core::AcquireError;
use pool_postgres::PostgresOwnedLease;
use pool_testkit::proxy::{Direction, End, Toxic};
use tokio::time::timeout;

use crate::asking::{answer, eventually};
use crate::common::{Chaos, impatient};
use crate::invariants;
use crate::users::SHORT;

/// A pool that gives up soon, and so do its users.
async fn hasty(max_size: usize) -> Chaos {
    let chaos = impatient(max_size).await;
    chaos.hurry(2 * SHORT, 4 * SHORT);
    chaos
}

/// Of two connections that are lost, one is in use, and its user is told at once; nobody else is given one of them. Returns what the user is told.
async fn both_are_lost(chaos: &mut Chaos, lease: PostgresOwnedLease) -> tokio_postgres::Error {
    let error = answer(&lease, 1).await.unwrap_err();
    chaos.note(&error);
    eventually("the connection is known to be lost", async || lease.is_closed()).await;
    drop(lease);
    eventually("the idle one is known to be lost", async || chaos.pool.state().size == 0).await;
    drop(chaos.working().await);
    assert_eq!(chaos.pool.stats().broken, 2);
    error
}

/// One connection in use and one idle.
async fn two() -> (Chaos, PostgresOwnedLease) {
    let chaos = Chaos::start(3).await;
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    (chaos, lease)
}

async fn cut_off(end: End) {
    let (mut chaos, lease) = two().await;
    chaos.proxy.cut_all(end).await;
    let error = both_are_lost(&mut chaos, lease).await;
    assert!(error.code().is_none(), "it is not the server that says so: {error:?}");
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f036_a_reset_is_noticed_at_once() {
    cut_off(End::Reset).await;
}

#[tokio::test]
async fn f038_an_end_from_both_sides_is_noticed_at_once() {
    cut_off(End::Close).await;
}

#[tokio::test]
async fn f038_a_server_that_ends_its_side_is_gone() {
    let (mut chaos, lease) = two().await;
    chaos.proxy.set(Direction::ToClient, Toxic::HalfClose);
    chaos.proxy.until(|seen| seen.struck == 2).await;
    chaos.proxy.calm().await;
    let error = both_are_lost(&mut chaos, lease).await;
    assert!(error.is_closed(), "{error:?}");
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f039_a_peer_that_has_gone_without_a_word_is_found_by_a_check() {
    let chaos = impatient(3).await;
    chaos.fill(2).await;
    // Before anything is checked, which may take too long on a busy machine.
    let lease = chaos.working().await;
    let mut config = (*chaos.pool.config()).clone();
    config.check_after_idle = Some(Duration::from_millis(1));
    chaos.pool.reconfigure(config).unwrap();
    chaos.proxy.cut_all(End::Silence).await;
    // Whoever uses one has to look at the clock; whoever comes next is given another.
    assert!(timeout(SHORT, answer(&lease, 1)).await.is_err());
    drop(lease);
    drop(chaos.working().await);
    eventually("both are closed", async || chaos.pool.stats().closed == 2).await;
    assert_eq!(chaos.pool.stats().broken, 2);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f039_a_peer_that_has_gone_without_a_word_is_found_by_a_ping() {
    let chaos = impatient(2).await;
    chaos.fill(2).await;
    let mut config = (*chaos.pool.config()).clone();
    config.health_check_interval = Some(SHORT);
    chaos.pool.reconfigure(config).unwrap();
    chaos.proxy.cut_all(End::Silence).await;
    eventually("nobody asked, and both are closed", async || chaos.pool.stats().closed == 2).await;
    assert_eq!(chaos.pool.stats().errors.pings, 2);
    invariants::hold(chaos).await;
}

/// A network that swallows what goes these ways, from when the server is at work on a query. The deadline is the user's.
async fn swallowed_in_a_query(chaos: &Chaos, lease: &PostgresOwnedLease, directions: &[Direction]) {
    // A while for the server, which cannot hear that nobody waits any more.
    let mut query = std::pin::pin!(lease.batch_execute("SELECT pg_sleep(5)"));
    tokio::select! {
        _ = &mut query => panic!("it takes longer"),
        () = eventually("the server is at it", async || chaos.watch.works_on("SELECT pg_sleep").await) => {}
    }
    for direction in directions {
        chaos.proxy.set(*direction, Toxic::Drop);
    }
    assert!(timeout(SHORT, &mut query).await.is_err());
}

/// What cannot be reset is closed, without waiting for a server that does not answer. Nobody gets in, and is told so in time.
async fn given_up(mut chaos: Chaos, lease: PostgresOwnedLease) {
    assert!(!lease.is_closed(), "nobody can know");
    drop(lease);
    eventually("its place is free", async || chaos.pool.stats().closed == 1).await;
    assert_eq!((chaos.pool.stats().errors.resets, chaos.pool.stats().broken), (1, 1));
    let error = chaos.told().await;
    assert!(matches!(error, AcquireError::Timeout { failure: Some(_), .. }), "{error}");
    invariants::hold(chaos).await;
}

async fn swallowed(directions: &[Direction]) {
    let chaos = hasty(2).await;
    chaos.fill(1).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    swallowed_in_a_query(&chaos, &lease, directions).await;
    given_up(chaos, lease).await;
}

#[tokio::test]
async fn f034_a_query_is_swallowed_with_its_answer() {
    swallowed(&Direction::BOTH).await;
}

#[tokio::test]
async fn f040_answers_alone_are_swallowed() {
    swallowed(&[Direction::ToClient]).await;
}

#[tokio::test]
async fn f040_requests_alone_are_swallowed() {
    let chaos = hasty(2).await;
    chaos.fill(1).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos.proxy.set(Direction::ToServer, Toxic::Drop);
    assert!(timeout(SHORT, answer(&lease, 1)).await.is_err());
    given_up(chaos, lease).await;
}

#[tokio::test]
async fn f034_a_partition_that_heals_in_time_costs_nothing() {
    let chaos = Chaos::start(2).await;
    chaos.fill(1).await;
    let lease = chaos.working().await;
    chaos.proxy.set_both(Toxic::Hold);
    {
        let mut query = std::pin::pin!(answer(&lease, 7));
        assert!(timeout(SHORT, &mut query).await.is_err());
        chaos.proxy.calm().await;
        assert_eq!(query.await.unwrap(), 8);
    }
    drop(lease);
    assert_eq!(invariants::hold(chaos).await.broken, 0);
}
