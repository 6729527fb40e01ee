//! What holds after every fault, as far as that can be seen from outside. The names are those of `docs/invariants.md`.
//!
//! Not seen from outside, and so not here: I12 (bounded memory) and I14 (quiet when blocked), which the tests of the engine have. I7 is about transactions alone, I11 about errors and debug texts (logs are in `real/secrets.rs`), and
//! I13 about the calls of a driver.
//!
//! I1 is asked of the server by somebody who watches, in `watch.rs` beside the tests. The file is shared by all tests whose pools suffer.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::poll;
use pool_core::{AcquireError, Stats};
use pool_postgres::PostgresLease;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::asking::{LIMIT, eventually, in_time};
use crate::common::Chaos;
use crate::users::{PASSWORD, SLACK};

/// Proves that the fault has left nothing behind. It is over now. What has happened before.
pub(crate) async fn hold(chaos: Chaos) -> Stats {
    chaos.heal().await;
    // What is proved is not that a busy machine is quick.
    chaos.patient();
    let mut leases = everything_can_be_had(&chaos).await;
    whoever_waits_has_his_turn(&chaos, &mut leases).await;
    nobody_is_left_over(&chaos, leases);
    let mut stats = close(chaos).await;
    // Of the checker's own two.
    (stats.timeouts, stats.cancelled) = (stats.timeouts - 1, stats.cancelled - 1);
    stats
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
    let deadline = Instant::now() + LIMIT;
    while leases.len() < max_size {
        let Some((lease, backend)) = one_more(chaos, leases.len(), deadline).await else { continue };
        assert!(backends.insert(backend), "I2: {backend} is in two hands");
        leases.push(lease);
    }
    eventually("I1: the server has no other sessions", async || chaos.watch.sessions().await == max_size).await;
    eventually("I1: whoever looks sees them all", async || chaos.watch.most() == max_size).await;
    leases
}

/// A connection that works, and its backend; `None` if there will be another one.
async fn one_more(chaos: &Chaos, had: usize, deadline: Instant) -> Option<(PostgresLease<'_>, i32)> {
    let left = deadline.saturating_duration_since(Instant::now());
    let lease = match chaos.pool.acquire_timeout(left).await {
        Ok(lease) => lease,
        Err(AcquireError::OpenFailed { .. }) if !left.is_zero() => {
            // What was wrong for good is believed until the next attempt.
            tokio::task::yield_now().await;
            return None;
        }
        Err(error) => panic!("I3: only {had} can be had: {error}"),
    };
    match in_time("an answer", check(&lease, had)).await {
        Ok(backend) => Some((lease, backend)),
        // It was lost while it lay idle, and nobody has noticed yet.
        Err(error) if error.code().is_none_or(|code| *code == SqlState::ADMIN_SHUTDOWN) => None,
        Err(error) => panic!("I7: a connection that does not work: {error:?}"),
    }
}

/// I6, I10: one too many is told in time, and why. I5: of two who wait, the first is served first.
async fn whoever_waits_has_his_turn<'a>(chaos: &'a Chaos, leases: &mut Vec<PostgresLease<'a>>) {
    let limit = Duration::from_millis(10);
    let asked = Instant::now();
    let error = chaos.pool.acquire_timeout(limit).await.map(drop).expect_err("I3: one too many");
    assert!(asked.elapsed() <= limit + SLACK, "I6: it took {:?}", asked.elapsed());
    let AcquireError::Timeout { situation, .. } = &error else { panic!("I10: {error}") };
    assert_eq!(situation.state.leased, leases.len(), "I10: {error}");
    let (mut first, mut second) = (Box::pin(chaos.pool.acquire()), Box::pin(chaos.pool.acquire()));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending(), "I3: one too many");
    drop(leases.pop());
    leases.push(in_time("I5: the first is served", first).await.expect("a connection"));
    assert!(poll!(&mut second).is_pending(), "I5: the second one is served as well");
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
    assert_eq!(stats.closes().iter().map(|(_, closed)| closed).sum::<u64>(), stats.closed, "I23: {stats:?}");
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
