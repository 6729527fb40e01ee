//! Somebody who watches what the server has, by a session of its own that does not go through the proxy.
//!
//! I1 is asked whenever a connection comes or goes or has logged in. A session counts whose client is there: one that was cut at the proxy lives on at the server until it
//! notices, and no pool can know of that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pool_testkit::proxy::{Direction, Frame, Proxy, Seen};
use pool_testkit::secrets::literal;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::users::PASSWORD;

/// Watches the sessions of one pool, which it tells by their name.
pub(crate) struct Watch {
    client: Arc<Client>,
    name: String,
    sampler: Mutex<Option<JoinHandle<()>>>,
    /// The most sessions at a time that a look has found.
    most: Arc<AtomicUsize>,
}

impl Watch {
    /// Connects to the server itself.
    pub(crate) async fn start(url: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::on(url, format!("pool {} under chaos", NEXT.fetch_add(1, Ordering::Relaxed))).await
    }

    /// As [`start`](Self::start), for a pool that is there.
    pub(crate) async fn on(url: &str, name: String) -> Self {
        let url = format!("{url}?application_name=watch");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a session to watch from");
        tokio::spawn(connection);
        let role = format!(
            "DO $$ BEGIN CREATE ROLE chaos LOGIN PASSWORD {}; EXCEPTION WHEN OTHERS THEN NULL; END $$",
            literal(PASSWORD)
        );
        client.batch_execute(&role).await.expect("the pool's role");
        Self { client: Arc::new(client), name, sampler: Mutex::default(), most: Arc::default() }
    }

    /// Somebody who may do everything, and does not go through the proxy.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the pool has to call its sessions.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Looks from now on whenever a connection comes or goes, or the server is ready for something.
    pub(crate) fn begin(&self, proxy: &Proxy, max_size: usize) {
        let (client, name, most) = (Arc::clone(&self.client), self.name.clone(), Arc::clone(&self.most));
        let mut seen = proxy.watch();
        let task = tokio::spawn(async move {
            loop {
                let (before, ready) = moment(&seen.borrow_and_update());
                let sessions = sessions(&client, &name).await;
                let (after, _) = moment(&seen.borrow());
                let live = sessions.iter().filter(|port| before.contains(port) && after.contains(port)).count();
                assert!(live <= max_size, "I1: {live} sessions on the server, at most {max_size} are allowed");
                most.fetch_max(live, Ordering::Relaxed);
                if seen.wait_for(|seen| moment(seen) != (after.clone(), ready)).await.is_err() {
                    return;
                }
            }
        });
        *self.sampler.lock().unwrap() = Some(task);
    }

    /// How many sessions of the pool the server has.
    pub(crate) async fn sessions(&self) -> usize {
        sessions(&self.client, &self.name).await.len()
    }

    /// Runs statements as the server's owner.
    pub(crate) async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("the server does it");
    }

    /// Ends all sessions of the pool; says how many there were.
    pub(crate) async fn terminate(&self) -> usize {
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        self.client.query(all, &[&self.name]).await.expect("the server ends them").len()
    }

    /// Whether the server works for the pool on a statement that begins like this.
    pub(crate) async fn works_on(&self, statement: &str) -> bool {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND starts_with(query, $2)";
        let row = self.client.query_one(count, &[&self.name, &statement]).await.expect("the server counts");
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

/// The connections that are there, and how often the server has been ready: only then it shows a session that has logged in. Of what is encrypted, the proxy sees no more than how
/// much has come.
fn moment(seen: &Seen) -> (BTreeSet<u16>, u64) {
    let ready = seen.frames(Direction::ToClient, b'Z');
    let is_encrypted = ready == 0 && seen.frames(Direction::ToClient, Frame::ENCRYPTION_ANSWER) > 0;
    (seen.ports(), if is_encrypted { seen.bytes(Direction::ToClient) } else { ready })
}

/// The ports of the sessions of the pool.
async fn sessions(client: &Client, name: &str) -> Vec<u16> {
    let ports = "SELECT client_port FROM pg_stat_activity WHERE application_name = $1";
    let rows = client.query(ports, &[&name]).await.expect("the server counts");
    rows.iter().filter_map(|row| u16::try_from(row.get::<_, Option<i32>>(0)?).ok()).collect()
}
