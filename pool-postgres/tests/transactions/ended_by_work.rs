//! Transactions that are ended by a statement, behind the back of whoever has them.

use pool_postgres::retry::Outcome;
use pool_postgres::{Queries, QueryStep, TransactionError};

use crate::stage::{Stage, begin_and_leave, insert, outside, told};

/// What ends a transaction, and whether what was done before is there.
const ENDS: [(&str, bool); 8] = [
    ("COMMIT", true),
    ("ROLLBACK", false),
    ("COMMIT AND CHAIN", true),
    ("ROLLBACK AND CHAIN", false),
    ("COMMIT; BEGIN", true),
    ("ROLLBACK; BEGIN", false),
    ("ROLLBACK; START TRANSACTION", false),
    ("END; BEGIN ISOLATION LEVEL SERIALIZABLE", true),
];

#[tokio::test]
async fn a_commit_after_the_work_has_ended_the_transaction_is_not_passed_off_as_one() {
    let it = Stage::new(1).await;
    let mut there = Vec::new();
    for (number, (end, is_kept)) in (0..).step_by(2).zip(ENDS) {
        let mut lease = it.pool.acquire().await.unwrap();
        let transaction = lease.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        transaction.batch_execute(end).await.unwrap();
        let begins = end.contains("CHAIN") || end.contains(';');
        if begins {
            transaction.execute(&insert(number + 1), &[]).await.unwrap();
        }
        let expected = (QueryStep::Commit, Outcome::Unknown, Some(TransactionError::EndedByWork));
        assert_eq!(told(transaction.commit().await), expected, "{end}");
        outside(&lease).await;
        drop(lease);
        there.extend(is_kept.then_some(number));
        assert_eq!(it.numbers().await, there, "{end}: what has begun since is rolled back");
    }
    it.close().await;
}

#[tokio::test]
async fn a_rollback_after_the_work_has_ended_the_transaction_is_not_passed_off_as_one() {
    let it = Stage::new(1).await;
    for (number, (end, _)) in (0..).zip(ENDS) {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        transaction.batch_execute(end).await.unwrap();
        let expected = (QueryStep::RollBack, Outcome::Unknown, Some(TransactionError::EndedByWork));
        assert_eq!(told(transaction.rollback().await), expected, "{end}");
    }
    it.close().await;
}

/// Its answer comes after `commit` has looked.
#[tokio::test]
async fn an_end_that_is_under_way_is_seen_when_it_has_come() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    for (number, (end, _)) in (0..).zip(ENDS) {
        let transaction = lease.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        begin_and_leave(transaction.client().batch_execute(end)).await;
        let expected = (QueryStep::Commit, Outcome::Unknown, Some(TransactionError::EndedByWork));
        assert_eq!(told(transaction.commit().await), expected, "{end}");
        outside(&lease).await;
        let transaction = lease.begin().await.unwrap();
        begin_and_leave(transaction.client().batch_execute("COMMIT; BEGIN")).await;
        let expected = (QueryStep::RollBack, Outcome::Unknown, Some(TransactionError::EndedByWork));
        assert_eq!(told(transaction.rollback().await), expected);
        outside(&lease).await;
    }
    drop(lease);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_that_is_prepared_is_not_committed() {
    let it = Stage::new(1).await;
    let transaction = it.pool.begin().await.unwrap();
    // The server may have no room for any: then the transaction has failed.
    let is_prepared = transaction.batch_execute("PREPARE TRANSACTION 'here'").await.is_ok();
    let (_, outcome, error) = told(transaction.commit().await);
    if is_prepared {
        assert_eq!((outcome, error), (Outcome::Unknown, Some(TransactionError::EndedByWork)));
        it.other.batch_execute("ROLLBACK PREPARED 'here'").await.unwrap();
    } else {
        assert_ne!(error, None);
    }
    it.close().await;
}

#[tokio::test]
async fn savepoints_that_are_set_by_hand_do_no_harm() {
    let it = Stage::new(1).await;
    let transaction = it.pool.begin().await.unwrap();
    transaction.batch_execute("SAVEPOINT a; INSERT INTO t VALUES (1); ROLLBACK TO a").await.unwrap();
    transaction.batch_execute("SAVEPOINT b; INSERT INTO t VALUES (2); RELEASE b").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [2]);
    it.close().await;
}

#[tokio::test]
async fn what_is_dropped_after_the_work_has_ended_it_ends_nothing_else() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    for (number, end) in (1..).zip(["COMMIT", "COMMIT AND CHAIN", "ROLLBACK"]) {
        let transaction = lease.begin().await.unwrap();
        transaction.batch_execute(end).await.unwrap();
        drop(transaction);
        Queries::execute(&*lease, &insert(number), &[]).await.unwrap();
    }
    drop(lease);
    assert_eq!(it.numbers().await, [1, 2, 3]);
    it.close().await;
}
