//! Connections that are lost, at each moment of a transaction.

use std::time::Duration;

use pool_postgres::diagnosis::Advice;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{Queries, QueryError, QueryStep, TrackId, TransactionOptions, TransactionStatus};
use pool_testkit::proxy::{Direction, End, Place, Toxic};

use crate::common::eventually;
use crate::stage::{Stage, insert};

fn cut(kind: u8, nth: u64, place: Place, end: End) -> Toxic {
    Toxic::CutAt { kind, nth, place, end }
}

fn tracking(track_id: TrackId) -> TransactionOptions {
    let mut options = TransactionOptions::default();
    options.track_id = track_id;
    options
}

/// Where a connection is lost while `COMMIT` is under way, and whether the server commits then. With so many questions before it.
fn moments(before: u64) -> [(Direction, Toxic, bool); 4] {
    let nth = before + 1;
    [
        (Direction::ToServer, cut(b'Q', nth, Place::Before, End::Reset), false),
        (Direction::ToClient, cut(b'C', nth, Place::Before, End::Close), true),
        (Direction::ToClient, cut(b'C', nth, Place::After, End::Close), true),
        (Direction::ToClient, cut(b'Z', nth, Place::Before, End::Reset), true),
    ]
}

/// Inserts a number on a connection that is lost in `COMMIT`.
async fn lose(it: &Stage, number: i32, options: TransactionOptions, direction: Direction, toxic: &Toxic) -> QueryError {
    let transaction = it.pool.begin_with(options).await.unwrap();
    transaction.batch_execute(&insert(number)).await.unwrap();
    it.proxy.set_once(direction, toxic.clone());
    let committed = transaction.commit().await;
    let error = committed.expect_err(&format!("{number}: it is lost, {direction:?} {toxic:?}"));
    it.proxy.calm().await;
    assert_eq!(error.step(), QueryStep::Commit, "{error}");
    error
}

/// What is true in the end.
async fn settled(it: &Stage, number: i32, error: &QueryError) -> TransactionStatus {
    let id = error.transaction_id().unwrap();
    assert!(error.to_string().contains(&format!("it may have been done (transaction {id})")), "{error}");
    eventually("it is over", async || it.pool.transaction_status(id).await.unwrap() != TransactionStatus::InProgress)
        .await;
    let status = it.pool.transaction_status(id).await.unwrap();
    assert_eq!(status == TransactionStatus::Committed, it.numbers().await.contains(&number), "{error}");
    status
}

#[tokio::test]
async fn a_connection_that_is_lost_in_commit_leaves_the_outcome_unknown() {
    let it = Stage::new(1).await;
    for (number, (direction, toxic, commits)) in (1..).zip(moments(0)) {
        let at = format!("{direction:?} {toxic:?}");
        let error = lose(&it, number, TransactionOptions::default(), direction, &toxic).await;
        assert_eq!((error.outcome(), error.transaction_id()), (Outcome::Unknown, None), "{at}: {error}");
        assert_eq!((error.diagnosis().advice, error.sqlstate()), (Advice::OutcomeUnknown, None), "{at}");
        assert!(!error.diagnosis().safe_to_retry && error.is_closed() || error.client_error().is_some(), "{at}");
        if commits {
            eventually(&at, async || it.numbers().await.contains(&number)).await;
        }
    }
    assert_eq!(it.numbers().await, [2, 3, 4]);
    it.close().await;
}

/// The first of them is asked before `COMMIT`.
#[tokio::test]
async fn the_number_of_a_transaction_is_known_whenever_its_outcome_is_not() {
    let it = Stage::new(1).await;
    for (number, (direction, toxic, commits)) in (1..).zip(moments(1)) {
        let at = format!("{direction:?} {toxic:?}");
        let error = lose(&it, number, tracking(TrackId::BeforeCommit), direction, &toxic).await;
        assert_eq!(error.outcome(), Outcome::Unknown, "{at}: {error}");
        let status = settled(&it, number, &error).await;
        assert_eq!(status == TransactionStatus::Committed, commits, "{at}: {status}");
    }
    it.close().await;
}

#[tokio::test]
async fn the_number_of_a_transaction_costs_no_round_trip_if_it_is_asked_along_with_commit() {
    let it = Stage::new(1).await;
    for (number, (direction, toxic, _)) in (1..).zip(moments(1)) {
        let at = format!("{direction:?} {toxic:?}");
        let error = lose(&it, number, tracking(TrackId::WithCommit), direction, &toxic).await;
        assert_eq!(error.outcome(), Outcome::Unknown, "{at}: {error}");
        // What is cut on the way to the server takes the answer along, most of the time.
        if direction == Direction::ToClient {
            settled(&it, number, &error).await;
        }
    }
    let transaction = it.pool.begin_with(tracking(TrackId::WithCommit)).await.unwrap();
    transaction.batch_execute(&insert(100)).await.unwrap();
    let asked = it.proxy.seen().frames(Direction::ToServer, b'Q');
    // Both have to be there before any answer is.
    it.proxy.set(Direction::ToClient, Toxic::Hold);
    let both = it.proxy.until(|seen| seen.frames(Direction::ToServer, b'Q') == asked + 2);
    let (outcome, ()) = futures_util::join!(transaction.commit(), async {
        both.await;
        it.proxy.clear(Direction::ToClient);
    });
    outcome.unwrap();
    assert!(it.numbers().await.contains(&100));
    it.close().await;
}

