//! F054, F055, F056, F057: the name of the server and its addresses, by a file of hosts that nobody sees outside.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pool_postgres::PostgresLease;

use crate::common::{Chaos, mount};
use crate::inside::sealed;
use crate::invariants;
use crate::network::Network;

const NAME: &str = "db.test";

/// What names mean.
struct Hosts(PathBuf);

impl Hosts {
    fn of(chaos: &Chaos) -> Self {
        let file = chaos.server.socket_dir().join("hosts");
        fs::write(&file, "").unwrap();
        mount(&["--bind", file.to_str().unwrap(), "/etc/hosts"]);
        Self(file)
    }

    /// The server's name has these addresses from now on, in this order.
    fn set(&self, addresses: &[&str]) {
        let lines: String = addresses.iter().flat_map(|address| [*address, " ", NAME, "\n"]).collect();
        // Written in place: it is this file that is mounted, and not its name.
        fs::write(&self.0, lines).unwrap();
    }
}

/// A pool that knows its server by name.
async fn start(network: Network) -> (Chaos, Hosts) {
    let chaos = Chaos::with(network, 3, |config| NAME.clone_into(&mut config.hosts[0].name)).await;
    let hosts = Hosts::of(&chaos);
    (chaos, hosts)
}

/// The address at which a session has reached the server.
async fn address(lease: &PostgresLease<'_>) -> String {
    lease.query_one("SELECT host(inet_server_addr())", &[]).await.unwrap().get(0)
}

#[test]
fn f054_a_name_that_cannot_be_looked_up_may_be_known_later() {
    sealed(async |network| {
        let (mut chaos, hosts) = start(network).await;
        chaos.in_a_hurry();
        let error = chaos.told().await;
        assert!(error.to_string().contains("looking up the host of db.test"), "{error}");
        hosts.set(&["127.0.0.1"]);
        chaos.patient();
        drop(chaos.working().await);
        invariants::hold(chaos).await;
    });
}

#[test]
fn f055_new_connections_follow_a_name_that_moves() {
    sealed(async |network| {
        let (chaos, hosts) = start(network).await;
        hosts.set(&["127.0.0.1"]);
        let old = chaos.working().await;
        assert_eq!(address(&old).await, "127.0.0.1");
        hosts.set(&["127.0.0.2"]);
        let new = chaos.working().await;
        assert_eq!((address(&old).await.as_str(), address(&new).await.as_str()), ("127.0.0.1", "127.0.0.2"));
        drop((old, new));
        // All that were opened before are replaced when nobody uses them.
        chaos.pool.retire_all();
        for _ in 0..3 {
            assert_eq!(address(&chaos.working().await).await, "127.0.0.2");
        }
        invariants::hold(chaos).await;
    });
}

#[test]
fn f057_an_address_where_nobody_listens_is_followed_by_the_next() {
    sealed(async |network| {
        let (chaos, hosts) = start(network).await;
        hosts.set(&["127.0.0.9", "127.0.0.2"]);
        assert_eq!(address(&chaos.working().await).await, "127.0.0.2");
        assert_eq!(chaos.pool.stats().open_failures, 0);
        invariants::hold(chaos).await;
    });
}

/// Each address has its part of the time, and that of those that say nothing is not the whole of it.
async fn found_behind(network: Network, silent: &[&str]) {
    let (chaos, hosts) = start(network).await;
    // A quarter of it has to do on a busy machine.
    chaos.reconfigure(|config| config.connect_timeout = Duration::from_secs(12));
    hosts.set(&[silent, &["127.0.0.2"]].concat());
    for address in silent {
        chaos.network.to_server(&format!("ip daddr {address}"), "drop");
    }
    assert_eq!(address(&chaos.working().await).await, "127.0.0.2");
    assert_eq!(chaos.pool.stats().open_failures, 0, "at the first attempt");
    chaos.network.heal();
    invariants::hold(chaos).await;
}

#[test]
fn f056_several_addresses_that_swallow_everything_leave_time_for_the_last() {
    sealed(async |network| found_behind(network, &["127.0.0.7", "127.0.0.8", "127.0.0.9"]).await);
}

#[test]
fn f057_an_address_that_swallows_everything_leaves_time_for_the_next() {
    sealed(async |network| found_behind(network, &["127.0.0.9"]).await);
}
