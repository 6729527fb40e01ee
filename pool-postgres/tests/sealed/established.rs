//! F034, F036, F041, F052, F053: what networks do to connections that have been established.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::join_all;
use pool_core::AcquireError;
use pool_postgres::EndCause;
use tokio::time::timeout;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::{Chaos, lost};
use crate::inside::sealed;
use crate::invariants;
use crate::network::Network;
use crate::users::SHORT;

/// The deadline is the user's; the pool closes what cannot be put in order, without waiting for a server that does not answer.
#[test]
fn f034_a_query_that_the_network_swallows_costs_one_connection() {
    sealed(async |network| {
        let mut chaos = Chaos::start(network, 2).await;
        let lease = chaos.pool.acquire_owned().await.unwrap();
        {
            let mut query = std::pin::pin!(lease.batch_execute("SELECT pg_sleep(5)"));
            tokio::select! {
                _ = &mut query => panic!("it takes longer"),
                () = eventually("the server is at it", async || chaos.watch.works_on("SELECT pg_sleep").await) => {}
            }
            chaos.network.swallow();
            assert!(timeout(SHORT, &mut query).await.is_err());
        }
        assert!(!lease.is_closed(), "nobody can know");
        drop(lease);
        eventually("its place is free", async || chaos.pool.stats().closed == 1).await;
        assert_eq!((chaos.pool.stats().errors.resets, chaos.pool.stats().broken), (1, 1));
        chaos.in_a_hurry();
        let error = chaos.refused().await;
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
        invariants::hold(chaos).await;
    });
}

/// The firewall says so to whoever sends something; the server does not learn of it.
#[test]
fn f036_a_reset_by_a_firewall_is_told_at_the_next_request() {
    sealed(async |network| {
        let mut chaos = Chaos::with(network, 3, |config| config.pool.health_check_interval = Some(SHORT)).await;
        chaos.fill(2).await;
        let lease = chaos.pool.acquire_owned().await.unwrap();
        chaos.in_a_hurry();
        chaos.network.to_server("", "reject with tcp reset");
        let error = answer(&lease, 1).await.unwrap_err();
        assert!(error.code().is_none(), "it is not the server that says so: {error:?}");
        assert_eq!(lost(&lease).await, EndCause::Network(ErrorKind::ConnectionReset));
        drop(lease);
        eventually("the idle one is found by a ping", async || chaos.pool.stats().closed == 2).await;
        let error = chaos.told().await;
        assert!(error.to_string().contains("refused"), "{error}");
        assert_eq!(invariants::hold(chaos).await.broken, 2);
    });
}

/// A tenth of all packets, both ways. What is lost is sent again by the system; nothing of that is taken for the end of a connection.
#[test]
fn f041_some_packets_that_are_lost_cost_no_connection() {
    sealed(async |network| {
        let chaos = Chaos::with(network, 4, |config| {
            let pool = &mut config.pool;
            (pool.check_after_idle, pool.health_check_interval) = (Some(Duration::from_millis(1)), Some(SHORT));
            // What is lost again and again is sent again later and later.
            (pool.check_timeout, pool.health_check_timeout) = (LIMIT, LIMIT);
            (pool.reset_timeout, pool.connect_timeout) = (LIMIT, LIMIT);
        })
        .await;
        chaos.network.to_server("numgen random mod 100 < 10", "drop");
        chaos.network.to_client("numgen random mod 100 < 10", "drop");
        let user = async |_| {
            for _ in 0..10 {
                drop(chaos.working().await);
            }
        };
        in_time("all are served", join_all((0..8).map(user))).await;
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.broken, stats.errors.pings, stats.open_failures, stats.opened), (0, 0, 0, 4), "{stats:?}");
    });
}

/// The only link. Attempts fail meanwhile; what was sent before arrives when it is back.
#[test]
fn f052_a_link_that_comes_back_has_lost_nothing() {
    sealed(async |network| {
        let mut chaos = Chaos::start(network, 3).await;
        chaos.fill(1).await;
        let lease = chaos.pool.acquire_owned().await.unwrap();
        chaos.in_a_hurry();
        chaos.network.link("down");
        let error = chaos.told().await;
        assert!(error.to_string().contains("last failure"), "{error}");
        {
            let mut query = std::pin::pin!(answer(&lease, 7));
            assert!(timeout(SHORT, &mut query).await.is_err());
            chaos.network.link("up");
            assert_eq!(query.await.unwrap(), 8);
        }
        drop(lease);
        assert_eq!(invariants::hold(chaos).await.broken, 0);
    });
}

/// A large request, or a large answer, does not pass.
async fn large_packets_are_swallowed(chaos: &Chaos, question: &str) {
    let lease = chaos.working().await;
    chaos.network.to_server("meta length > 600", "drop");
    chaos.network.to_client("meta length > 600", "drop");
    assert!(timeout(SHORT, lease.simple_query(question)).await.is_err());
    drop(lease);
    eventually("it cannot be put in order and is closed", async || chaos.pool.stats().closed == 1).await;
}

/// Beside a connection in use, which goes on. All that is small passes, a new connection among it.
async fn others_go_on(network: Network, question: &str) {
    let chaos = Chaos::start(network, 3).await;
    chaos.fill(2).await;
    let other = chaos.pool.acquire_owned().await.unwrap();
    large_packets_are_swallowed(&chaos, question).await;
    assert_eq!(answer(&other, 1).await.unwrap(), 2);
    drop(chaos.working().await);
    drop(other);
    assert_eq!(invariants::hold(chaos).await.broken, 1);
}

#[test]
fn f053_a_large_request_does_not_pass() {
    sealed(async |network| {
        others_go_on(network, &format!("SELECT length('{}')", "x".repeat(2000))).await;
    });
}

#[test]
fn f053_a_large_answer_does_not_pass() {
    sealed(async |network| {
        others_go_on(network, "SELECT repeat('x', 2000)").await;
    });
}
