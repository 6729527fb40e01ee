//! F032, F035, F037: networks in which nobody gets through to the server.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::asking::{LIMIT, answer, in_time};
use crate::common::Chaos;
use crate::inside::sealed;
use crate::invariants;
use crate::users::SLACK;

/// Connects are answered like this; somebody who has a connection is not concerned.
async fn beside_one_in_use(mut chaos: Chaos, verdict: &str, said: &str) {
    chaos.fill(1).await;
    let held = chaos.pool.acquire_owned().await.unwrap();
    chaos.in_a_hurry();
    chaos.network.to_server("tcp flags syn", verdict);
    let error = chaos.told().await;
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    drop(held);
    drop(chaos.working().await);
    let stats = invariants::hold(chaos).await;
    assert!(stats.open_failures > 0 && stats.broken == 0, "{stats:?}");
}

#[test]
fn f032_connects_that_are_swallowed_end_in_time() {
    sealed(async |network| {
        beside_one_in_use(Chaos::start(network, 3).await, "drop", "connect took longer than 300ms").await;
    });
}

#[test]
fn f035_connects_that_a_firewall_refuses_are_tried_again() {
    sealed(async |network| {
        beside_one_in_use(Chaos::start(network, 3).await, "reject with tcp reset", "refused").await;
    });
}

#[test]
fn f037_a_host_that_cannot_be_reached_is_tried_again() {
    sealed(async |network| {
        let chaos = Chaos::start(network, 3).await;
        beside_one_in_use(chaos, "reject with icmpx type host-unreachable", "No route to host").await;
    });
}

/// What is said of a host that is there again is no end for connections that are in use.
#[test]
fn f037_a_host_that_comes_back_has_kept_its_connections() {
    sealed(async |network| {
        let chaos = Chaos::start(network, 2).await;
        chaos.fill(1).await;
        let lease = chaos.working().await;
        chaos.network.to_server("", "reject with icmpx type host-unreachable");
        {
            let mut query = std::pin::pin!(answer(&lease, 7));
            let waited = tokio::time::timeout(crate::users::SHORT, &mut query).await;
            assert!(waited.is_err(), "the network may be about to find another way: {waited:?}");
            chaos.heal().await;
            assert_eq!(query.await.unwrap(), 8);
        }
        drop(lease);
        assert_eq!(invariants::hold(chaos).await.broken, 0);
    });
}

/// Whoever waits is told in time, whatever the pool is at: a connect, a check, or nothing. There is one who waits for longer than it lasts.
#[test]
fn f032_no_acquire_outlives_its_deadline_when_the_network_is_unplugged() {
    sealed(async |network| {
        let chaos = Chaos::with(network, 4, |config| {
            config.pool.check_after_idle = Some(Duration::from_millis(1));
        })
        .await;
        chaos.fill(3).await;
        let held = chaos.pool.acquire_owned().await.unwrap();
        chaos.network.swallow();
        chaos.age().await;
        let deadlines = (1..=20).map(async |number| {
            let (limit, started) = (Duration::from_millis(25 * number), Instant::now());
            let outcome = chaos.pool.acquire_timeout(limit).await.map(drop);
            (outcome.is_err(), started.elapsed().saturating_sub(limit))
        });
        let patient = chaos.pool.acquire_timeout(LIMIT);
        let unplugged = async {
            let late = in_time("all are told", join_all(deadlines)).await;
            chaos.network.heal();
            late
        };
        let (patient, late) = tokio::join!(patient, unplugged);
        assert!(late.iter().all(|(is_err, _)| *is_err), "{late:?}");
        let latest = late.iter().map(|(_, late)| *late).max().unwrap();
        eprintln!("measured: {latest:?} after its deadline the last of 20 acquires was told");
        assert!(latest < SLACK, "{late:?}");
        assert_eq!(answer(&patient.unwrap(), 1).await.unwrap(), 2);
        drop(held);
        invariants::hold(chaos).await;
    });
}