#[tokio::test]
async fn answers_in_small_pieces_do_no_harm() {
    let it = Stage::new(1).await;
    it.proxy.set(Direction::ToClient, Toxic::Slice { bytes: 1, pause: Duration::ZERO });
    for (number, track) in (1..).zip([TrackId::Never, TrackId::WithCommit, TrackId::BeforeCommit]) {
        let mut transaction = it.pool.begin_with(tracking(track)).await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        transaction.savepoint().await.unwrap().commit().await.unwrap();
        transaction.commit().await.unwrap();
    }
    assert_eq!(it.numbers().await, [1, 2, 3]);
    // One that has written nothing has no number, and one that has failed is not told its own.
    for track in [TrackId::WithCommit, TrackId::BeforeCommit] {
        it.pool.begin_with(tracking(track)).await.unwrap().commit().await.unwrap();
        let failed = it.pool.begin_with(tracking(track)).await.unwrap();
        failed.batch_execute("SELECT 1 / 0").await.unwrap_err();
        let error = failed.commit().await.unwrap_err();
        assert_eq!((error.outcome(), error.transaction_id()), (Outcome::NotDone, None), "{error}");
    }
    it.close().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_before_commit_leaves_nothing() {
    let it = Stage::new(1).await;
    for track in [TrackId::Never, TrackId::WithCommit, TrackId::BeforeCommit] {
        let transaction = it.pool.begin_with(tracking(track)).await.unwrap();
        transaction.batch_execute(&insert(1)).await.unwrap();
        it.end_sessions().await;
        eventually("it is seen", async || transaction.client().is_closed()).await;
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(
            (error.step(), error.outcome(), error.transaction_id()),
            (QueryStep::Commit, Outcome::NotDone, None)
        );
        assert_eq!(error.diagnosis().advice, Advice::RetryTransaction, "{error:?}");
    }
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn a_question_for_the_number_that_is_lost_has_committed_nothing() {
    let it = Stage::new(1).await;
    for (direction, kind) in [(Direction::ToServer, b'Q'), (Direction::ToClient, b'C'), (Direction::ToClient, b'Z')] {
        let toxic = cut(kind, 1, Place::Before, End::Close);
        let error = lose(&it, 1, tracking(TrackId::BeforeCommit), direction, &toxic).await;
        assert_eq!(error.outcome(), Outcome::NotDone, "{toxic:?}: {error}");
    }
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

/// `COMMIT` is on its way when the server ends the session, and says that nothing has come for too long.
#[tokio::test]
async fn a_session_that_was_ended_for_doing_nothing_has_not_committed() {
    let it = Stage::new(1).await;
    let transaction = it.pool.begin().await.unwrap();
    transaction.batch_execute(&insert(1)).await.unwrap();
    transaction.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '2s'").await.unwrap();
    it.proxy.set(Direction::ToServer, Toxic::Hold);
    let error = transaction.commit().await.unwrap_err();
    it.proxy.calm().await;
    let code = error.sqlstate().map(SqlState::code);
    assert!(code == Some("25P03") || error.is_closed(), "{error}");
    assert_eq!((error.outcome(), error.diagnosis().advice), (Outcome::NotDone, Advice::RetryTransaction), "{error}");
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn a_transaction_that_is_lost_anywhere_else_has_not_happened() {
    let it = Stage::new(1).await;
    for nth in 1..=6 {
        for place in [Place::Before, Place::After] {
            for (direction, kind) in [(Direction::ToServer, b'Q'), (Direction::ToClient, b'Z')] {
                let toxic = cut(kind, nth, place, End::Close);
                drop(it.pool.begin().await.unwrap().commit().await);
                eventually("nothing is under way", async || it.pool.state().idle == 1).await;
                it.proxy.set_once(direction, toxic.clone());
                let outcome = six_statements(&it).await;
                it.proxy.calm().await;
                let error = outcome.unwrap_err();
                assert_eq!(error.outcome(), Outcome::NotDone, "{direction:?} {toxic:?}: {error}");
                assert!(it.numbers().await.is_empty(), "{direction:?} {toxic:?}");
            }
        }
    }
    it.close().await;
}

/// `BEGIN`, a savepoint that is released, another one that is undone, and `ROLLBACK`.
async fn six_statements(it: &Stage) -> Result<(), QueryError> {
    let mut transaction = it.pool.begin().await?;
    transaction.savepoint().await?.commit().await?;
    let savepoint = transaction.savepoint().await?;
    let inserted = savepoint.batch_execute(&insert(1)).await;
    inserted.map_err(|_| ()).ok();
    savepoint.rollback().await?;
    transaction.rollback().await
}

#[tokio::test]
async fn a_commit_that_the_server_ends_is_unknown() {
    let it = Stage::new(1).await;
    let lock = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait(); SELECT pg_advisory_lock(7)";
    it.other.batch_execute(lock).await.unwrap();
    for (number, track) in (1..).zip([TrackId::WithCommit, TrackId::BeforeCommit]) {
        let transaction = it.pool.begin_with(tracking(track)).await.unwrap();
        transaction.batch_execute(&insert(number)).await.unwrap();
        let (outcome, ()) = futures_util::join!(transaction.commit(), async {
            it.at_work().await;
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'users' AND wait_event = 'advisory' AND datname = $1";
            eventually("it waits", async || {
                it.watch.query_one(waits, &[&it.database.name()]).await.unwrap().get::<_, i64>(0) == 1
            })
            .await;
            it.end_sessions().await;
        });
        let error = outcome.unwrap_err();
        assert_eq!((error.outcome(), error.sqlstate()), (Outcome::Unknown, Some(&SqlState::ADMIN_SHUTDOWN)), "{error}");
        assert_eq!(error.diagnosis().advice, Advice::OutcomeUnknown);
        assert_eq!(settled(&it, number, &error).await, TransactionStatus::Aborted);
    }
    it.close().await;
}
