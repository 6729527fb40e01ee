//! Transactions whose beginning or end takes longer than a request may.

use std::time::Duration;

use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::Outcome;
use pool_postgres::{
    PostgresTransaction, Queries, QueryError, QueryStep, TimeLimit, TrackId, TransactionOptions, TransactionStatus,
};
use pool_testkit::proxy::{Direction, Toxic};

use crate::common::eventually;
use crate::stage::{Stage, insert, outside};

/// Longer than anything takes that is answered, also on a machine that stands still meanwhile.
const LIMIT: Duration = Duration::from_secs(4);

async fn limited() -> Stage {
    Stage::with(1, |config| config.limits.query_timeout = Some(LIMIT)).await
}

fn tracked() -> TransactionOptions {
    let mut options = TransactionOptions::default();
    options.track_id = TrackId::BeforeCommit;
    options
}

/// The error of something that does not wait for ever.
async fn error_of<T>(work: impl Future<Output = Result<T, QueryError>>) -> QueryError {
    let outcome = tokio::time::timeout(15 * LIMIT, work).await.expect("it has a limit");
    outcome.err().expect("it is not answered")
}

/// What is told of something that was not answered in time.
fn is_late(error: &QueryError, step: QueryStep, outcome: Outcome) {
    assert_eq!(error.time_limit(), Some(TimeLimit::Client(LIMIT)), "{error}");
    assert_eq!((error.step(), error.outcome(), error.sqlstate()), (step, outcome, None), "{error}");
}

/// A `COMMIT` waits for a lock. Whoever gives up waiting for it has the number to ask by, and it is carried out.
#[tokio::test]
async fn a_commit_that_takes_too_long_is_unknown_and_not_cancelled() {
    let it = limited().await;
    let lock = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait(); SELECT pg_advisory_lock(7)";
    it.other.batch_execute(lock).await.unwrap();
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin_with(tracked()).await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    let error = error_of(transaction.commit()).await;
    is_late(&error, QueryStep::Commit, Outcome::Unknown);
    assert_eq!(error.diagnosis().advice, Advice::OutcomeUnknown, "{error}");
    let id = error.transaction_id().unwrap();
    let status = async || {
        let asking = "SELECT pg_xact_status($1::text::xid8)";
        it.other.query_one(asking, &[&id.to_string()]).await.unwrap().get::<_, String>(0)
    };
    assert_eq!(status().await, TransactionStatus::InProgress.to_string());
    it.other.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    outside(&lease).await;
    assert_eq!((status().await, it.numbers().await), (TransactionStatus::Committed.to_string(), vec![1]));
    drop(lease);
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

/// Does something with a transaction of one number, while the server's answers do not arrive.
async fn while_nothing_is_heard<T>(
    it: &Stage,
    work: impl AsyncFnOnce(PostgresTransaction<'_>) -> Result<T, QueryError>,
) -> QueryError {
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin_with(tracked()).await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    it.proxy.set(Direction::ToClient, Toxic::Hold);
    let error = error_of(work(transaction)).await;
    it.proxy.calm().await;
    outside(&lease).await;
    assert!(it.numbers().await.is_empty(), "{error}");
    error
}

#[tokio::test]
async fn what_is_not_answered_in_time_leaves_no_transaction_and_nothing_of_it() {
    let it = limited().await;
    // The question for its number is what is not answered.
    let error = while_nothing_is_heard(&it, async |transaction| transaction.commit().await).await;
    is_late(&error, QueryStep::Commit, Outcome::NotDone);
    let error = while_nothing_is_heard(&it, async |transaction| transaction.rollback().await).await;
    is_late(&error, QueryStep::RollBack, Outcome::NotDone);
    let inside = async |mut transaction: PostgresTransaction<'_>| transaction.savepoint().await.map(drop);
    let error = while_nothing_is_heard(&it, inside).await;
    is_late(&error, QueryStep::Begin, Outcome::NotDone);
    it.close().await;
}

#[tokio::test]
async fn a_begin_that_is_not_answered_in_time_leaves_no_transaction() {
    let it = limited().await;
    let mut lease = it.pool.acquire().await.unwrap();
    it.proxy.set(Direction::ToClient, Toxic::Hold);
    let error = error_of(lease.begin()).await;
    it.proxy.calm().await;
    is_late(&error, QueryStep::Begin, Outcome::NotDone);
    assert_eq!(error.diagnosis().advice, Advice::RetryTransaction, "{error}");
    Queries::execute(&*lease, &insert(1), &[]).await.unwrap();
    outside(&lease).await;
    drop(lease);
    it.all_idle(1).await;
    it.proxy.set(Direction::ToClient, Toxic::Hold);
    is_late(&error_of(it.pool.begin()).await, QueryStep::Begin, Outcome::NotDone);
    it.proxy.calm().await;
    eventually("it is back", async || it.pool.state().leased == 0).await;
    Queries::execute(&it.pool, &insert(2), &[]).await.unwrap();
    assert_eq!(it.numbers().await, [1, 2]);
    it.close().await;
}

/// The savepoint is gone, and to go back to it would be an error, after which nothing of the transaction around it could be kept.
#[tokio::test]
async fn a_savepoint_that_is_not_committed_in_time_may_be_and_harms_nobody() {
    let it = limited().await;
    let mut lease = it.pool.acquire().await.unwrap();
    let mut around = lease.begin().await.unwrap();
    let savepoint = around.savepoint().await.unwrap();
    savepoint.execute(&insert(1), &[]).await.unwrap();
    it.proxy.set(Direction::ToClient, Toxic::Hold);
    let error = error_of(savepoint.commit()).await;
    it.proxy.calm().await;
    is_late(&error, QueryStep::Commit, Outcome::Unknown);
    around.execute(&insert(2), &[]).await.unwrap();
    around.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 2]);
    drop(lease);
    it.close().await;
}
