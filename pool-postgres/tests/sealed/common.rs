//! What the tests share: a pool, a server of its own, and the network between them.

use std::process::Command;
use std::time::Duration;

use pool_postgres::{EndCause, PostgresConfig, PostgresConnection, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::asking::{eventually, in_time};

use crate::network::{Network, connections_to};
use crate::users::{SHORT, impatient, settings};
use crate::watch::{NAME, Watch};

/// A pool and its server, with a network between them to which anything may happen.
pub(crate) struct Chaos {
    pub(crate) pool: PostgresPool,
    pub(crate) network: Network,
    pub(crate) watch: Watch,
    /// What errors and debug texts have said.
    pub(crate) said: Vec<String>,
    pub(crate) server: EphemeralPostgres,
}

/// A server that notices within seconds that its clients have gone without a word.
fn server() -> EphemeralPostgres {
    let hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.0/8 scram-sha-256\n";
    let builder = EphemeralPostgres::builder().hba(hba).setting("listen_addresses", "127.0.0.1,127.0.0.2");
    let builder = builder.setting("tcp_keepalives_idle", "1").setting("tcp_keepalives_interval", "1");
    let builder = builder.setting("tcp_keepalives_count", "2").setting("client_connection_check_interval", "100ms");
    builder.start().expect("a real server")
}

impl Chaos {
    /// A pool of at most `max_size` connections, that keeps none, is quick to try again and gives up soon. Nothing is open yet.
    pub(crate) async fn start(network: Network, max_size: usize) -> Self {
        Self::with(network, max_size, |_| {}).await
    }

    /// As [`start`](Self::start), with other settings.
    pub(crate) async fn with(mut network: Network, max_size: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let server = server();
        network.attend(server.port());
        let watch = Watch::start(&server).await;
        let mut config = settings(server.port(), NAME, max_size);
        impatient(&mut config);
        change(&mut config);
        let port = server.port();
        watch.begin(config.pool.max_size, move || Some(connections_to(port)));
        let mut said = vec![format!("{config:?}")];
        let pool = PostgresPool::connect_lazy(config).expect("settings that work");
        said.push(format!("{pool:?} {:?}", pool.driver()));
        Self { pool, network, watch, said, server }
    }

    /// Nothing is in the way any more.
    pub(crate) async fn heal(&self) {
        self.network.heal();
        in_time("the server is there", self.watch.sessions()).await;
    }

    /// Idle connections become old enough to be checked: ages are kept to the second.
    pub(crate) async fn age(&self) {
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    /// Attempts and waits that are given up soon, from now on.
    pub(crate) fn in_a_hurry(&self) {
        self.hurry(2 * SHORT, 4 * SHORT);
    }
}

/// Mounts something that nobody sees outside.
pub(crate) fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
}

/// Why a connection is lost, once that is known.
pub(crate) async fn lost(connection: &PostgresConnection) -> EndCause {
    eventually("it is known to be lost", async || connection.ended().is_some()).await;
    connection.ended().unwrap().cause
}
