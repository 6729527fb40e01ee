//! Somebody who watches what the server has, by its Unix socket, to which nothing happens. Shared by tests without a proxy.
//!
//! I1 is asked again and again. Where connections are lost, a session counts whose client is there: one whose client was told that it is lost lives on at the server until that
//! notices, and no pool can know of that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::users::PASSWORD;

/// What the pool calls its sessions.
pub(crate) const NAME: &str = "pool that is watched";
/// How long after a look the next one is taken.
const PAUSE: Duration = Duration::from_millis(3);

/// Watches the sessions of the pool, which it tells by their name.
pub(crate) struct Watch {
    client: Arc<Client>,
    sampler: Mutex<Option<JoinHandle<()>>>,
    /// The most sessions at a time that a look has found.
    most: Arc<AtomicUsize>,
}

impl Watch {
    /// Connects to the server itself.
    pub(crate) async fn start(server: &EphemeralPostgres) -> Self {
        let mut config = Config::new();
        config.host_path(server.socket_dir()).port(server.port()).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.expect("a session to watch from");
        tokio::spawn(connection);
        let role = format!("CREATE ROLE chaos LOGIN PASSWORD {}", literal(PASSWORD));
        client.batch_execute(&role).await.expect("the pool's role");
        Self { client: Arc::new(client), sampler: Mutex::default(), most: Arc::default() }
    }

    /// Looks from now on, all the time. `clients` tells the ports of those that are there, or nothing where none can be lost.
    pub(crate) fn begin(&self, max_size: usize, clients: impl Fn() -> Option<Vec<u16>> + Send + 'static) {
        let (client, most) = (Arc::clone(&self.client), Arc::clone(&self.most));
        let task = tokio::spawn(async move {
            loop {
                let before = clients();
                let sessions = sessions(&client).await;
                let looks = [before, clients()];
                let is_there = |port| looks.iter().flatten().all(|clients| clients.contains(port));
                let live = sessions.iter().filter(|port| is_there(port)).count();
                assert!(live <= max_size, "I1: {live} sessions on the server, at most {max_size} are allowed");
                most.fetch_max(live, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        });
        *self.sampler.lock().unwrap() = Some(task);
    }

    /// The session to watch from.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How many sessions of the pool the server has.
    pub(crate) async fn sessions(&self) -> usize {
        sessions(&self.client).await.len()
    }

    /// Whether the server works for the pool on a statement that begins like this.
    pub(crate) async fn works_on(&self, statement: &str) -> bool {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND starts_with(query, $2)";
        let row = self.client.query_one(count, &[&NAME, &statement]).await.expect("the server counts");
        row.get::<_, i64>(0) > 0
    }

    /// The most sessions at a time that a look has found.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Looks no more. Fails if a look has found too many.
    pub(crate) async fn end(&self) {
        let sampler = self.sampler.lock().unwrap().take().expect("it was begun");
        if sampler.is_finished() {
            sampler.await.expect("what the server saw");
        } else {
            sampler.abort();
        }
    }
}

/// The ports of the sessions of the pool.
async fn sessions(client: &Client) -> Vec<u16> {
    let ports = "SELECT client_port FROM pg_stat_activity WHERE application_name = $1";
    let rows = client.query(ports, &[&NAME]).await.expect("the server counts");
    rows.iter().filter_map(|row| u16::try_from(row.get::<_, Option<i32>>(0)?).ok()).collect()
}
