//! What holds after every fault, as far as that can be seen from outside. The names are those of `docs/invariants.md`.
//!
//! I1 is asked of the server, by a session of its own that does not go through the proxy, whenever a connection comes or goes or has logged in. A session counts whose client is there: one that
//! was cut at the proxy lives on at the server until it notices, and no pool can know of that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pool_core::Stats;
use pool_postgres::PostgresLease;
use pool_testkit::proxy::{Direction, Proxy, Seen};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::common::{Chaos, LIMIT, PASSWORD, eventually, in_time};

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
        let name = format!("pool {} under chaos", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = format!("{url}?application_name=watch");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a session to watch from");
        tokio::spawn(connection);
        let role = format!(
            "DO $$ BEGIN CREATE ROLE chaos LOGIN PASSWORD '{PASSWORD}'; EXCEPTION WHEN OTHERS THEN NULL; END $$"
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

    /// Whether the server works for the pool on a statement that begins like this.
    pub(crate) async fn works_on(&self, statement: &str) -> bool {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND starts_with(query, $2)";
        let row = self.client.query_one(count, &[&self.name, &statement]).await.expect("the server counts");
        row.get::<_, i64>(0) > 0
    }

    async fn end(&self) {
        let sampler = self.sampler.lock().unwrap().take().expect("it was begun");
        if sampler.is_finished() {
            sampler.await.expect("what the server saw");
        } else {
            sampler.abort();
        }
    }
}

/// The connections that are there, and how often the server has been ready: only then it shows a session that has logged in.
fn moment(seen: &Seen) -> (BTreeSet<u16>, u64) {
    (seen.ports(), seen.frames(Direction::ToClient, b'Z'))
}

/// The ports of the sessions of the pool.
async fn sessions(client: &Client, name: &str) -> Vec<u16> {
    let ports = "SELECT client_port FROM pg_stat_activity WHERE application_name = $1";
    let rows = client.query(ports, &[&name]).await.expect("the server counts");
    rows.iter().filter_map(|row| u16::try_from(row.get::<_, Option<i32>>(0)?).ok()).collect()
}

/// Proves that the fault has left nothing behind. It is over now.
pub(crate) async fn hold(chaos: Chaos) -> Stats {
    chaos.proxy.calm().await;
    let leases = everything_can_be_had(&chaos).await;
    nobody_is_left_over(&chaos, leases);
    close(chaos).await
}

/// The part of it that holds of a pool that can have no connections, too.
pub(crate) async fn close(mut chaos: Chaos) -> Stats {
    let stats = books_agree(&chaos).await;
    close_ends(&chaos).await;
    chaos.watch.end().await;
    nothing_is_told(&mut chaos);
    stats
}

/// I3, I15: all connections can be had at once. I2, I7, I8: each is another, is in no transaction, and answers what it is asked.
async fn everything_can_be_had(chaos: &Chaos) -> Vec<PostgresLease<'_>> {
    let max_size = chaos.pool.config().max_size;
    let mut backends = BTreeSet::new();
    let mut leases = Vec::new();
    let deadline = tokio::time::Instant::now() + LIMIT;
    while leases.len() < max_size {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let lease = match chaos.pool.acquire_timeout(left).await {
            Ok(lease) => lease,
            Err(error) => panic!("I3: only {} can be had: {error}", leases.len()),
        };
        match in_time("an answer", check(&lease, leases.len())).await {
            Ok(backend) => {
                assert!(backends.insert(backend), "I2: {backend} is in two hands");
                leases.push(lease);
            }
            // It was lost while it lay idle, and nobody has noticed yet.
            Err(error) if error.code().is_none() => {}
            Err(error) => panic!("I7: a connection that does not work: {error:?}"),
        }
    }
    eventually("I1: the server has no other sessions", async || chaos.watch.sessions().await == max_size).await;
    eventually("I1: whoever looks sees them all", async || chaos.watch.most.load(Ordering::Relaxed) == max_size).await;
    leases
}

async fn check(lease: &PostgresLease<'_>, number: usize) -> Result<i32, tokio_postgres::Error> {
    let number = i32::try_from(number).unwrap();
    let question = "SELECT $1::int, pg_backend_pid(), pg_current_xact_id_if_assigned() IS NULL";
    let row = lease.query_one(question, &[&number]).await?;
    assert_eq!(row.get::<_, i32>(0), number, "I8: the answer to another question");
    assert!(row.get::<_, bool>(2), "I7: inside of a transaction");
    let outside = lease.batch_execute("SAVEPOINT here").await.expect_err("I7: inside of a transaction");
    if outside.code().is_none() {
        return Err(outside);
    }
    assert_eq!(outside.code(), Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION), "I7");
    Ok(row.get(1))
}

/// I4: nobody waits. Whoever cannot have a connection now is told so, and does not stay in the queue.
fn nobody_is_left_over(chaos: &Chaos, leases: Vec<PostgresLease<'_>>) {
    let state = chaos.pool.state();
    assert_eq!((state.leased, state.waiting, state.idle), (leases.len(), 0, 0), "I3, I4: {state}");
    drop(leases);
}

/// I16: whatever was opened is there or was closed, for one reason. I13: nothing has panicked.
async fn books_agree(chaos: &Chaos) -> Stats {
    let at_rest = || {
        let state = chaos.pool.state();
        state.leased + state.opening + state.in_maintenance + state.waiting == 0
    };
    eventually("the pool is at rest", async || at_rest()).await;
    let stats = chaos.pool.stats();
    assert_eq!(stats.opened, stats.closed + stats.state.size as u64, "I16: {stats:?}");
    assert_eq!(stats.closes().iter().map(|(_, closed)| closed).sum::<u64>(), stats.closed, "I22: {stats:?}");
    assert_eq!((stats.errors.open_panics, stats.errors.inspections), (0, 0), "I13: {stats:?}");
    stats
}

/// I9: a close ends, and the server has no session left.
async fn close_ends(chaos: &Chaos) {
    in_time("I9: the close ends", chaos.pool.disconnect()).await;
    eventually("I9: no session is left", async || chaos.watch.sessions().await == 0).await;
    let stats = chaos.pool.stats();
    assert_eq!((stats.opened, stats.state.size), (stats.closed, 0), "I16: {stats:?}");
    assert!(chaos.pool.acquire().await.is_err(), "it stays closed");
}

/// I11: no secret is told.
fn nothing_is_told(chaos: &mut Chaos) {
    let (pool, stats) = (&chaos.pool, chaos.pool.stats());
    chaos.said.push(format!("{pool:?} {stats:?} {:?}", pool.driver()));
    for text in &chaos.said {
        assert!(!text.contains(PASSWORD), "I11: {text}");
    }
}
