//! F033: a connection on which nobody sends anything is swallowed. Who finds that out: the pool, or the operating system.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use pool_postgres::{EndCause, PostgresConfig};

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, lost};
use crate::inside::sealed;
use crate::invariants;
use crate::network::Network;
use crate::users::SHORT;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn f033_a_swallowed_connection_is_found_by_a_ping() {
    sealed(async |network| {
        let chaos = Chaos::with(network, 2, |config| config.pool.health_check_interval = Some(SHORT)).await;
        chaos.fill(2).await;
        chaos.in_a_hurry();
        chaos.network.swallow();
        eventually("nobody asked, and both are closed", async || chaos.pool.stats().closed == 2).await;
        assert_eq!(chaos.pool.stats().errors.pings, 2);
        invariants::hold(chaos).await;
    });
}

#[test]
fn f033_a_swallowed_connection_is_found_by_a_check() {
    sealed(async |network| {
        let mut chaos =
            Chaos::with(network, 2, |config| config.pool.check_after_idle = Some(Duration::from_millis(1))).await;
        chaos.fill(2).await;
        chaos.in_a_hurry();
        chaos.network.swallow();
        chaos.age().await;
        let error = chaos.refused().await;
        assert!(matches!(error, pool_core::AcquireError::Timeout { .. }), "{error}");
        eventually("it was not handed out", async || chaos.pool.stats().broken >= 1).await;
        invariants::hold(chaos).await;
    });
}

/// The pool looks after nothing here.
async fn left_to_the_system(network: Network, keywords: &str) -> Chaos {
    let more: PostgresConfig = keywords.parse().unwrap();
    Chaos::with(network, 2, |config| {
        config.pool.health_check_interval = None;
        config.keepalives = more.keepalives;
        (config.keepalives_idle, config.keepalives_interval) = (more.keepalives_idle, more.keepalives_interval);
        (config.keepalives_count, config.tcp_user_timeout) = (more.keepalives_count, more.tcp_user_timeout);
    })
    .await
}

/// The server has the word, so nothing is sent that could go unacknowledged.
#[test]
fn f033_keepalive_ends_a_query_whose_server_is_gone() {
    sealed(async |network| {
        let chaos = left_to_the_system(network, "keepalives_idle=1 keepalives_interval=1 keepalives_count=2").await;
        let lease = chaos.working().await;
        let mut query = Box::pin(lease.batch_execute("SELECT pg_sleep(600)"));
        tokio::select! {
            _ = &mut query => panic!("it takes longer"),
            () = eventually("the server is at it", async || chaos.watch.works_on("SELECT pg_sleep").await) => {}
        }
        chaos.network.swallow();
        let started = Instant::now();
        let error = in_time("the system finds out", query).await.unwrap_err();
        eprintln!(
            "measured: {:?} until keepalive of 1 s, every 1 s, 2 times, has found a dead network",
            started.elapsed()
        );
        assert!(started.elapsed() > SECOND, "not before the system has asked");
        assert!(error.code().is_none(), "it is not the server that says so: {error:?}");
        assert_eq!(lost(&lease).await, EndCause::Network(ErrorKind::TimedOut));
        drop(lease);
        assert_eq!(invariants::hold(chaos).await.broken, 1);
    });
}

#[test]
fn f033_the_user_timeout_ends_a_request_that_nobody_acknowledges() {
    sealed(async |network| {
        let chaos = left_to_the_system(network, "keepalives=0 tcp_user_timeout=500").await;
        let lease = chaos.working().await;
        chaos.network.swallow();
        let started = Instant::now();
        let error = answer(&lease, 1).await.unwrap_err();
        eprintln!("measured: {:?} until a TCP user timeout of 500 ms has found a dead network", started.elapsed());
        assert!(error.code().is_none(), "it is not the server that says so: {error:?}");
        assert_eq!(lost(&lease).await, EndCause::Network(ErrorKind::TimedOut));
        drop(lease);
        assert_eq!(invariants::hold(chaos).await.broken, 1);
    });
}
