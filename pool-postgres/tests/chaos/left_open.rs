//! F097, F098, F104, F129: what its user leaves open in a session, and a user who keeps one for ever.

use std::mem::forget;
use std::time::Duration;

use pool_core::{AcquireError, HealthConfig, HealthReason};
use pool_postgres::PostgresOwnedLease;
use pool_testkit::proxy::{Direction, Toxic};

use crate::asking::{LIMIT, eventually, in_time};
use crate::common::{Chaos, quiet, rows, table};
use crate::invariants;
use crate::users::SHORT;

/// Gives a session back in which something is open, and proves that nobody sees anything of it: the next user works in the same session.
async fn undone(chaos: Chaos, table: &str, lease: PostgresOwnedLease) {
    assert!(chaos.pool.driver().ends().total() == 0 && !lease.is_closed(), "the session goes on");
    drop(lease);
    let next = in_time("the next is served", chaos.working()).await;
    next.batch_execute(&format!("INSERT INTO {table} VALUES (2)")).await.unwrap();
    drop(next);
    assert_eq!(rows(&chaos, table).await, 1, "what the next has written alone");
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

/// A pool of one connection, its table, and the connection.
async fn stage() -> (Chaos, String, PostgresOwnedLease) {
    let chaos = Chaos::start(1).await;
    let (table, lease) = (table(&chaos).await, quiet(&chaos).await);
    (chaos, table, lease)
}

#[tokio::test]
async fn f097_a_transaction_whose_guard_is_forgotten_is_rolled_back() {
    let (chaos, table, mut lease) = stage().await;
    let transaction = lease.transaction().await.unwrap();
    transaction.execute(&format!("INSERT INTO {table} VALUES (1)"), &[]).await.unwrap();
    forget(transaction);
    undone(chaos, &table, lease).await;
}

#[tokio::test]
async fn f097_a_savepoint_whose_guard_is_forgotten_is_rolled_back_with_its_transaction() {
    let (chaos, table, mut lease) = stage().await;
    let mut transaction = lease.transaction().await.unwrap();
    let savepoint = transaction.transaction().await.unwrap();
    savepoint.execute(&format!("INSERT INTO {table} VALUES (1)"), &[]).await.unwrap();
    forget(savepoint);
    forget(transaction);
    undone(chaos, &table, lease).await;
}

#[tokio::test]
async fn f129_a_transaction_that_is_left_open_is_rolled_back() {
    let (chaos, table, lease) = stage().await;
    lease.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)")).await.unwrap();
    undone(chaos, &table, lease).await;
}

#[tokio::test]
async fn f129_a_transaction_that_has_failed_and_is_left_open_is_rolled_back() {
    let (chaos, table, lease) = stage().await;
    assert!(lease.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1); SELECT 1/0")).await.is_err());
    lease.batch_execute("SELECT 1").await.expect_err("it is still there");
    undone(chaos, &table, lease).await;
}

/// Nobody can tell a lease that was forgotten from one that is kept for long.
#[tokio::test]
async fn f098_a_lease_that_never_comes_back_is_told_and_does_not_hold_up_a_close() {
    let mut chaos = Chaos::start(2).await;
    let kept = [quiet(&chaos).await, quiet(&chaos).await];
    chaos.hurry(LIMIT, SHORT);
    let mut health = HealthConfig::default();
    (health.interval, health.retry_interval) = (SHORT, SHORT);
    health.leak_after = Some(Duration::from_secs(1));
    let checker = chaos.pool.monitor(health).unwrap();
    let told = |reasons: &[HealthReason]| reasons.iter().any(|reason| matches!(reason, HealthReason::OldLease(_)));
    let mut reports = checker.subscribe();
    in_time("it is told", reports.wait_for(|report| told(&report.reasons))).await.unwrap();
    let error = chaos.refused().await;
    let AcquireError::Timeout { situation, .. } = &error else { panic!("{error}") };
    let oldest = situation.oldest_lease.expect("somebody has one");
    assert!(kept.iter().any(|lease| lease.connection_id() == oldest.connection), "{error}");
    assert_eq!(in_time("the close ends", chaos.pool.close_within(SHORT)).await, 2);
    eventually("the server has no session", async || chaos.watch.sessions().await == 0).await;
    assert!(kept.iter().all(|lease| lease.is_closed()));
    drop((checker, kept));
    invariants::close(chaos).await;
}

/// The network keeps the questions of a reset, or the answers. Returns the table that the session has written to.
async fn reset_is_kept(chaos: &Chaos, kept: Direction) -> String {
    let (table, lease) = (table(chaos).await, quiet(chaos).await);
    lease.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)")).await.unwrap();
    let asked = chaos.proxy.seen().frames(Direction::ToServer, b'Q');
    chaos.proxy.set(kept, Toxic::Hold);
    drop(lease);
    let begun = chaos.proxy.until(|seen| seen.frames(Direction::ToServer, b'Q') > asked);
    in_time("it is put in order", begun).await;
    assert_eq!(chaos.pool.state().in_maintenance, 1);
    table
}

/// Closes a pool that would wait for the reset for long.
async fn reset_is_dropped(kept: Direction) {
    let chaos = Chaos::with(1, |config| (config.pool.reset_timeout, config.pool.close_timeout) = (LIMIT, SHORT)).await;
    let table = reset_is_kept(&chaos, kept).await;
    assert_eq!(in_time("the close ends", chaos.pool.close_within(SHORT)).await, 0, "nothing is open");
    chaos.heal().await;
    nothing_is_left(&chaos, &table).await;
    assert_eq!(invariants::close(chaos).await.errors.resets, 0, "it has not failed");
}

async fn nothing_is_left(chaos: &Chaos, table: &str) {
    eventually("the server has let go", async || chaos.watch.sessions().await == 0).await;
    assert_eq!(rows(chaos, table).await, 0);
}

#[tokio::test]
async fn f104_a_reset_is_dropped_that_waits_for_an_answer() {
    reset_is_dropped(Direction::ToClient).await;
}

#[tokio::test]
async fn f104_a_reset_is_dropped_whose_question_has_not_arrived() {
    reset_is_dropped(Direction::ToServer).await;
}
