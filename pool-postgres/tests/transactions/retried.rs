//! What the retrying runner makes of transactions: none that is committed is done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use pool_postgres::retry::{GaveUp, Outcome, Retrier, RetryError, RetryPolicy};
use pool_postgres::tokio_postgres::Client;
use pool_postgres::{PostgresOwnedLease, PostgresTransaction, Queries, QueryError};
use pool_testkit::proxy::{Direction, End, Place, Toxic};
use tokio::sync::Notify;

use crate::common::eventually;
use crate::stage::{Stage, begin_and_leave, insert};

/// A serialization failure that is none.
const CONFLICT: &str = "DO $$ BEGIN RAISE 'made up' USING ERRCODE = '40001'; END $$";

fn retrier(it: &Stage) -> Retrier {
    let mut policy = RetryPolicy::default();
    (policy.pause_initial, policy.pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    it.pool.retrying(policy).unwrap()
}

fn told(error: &RetryError) -> (u32, GaveUp, Outcome) {
    (error.attempts, error.reason, error.outcome)
}

/// What is told of work that must not be done again.
const ONCE: (u32, GaveUp, Outcome) = (1, GaveUp::OutcomeUnknown, Outcome::Unknown);

/// `COMMIT` is on its way when the server ends the session, since nothing has come for too long: it is as if it had never been sent.
#[tokio::test]
async fn a_session_that_was_ended_for_doing_nothing_costs_a_retry() {
    let it = Stage::new(1).await;
    let (attempts, held) = (AtomicI32::new(0), Notify::new());
    let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), QueryError> {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        lease.batch_execute(&insert(attempt)).await?;
        if attempt == 0 {
            lease.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '2s'").await?;
            it.proxy.set(Direction::ToServer, Toxic::Hold);
            held.notify_one();
        }
        Ok(())
    };
    let ended = async {
        // Before that the session may be in another state because it is at work.
        held.notified().await;
        eventually("the server has ended it", async || it.in_state("idle in transaction").await == 0).await;
        it.proxy.calm().await;
    };
    let retrier = retrier(&it);
    let (outcome, ()) = futures_util::join!(retrier.transaction(work), ended);
    outcome.unwrap();
    assert_eq!(it.numbers().await, [1]);
    it.close().await;
}

/// Of which the runner has another connection than the work.
#[tokio::test]
async fn a_transaction_that_its_work_has_committed_is_not_done_again() {
    let it = Stage::new(2).await;
    let retrier = retrier(&it);
    for (number, commit) in (1..).zip(["COMMIT", "COMMIT; BEGIN", "COMMIT AND CHAIN", "END"]) {
        let work = async |tx: PostgresTransaction<'static>| -> Result<(), QueryError> {
            tx.batch_execute(&insert(number)).await?;
            tx.batch_execute(commit).await?;
            tx.batch_execute(CONFLICT).await
        };
        let error = retrier.once(async |_| it.pool.transaction(work).await).await.unwrap_err();
        assert_eq!(told(&error), ONCE, "{commit}: {error}");
        let error = error.into_source().downcast::<QueryError>().unwrap();
        assert_eq!(error.outcome(), Outcome::Unknown, "{commit}: {error}");
        assert_eq!(it.numbers().await.last(), Some(&number), "{commit}");
    }
    // Work that has not is.
    let attempts = AtomicI32::new(0);
    let work = async |tx: PostgresTransaction<'static>| -> Result<(), QueryError> {
        tx.batch_execute(&insert(10)).await?;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 { tx.batch_execute(CONFLICT).await } else { Ok(()) }
    };
    retrier.once(async |_| it.pool.transaction(work).await).await.unwrap();
    assert_eq!(attempts.into_inner(), 2);
    it.close().await;
}

