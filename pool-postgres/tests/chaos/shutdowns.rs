//! F005, F007, F008, F009: servers that shut down, or recover from a process that was killed.

use pool_core::{AcquireError, ErrorClass};
use pool_postgres::diagnosis::Advice;
use pool_postgres::{EndCause, PostgresConnection, PostgresOwnedLease};
use pool_testkit::postgres::EphemeralPostgres;
use tokio::task::spawn_blocking;
use tokio_postgres::error::SqlState;

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, process, signal, signal_postmaster, strict};
use crate::ends::{ended, reason};
use crate::invariants;
use crate::refusals::cause;
use crate::servers::waiters;
use crate::users::SHORT;

const SIZE: usize = 3;

/// A server of the test's own, and a full pool with one connection in use.
async fn full() -> (EphemeralPostgres, Chaos, PostgresOwnedLease) {
    let server = strict().start().unwrap();
    let chaos = Chaos::on(&server, SIZE, |_| {}).await;
    chaos.fill(SIZE).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    (server, chaos, lease)
}

/// Waits until a session's process waits for its client: one that is still at the end of an answer does not say goodbye when it is told to quit.
async fn at_rest(chaos: &Chaos, session: &PostgresConnection) {
    let process = process(session).await;
    // The statement has been closed when this is answered.
    session.batch_execute("").await.unwrap();
    let resting = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'ClientRead'";
    let is_resting = async || !chaos.watch.client().query(resting, &[&process]).await.unwrap().is_empty();
    eventually("it waits for us", is_resting).await;
}

/// The server is started again while callers wait, who are all served then.
async fn start_again(chaos: &mut Chaos, mut server: EphemeralPostgres) -> EphemeralPostgres {
    let failed = chaos.pool.stats().open_failures;
    let start = async {
        eventually("all wait", async || chaos.pool.state().waiting == 20).await;
        eventually("it is tried", async || chaos.pool.stats().open_failures > failed).await;
        spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap()
    };
    let (server, ()) = tokio::join!(start, waiters(chaos, 20));
    chaos.watch_on(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn f005_bystanders_of_a_crash_learn_of_it() {
    let (server, mut chaos, victim) = full().await;
    let bystander = chaos.pool.acquire_owned().await.unwrap();
    let (killed, mark) = (process(&victim).await, victim.mark());
    at_rest(&chaos, &bystander).await;
    let sleep = victim.batch_execute("SELECT pg_sleep(600)");
    let kill = async {
        eventually("it sleeps", async || chaos.watch.works_on("SELECT pg_sleep(600)").await).await;
        chaos.watch.end().await;
        assert!(signal(killed, "KILL"));
    };
    let (error, ()) = in_time("its end", async { tokio::join!(sleep, kill) }).await;
    assert_eq!(reason(&bystander).await, "57P02");
    eventually("the victim ends", async || victim.ended().is_some()).await;
    let (error, end) = (error.unwrap_err(), victim.ended().unwrap());
    let diagnosis = victim.diagnose(&error, mark);
    assert_eq!((diagnosis.advice, diagnosis.safe_to_retry), (Advice::OutcomeUnknown, false));
    assert!(matches!(end.cause, EndCause::Closed | EndCause::Network(_)), "it was told nothing: {end}");
    chaos.note(&error);
    drop((victim, bystander));
    eventually("all have ended", async || chaos.pool.driver().ends().total() == SIZE as u64).await;
    waiters(&chaos, 20).await;
    chaos.watch_on(&server).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.broken, SIZE as u64, "{stats:?}");
}

/// Whether a new session is refused because the server is shutting down.
async fn is_refused(chaos: &Chaos) -> bool {
    match chaos.pool.acquire_timeout(SHORT).await {
        Ok(lease) => {
            lease.discard();
            false
        }
        Err(AcquireError::Timeout { failure: None, .. }) => false,
        Err(error) => {
            let cause = cause(&error);
            assert_eq!((cause.sqlstate(), cause.class()), (Some(&SqlState::CANNOT_CONNECT_NOW), ErrorClass::Transient));
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f007_a_smart_shutdown_leaves_sessions_alone_and_takes_no_more() {
    let server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, SIZE, |_| {}).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    signal_postmaster(&server, "TERM");
    // It gets round to it.
    eventually("it takes no more", async || is_refused(&chaos).await).await;
    assert_eq!(answer(&lease, 1).await.unwrap(), 2);
    assert_eq!((lease.ended(), chaos.pool.driver().ends().total()), (None, 0));
    let kept = lease.connection_id();
    drop(lease);
    assert_eq!(chaos.working().await.connection_id(), kept, "and it is kept");
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos.watch.end().await;
    let _server = start_again(&mut chaos, server).await;
    assert_eq!(reason(&lease).await, "57P01");
    assert_eq!(chaos.pool.driver().ends().total(), 1, "no other has been lost");
    drop(lease);
    invariants::hold(chaos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f008_a_fast_shutdown_is_told_to_all() {
    let (mut server, mut chaos, lease) = full().await;
    chaos.watch.end().await;
    let server = spawn_blocking(move || server.stop().map(|()| server)).await.unwrap().unwrap();
    assert_eq!(reason(&lease).await, "57P01");
    ended(&chaos, "57P01", SIZE as u64).await;
    drop(lease);
    let _server = start_again(&mut chaos, server).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.broken, SIZE as u64, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f009_an_immediate_shutdown_is_told_by_a_notice() {
    let (server, mut chaos, lease) = full().await;
    at_rest(&chaos, &lease).await;
    chaos.watch.end().await;
    signal_postmaster(&server, "QUIT");
    assert_eq!(reason(&lease).await, "57P01");
    assert!(lease.ended().unwrap().message.contains("immediate shutdown"));
    eventually("all have ended", async || chaos.pool.driver().ends().total() == SIZE as u64).await;
    drop(lease);
    let _server = start_again(&mut chaos, server).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.broken, SIZE as u64, "{stats:?}");
}
