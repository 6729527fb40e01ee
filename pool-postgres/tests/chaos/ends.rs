//! F001, F003, F016, F017, F018: sessions that the server ends. Why is kept, counted, and told.

use pool_postgres::diagnosis::{Advice, Fate};
use pool_postgres::{ConnectStep, EndCause, PostgresConnection, ReleaseMode};

use crate::asking::eventually;
use crate::common::{Chaos, strict};
use crate::invariants;
use crate::refusals::{assert_hopeless, cause};

/// The SQLSTATE of the end, once the session has ended.
pub(crate) async fn reason(session: &PostgresConnection) -> String {
    eventually("the session ends", async || session.ended().is_some()).await;
    let end = session.ended().unwrap();
    assert_eq!(end.cause, EndCause::Server, "{end}");
    assert_eq!(end.diagnosis().fate, Fate::Close);
    end.sqlstate.unwrap().code().to_owned()
}

/// So many sessions have ended for this reason.
pub(crate) async fn ended(chaos: &Chaos, code: &str, times: u64) {
    eventually("they end", async || chaos.pool.driver().ends().count(code) == times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f001_a_session_that_is_ended_while_idle_fails_nobody() {
    const ROUNDS: u64 = 10;
    let chaos = Chaos::start(1).await;
    drop(chaos.working().await);
    for round in 1..=ROUNDS {
        // Before that it may have sent what the server has not read yet, and then the reason is lost when that closes the socket.
        eventually("it is idle", async || chaos.pool.state().idle == 1).await;
        // One that is on its way out may be there still.
        assert!(chaos.watch.terminate().await >= 1);
        ended(&chaos, "57P01", round).await;
        drop(chaos.working().await);
    }
    let pool = chaos.pool.clone();
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (ROUNDS, ROUNDS + 1), "{stats:?}");
    assert_eq!(pool.driver().ends().total(), ROUNDS, "those that the pool closes are not counted");
}

/// Nothing has been sent, so anything may be tried again; but a transaction is lost with what was in it.
#[tokio::test]
async fn f003_a_session_that_ends_before_it_is_used_is_safe_to_retry() {
    let mut chaos = Chaos::start(1).await;
    for (before, advice, safe) in
        [("SELECT 1", Advice::RetryNow, true), ("BEGIN; SELECT 1", Advice::RetryTransaction, false)]
    {
        let lease = chaos.pool.acquire_owned().await.unwrap();
        lease.batch_execute(before).await.unwrap();
        let early = lease.mark();
        lease.batch_execute("SELECT 2").await.unwrap();
        assert!(chaos.watch.terminate().await >= 1);
        assert_eq!(reason(&lease).await, "57P01");
        let mark = lease.mark();
        let error = lease.batch_execute("SELECT 3").await.unwrap_err();
        assert!(error.is_closed(), "{error}");
        let diagnosis = lease.diagnose(&error, mark);
        assert_eq!((diagnosis.advice, diagnosis.safe_to_retry, diagnosis.fate), (advice, safe, Fate::Close));
        assert!(!lease.diagnose(&error, early).safe_to_retry, "something was sent since");
        chaos.note(&error);
    }
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (2, 3), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f016_a_database_that_is_dropped_ends_its_sessions_and_takes_no_more() {
    let server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 2, |config| config.database = Some("doomed".to_owned())).await;
    chaos.watch.run("CREATE DATABASE doomed").await;
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos.watch.run("DROP DATABASE doomed WITH (FORCE)").await;
    assert_eq!(reason(&lease).await, "57P01");
    drop(lease);
    ended(&chaos, "57P01", 2).await;
    let error = chaos.refused().await;
    assert_hopeless(&error, ConnectStep::Startup);
    assert_eq!(cause(&error).sqlstate().unwrap().code(), "3D000", "{error}");
    chaos.watch.run("CREATE DATABASE doomed").await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (2, 4), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f017_an_idle_session_that_times_out_fails_nobody() {
    // What a user sets is undone in any other mode.
    let chaos = Chaos::with(1, |config| config.release.mode = ReleaseMode::Fast).await;
    chaos.working().await.batch_execute("SET idle_session_timeout = '50ms'").await.unwrap();
    ended(&chaos, "57P05", 1).await;
    drop(chaos.working().await);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (1, 2), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f018_whoever_dallies_in_a_transaction_learns_why_it_is_gone() {
    let mut chaos = Chaos::start(1).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    lease.batch_execute("SET idle_in_transaction_session_timeout = '50ms'; BEGIN").await.unwrap();
    eventually("it ends", async || lease.is_closed()).await;
    let mark = lease.mark();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert!(error.is_closed() && error.code().is_none(), "the client alone tells nothing: {error}");
    assert_eq!(reason(&lease).await, "25P03");
    let diagnosis = lease.diagnose(&error, mark);
    assert_eq!((diagnosis.advice, diagnosis.safe_to_retry), (Advice::RetryTransaction, false));
    drop(lease);
    drop(chaos.working().await);
    assert_eq!(chaos.pool.driver().ends().count("25P03"), 1);
    chaos.note(&error);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (1, 2), "{stats:?}");
}
