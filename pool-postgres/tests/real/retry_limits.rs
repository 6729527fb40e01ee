//! Where retries end: attempts, the budget, the deadline, and those who do not wait for them.

use std::time::Duration;

use pool_core::AcquireError;
use pool_postgres::retry::{AttemptError, GaveUp, Outcome, RetryPolicy, RetryReason};
use pool_postgres::tokio_postgres::Error;

use crate::common::eventually;
use crate::retries::{COUNT, Lease, REFUSED, SLOW, Setting, quick, told};

#[tokio::test]
async fn attempts_end() {
    let it = Setting::new(quick()).await;
    let refused = async |lease: Lease| lease.batch_execute(REFUSED).await;
    assert_eq!(told(it.retrier.transaction(refused).await), (5, GaveUp::Attempts, Outcome::NotDone));
    assert_eq!((it.counts(), it.retries(RetryReason::Serialization)), ((1, 0, 5), 4));
    it.close().await;
}

#[tokio::test]
async fn a_budget_ends_retries_for_all_who_share_it() {
    let mut policy = quick();
    (policy.budget_max, policy.budget_per_second, policy.budget_percent) = (3, 0, 100);
    let it = Setting::new(policy.clone()).await;
    let other = it.pool.retrying(policy).unwrap().sharing(it.retrier.budget());
    let refused = async |lease: Lease| lease.batch_execute(REFUSED).await;
    assert_eq!(told(it.retrier.once(refused).await), (4, GaveUp::Budget, Outcome::NotDone));
    assert_eq!(told(other.idempotent(refused).await), (1, GaveUp::Budget, Outcome::NotDone));
    other.idempotent(async |lease| lease.batch_execute("SELECT 1").await).await.unwrap();
    let error = it.retrier.once(refused).await.unwrap_err();
    assert_eq!((error.attempts, error.reason, it.retrier.budget().left()), (2, GaveUp::Budget, 0));
    assert!(error.into_source().is::<Error>(), "the error of the last attempt");
    assert_eq!(it.given_up(GaveUp::Budget), 2);
    it.close().await;
}

/// A policy with little time, but enough for a busy machine to get somewhere.
fn hasty() -> RetryPolicy {
    let mut policy = quick();
    policy.deadline = Duration::from_secs(4);
    policy
}

/// By how much a busy machine may miss a deadline.
const SLACK: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_deadline_cuts_an_attempt_off() {
    let it = Setting::new(hasty()).await;
    let slow = async |lease: Lease| lease.batch_execute(SLOW).await;
    let error = it.retrier.once(slow).await.unwrap_err();
    assert!(error.elapsed >= it.retrier.policy().deadline && error.elapsed < SLACK, "{error}");
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::Deadline, Outcome::Unknown));
    assert_eq!(error.into_source().downcast_ref(), Some(&AttemptError::CutOff));
    assert_eq!(told(it.retrier.idempotent(slow).await), (1, GaveUp::Deadline, Outcome::Unknown));
    assert_eq!(told(it.retrier.transaction(slow).await), (1, GaveUp::Deadline, Outcome::NotDone));
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND datname = $2";
    eventually("nothing goes on at the server", async || {
        it.watch.query_one(running, &[&SLOW, &it.database.name()]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert_eq!(it.counted().await, 0);
    it.close().await;
}

#[tokio::test]
async fn a_deadline_counts_while_no_connection_can_be_had() {
    let it = Setting::new(hasty()).await;
    let leases = [it.pool.acquire().await.unwrap(), it.pool.acquire().await.unwrap()];
    let error = it.retrier.once(async |lease| lease.batch_execute(COUNT).await).await.unwrap_err();
    assert!(error.elapsed < SLACK, "{error}");
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::Deadline, Outcome::NotDone));
    assert!(error.into_source().is::<AcquireError>());
    drop(leases);
    it.close().await;
}

#[tokio::test]
async fn no_pause_begins_that_would_last_beyond_the_deadline() {
    let mut policy = hasty();
    policy.pause_initial = Duration::from_hours(1);
    policy.pause_max = policy.pause_initial;
    let it = Setting::new(policy).await;
    let refused = async |lease: Lease| lease.batch_execute(REFUSED).await;
    let outcome = tokio::time::timeout(SLACK, it.retrier.once(refused)).await.expect("no pause");
    assert_eq!(told(outcome), (1, GaveUp::Deadline, Outcome::NotDone));
    assert_eq!(it.retrier.budget().left(), 100, "and none is paid for");
    it.close().await;
}

#[tokio::test]
async fn a_closed_pool_is_not_asked_again() {
    let it = Setting::new(quick()).await;
    it.pool.disconnect().await;
    let outcome = it.retrier.once(async |lease| lease.batch_execute(COUNT).await).await;
    assert_eq!(told(outcome), (1, GaveUp::NotRetryable, Outcome::NotDone));
    it.close().await;
}

/// Dropped at every number of polls: the lease comes back, and what was not committed is rolled back.
#[tokio::test]
async fn an_operation_that_is_dropped_leaves_nothing_behind() {
    let it = Setting::new(quick()).await;
    let (mut ends, mut committed) = (0, 0);
    for polls in 1..=40 {
        let mut operation = Box::pin(it.retrier.transaction(async |lease| lease.batch_execute(COUNT).await));
        let mut left = polls;
        let polled = std::future::poll_fn(|context| {
            let polled = operation.as_mut().poll(context);
            left -= 1;
            if left == 0 && polled.is_pending() { std::task::Poll::Ready(None) } else { polled.map(Some) }
        });
        ends += u32::from(polled.await.is_some_and(|outcome| outcome.is_ok()));
        drop(operation);
        eventually("the lease is back", async || {
            let state = it.pool.state();
            state.leased + state.in_maintenance == 0
        })
        .await;
        let counted = u32::try_from(it.counted().await).unwrap();
        assert!(counted - committed <= 1, "once at most");
        committed = counted;
        it.other.batch_execute("BEGIN; LOCK TABLE t NOWAIT; ROLLBACK").await.expect("no transaction is left");
    }
    assert!(ends > 0 && ends <= committed && committed < 40, "{ends} ended, {committed} committed");
    it.close().await;
}