/// A `COMMIT` that is lost on another connection is one of which nobody knows.
#[tokio::test]
async fn a_commit_that_is_lost_inside_of_the_work_is_not_done_again() {
    let it = Stage::new(2).await;
    for (number, place) in [(1, Place::Before), (2, Place::After)] {
        let work = async |tx: PostgresTransaction<'static>| -> Result<(), QueryError> {
            tx.batch_execute(&insert(number)).await?;
            it.proxy.set_once(Direction::ToClient, Toxic::CutAt { kind: b'C', nth: 1, place, end: End::Close });
            Ok(())
        };
        let error = retrier(&it).once(async |_| it.pool.transaction(work).await).await.unwrap_err();
        it.proxy.calm().await;
        assert_eq!(told(&error), ONCE, "{error}");
    }
    it.close().await;
}

/// It is in the client's queue when the work fails, and carried out.
#[tokio::test]
async fn a_commit_that_the_work_does_not_wait_for_is_not_done_again() {
    let it = Stage::new(1).await;
    let attempts = AtomicI32::new(0);
    let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), QueryError> {
        lease.batch_execute(&insert(attempts.fetch_add(1, Ordering::Relaxed))).await?;
        begin_and_leave(Client::batch_execute(&lease, "  commit")).await;
        it.other.batch_execute(CONFLICT).await
    };
    let error = retrier(&it).transaction(work).await.unwrap_err();
    assert_eq!((told(&error), it.numbers().await), (ONCE, vec![0]), "{error}");
    it.close().await;
}

/// The answer to it is lost together with the session.
#[tokio::test]
async fn a_commit_of_the_work_that_is_lost_is_not_done_again() {
    let it = Stage::new(1).await;
    let attempts = AtomicI32::new(0);
    let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), QueryError> {
        lease.batch_execute(&insert(attempts.fetch_add(1, Ordering::Relaxed))).await?;
        let cut = Toxic::CutAt { kind: b'C', nth: 1, place: Place::Before, end: End::Close };
        it.proxy.set_once(Direction::ToClient, cut);
        lease.batch_execute("COMMIT").await
    };
    let error = retrier(&it).transaction(work).await.unwrap_err();
    it.proxy.calm().await;
    assert_eq!((told(&error), it.numbers().await), (ONCE, vec![0]), "{error}");
    it.close().await;
}

/// What does not look like one, and is answered while the session is put in order.
#[tokio::test]
async fn a_commit_whose_answer_comes_after_the_work_is_not_done_again() {
    for commit in ["/* so */ COMMIT", "SELECT 1; COMMIT", "prepared"] {
        let it = Stage::new(1).await;
        let (attempts, has_failed) = (AtomicI32::new(0), Notify::new());
        let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), QueryError> {
            lease.batch_execute(&insert(attempts.fetch_add(1, Ordering::Relaxed))).await?;
            let statement = lease.prepare_cached("COMMIT").await?;
            it.proxy.set(Direction::ToClient, Toxic::Hold);
            if commit == "prepared" {
                begin_and_leave(Client::execute(&lease, &statement, &[])).await;
            } else {
                begin_and_leave(Client::batch_execute(&lease, commit)).await;
            }
            let error = it.other.batch_execute(CONFLICT).await;
            has_failed.notify_one();
            error
        };
        let answered = async {
            has_failed.notified().await;
            it.proxy.calm().await;
        };
        let retrier = retrier(&it);
        let (outcome, ()) = futures_util::join!(retrier.transaction(work), answered);
        let error = outcome.expect_err(commit);
        assert_eq!((told(&error), it.numbers().await), (ONCE, vec![0]), "{commit}: {error}");
        it.close().await;
    }
}

/// The deadline comes before the answer.
#[tokio::test]
async fn a_commit_of_the_work_that_is_cut_off_may_have_been_done() {
    let it = Stage::new(1).await;
    let mut policy = RetryPolicy::default();
    policy.deadline = Duration::from_secs(5);
    let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), QueryError> {
        lease.batch_execute(&insert(0)).await?;
        it.proxy.set(Direction::ToClient, Toxic::Hold);
        lease.batch_execute("COMMIT").await
    };
    let error = it.pool.retrying(policy).unwrap().transaction(work).await.unwrap_err();
    it.proxy.calm().await;
    assert_eq!((error.attempts, error.outcome), (1, Outcome::Unknown), "{error}");
    assert_eq!(it.numbers().await, [0]);
    it.close().await;
}
