//! What holds after every fault, as far as that can be seen from outside. The names are those of `docs/invariants.md`.
//!
//! I1 is asked of the server by somebody who watches, in `watch.rs` beside the tests. The file is shared by all tests whose pools suffer.

use std::collections::BTreeSet;

use pool_core::Stats;
use pool_postgres::PostgresLease;
use tokio_postgres::error::SqlState;

use crate::asking::{LIMIT, eventually, in_time};
use crate::common::Chaos;
use crate::users::PASSWORD;

/// Proves that the fault has left nothing behind. It is over now.
pub(crate) async fn hold(chaos: Chaos) -> Stats {
    chaos.heal().await;
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
pub(crate) async fn everything_can_be_had(chaos: &Chaos) -> Vec<PostgresLease<'_>> {
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
            Err(error) if error.code().is_none_or(|code| *code == SqlState::ADMIN_SHUTDOWN) => {}
            Err(error) => panic!("I7: a connection that does not work: {error:?}"),
        }
    }
    eventually("I1: the server has no other sessions", async || chaos.watch.sessions().await == max_size).await;
    eventually("I1: whoever looks sees them all", async || chaos.watch.most() == max_size).await;
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
