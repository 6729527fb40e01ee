//! Data that is copied in a transaction, and results that are read in one bit by bit.

use futures_util::TryStreamExt;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::types::Type;
use pool_postgres::{PostgresTransaction, Queries, QueryError, QueryStep, TransactionError};

use crate::dropped::whenever_it_is_dropped;
use crate::stage::{Stage, insert, outside, told};

const COPY: &str = "COPY t (n) FROM STDIN";

/// Copies two numbers as lines, and two as values.
async fn copy_four(transaction: &mut PostgresTransaction<'_>, first: i32) -> Result<u64, QueryError> {
    let mut copy = transaction.copy_in(COPY).await?;
    copy.send(format!("{first}\n{}\n", first + 1)).await?;
    let lines = copy.finish().await?;
    let mut rows = transaction.copy_in_rows("COPY t (n) FROM STDIN (FORMAT binary)", &[Type::INT4]).await?;
    rows.write(&[&(first + 2)]).await?;
    rows.write(&[&(first + 3)]).await?;
    Ok(lines + rows.finish().await?)
}

/// What `commit` says of a transaction that has failed.
const FAILED: (QueryStep, Outcome, Option<TransactionError>) =
    (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::RolledBack));

#[tokio::test]
async fn what_is_copied_counts_with_the_commit() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    assert_eq!(copy_four(&mut transaction, 2).await.unwrap(), 4);
    assert!(it.numbers().await.is_empty(), "nobody else sees it yet");
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 2, 3, 4, 5]);
    let mut lease = it.pool.acquire().await.unwrap();
    let mut transaction = lease.begin().await.unwrap();
    assert_eq!(copy_four(&mut transaction, 10).await.unwrap(), 4);
    transaction.rollback().await.unwrap();
    outside(&lease).await;
    let mut transaction = lease.begin().await.unwrap();
    assert_eq!(copy_four(&mut transaction, 20).await.unwrap(), 4);
    drop(transaction);
    outside(&lease).await;
    drop(lease);
    let copied = it.pool.transaction(async |mut tx| copy_four(&mut tx, 30).await).await.unwrap();
    assert_eq!((copied, it.numbers().await), (4, vec![1, 2, 3, 4, 5, 30, 31, 32, 33]));
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

#[tokio::test]
async fn a_copy_that_is_refused_leaves_nothing_and_commit_says_so() {
    let it = Stage::new(1).await;
    for (sql, data, code) in
        [(COPY, "3\n3\n", "23505"), (COPY, "x\n", "22P02"), ("COPY nowhere FROM STDIN", "", "42P01")]
    {
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(1), &[]).await.unwrap();
        let copying = async {
            let mut copy = transaction.copy_in(sql).await?;
            copy.send(data).await?;
            copy.finish().await
        };
        let error = copying.await.unwrap_err();
        assert_eq!(error.sqlstate().map(SqlState::code), Some(code), "{error}");
        assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone), "{error}");
        assert_eq!(told(transaction.commit().await), FAILED, "{sql} {data:?}");
        assert!(it.numbers().await.is_empty());
    }
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

/// However much was sent, and by whichever way it was left.
#[tokio::test]
async fn a_copy_that_is_dropped_halfway_makes_the_transaction_fail() {
    let it = Stage::new(1).await;
    for sent in [0, 1, 1000] {
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(1), &[]).await.unwrap();
        let mut copy = transaction.copy_in(COPY).await.unwrap();
        for number in 0..sent {
            copy.send(format!("{}\n", 100 + number)).await.unwrap();
        }
        drop(copy);
        assert_eq!(told(transaction.commit().await), FAILED, "{sent} were sent");
        let mut transaction = it.pool.begin().await.unwrap();
        let copy = transaction.copy_in_rows("COPY t (n) FROM STDIN (FORMAT binary)", &[Type::INT4]).await.unwrap();
        drop(copy);
        let error = transaction.execute("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{error}");
        transaction.rollback().await.unwrap();
        let kept = it.pool.transaction(async |mut tx| tx.copy_in(COPY).await.map(drop)).await;
        assert_eq!(told(kept), FAILED);
    }
    assert!(it.numbers().await.is_empty());
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

/// Its beginning may be dropped at any moment: what was inserted before is committed only if the copy had not begun on the server.
#[tokio::test]
async fn a_copy_whose_beginning_is_dropped_is_no_half_of_anything() {
    let it = Stage::new(1).await;
    let (mut number, mut failed) = (0, 0);
    whenever_it_is_dropped(async |cut| {
        number += 1;
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        let ended = cut.apply(transaction.copy_in(COPY)).await.map(|begun| drop(begun.unwrap())).is_some();
        let outcome = transaction.commit().await;
        assert_eq!(it.numbers().await.contains(&number), outcome.is_ok(), "{cut:?}: {outcome:?}");
        if outcome.is_err() {
            assert_eq!(told(outcome), FAILED, "{cut:?}");
            failed += 1;
        }
        ended
    })
    .await;
    assert!((1..number).contains(&failed), "{failed} of {number} had begun");
    it.close().await;
}

#[tokio::test]
async fn in_a_savepoint_a_copy_fails_alone() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    for data in ["2\nx\n", "2\n1\n"] {
        let mut inside = transaction.savepoint().await.unwrap();
        let mut copy = inside.copy_in(COPY).await.unwrap();
        copy.send(data).await.unwrap();
        copy.finish().await.unwrap_err();
        drop(inside);
    }
    let mut inside = transaction.savepoint().await.unwrap();
    drop(inside.copy_in(COPY).await.unwrap());
    inside.rollback().await.unwrap();
    let mut inside = transaction.savepoint().await.unwrap();
    assert_eq!(copy_four(&mut inside, 3).await.unwrap(), 4);
    inside.commit().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 3, 4, 5, 6]);
    it.close().await;
}

/// All of it sees what the transaction has done, and nobody else does.
#[tokio::test]
async fn results_are_read_inside_of_the_transaction() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    transaction.execute("INSERT INTO t SELECT generate_series(1, $1::int)", &[&100]).await.unwrap();
    let rows = transaction.stream("SELECT n FROM t WHERE n > $1", &[&10]).await.unwrap();
    assert_eq!(rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i32>(0))).await.unwrap(), 5050 - 55);
    let mut cursor = transaction.cursor("SELECT n FROM t ORDER BY n", &[], 40).await.unwrap();
    let mut seen = 0;
    while let Some(batch) = cursor.fetch().await.unwrap() {
        let numbers: Vec<i32> = batch.iter().map(|row| row.get(0)).collect();
        // The transaction may be used in between.
        seen += transaction.execute("DELETE FROM t WHERE n = ANY($1)", &[&numbers]).await.unwrap();
    }
    drop(cursor);
    assert_eq!(seen, 100);
    assert_eq!(copy_four(&mut transaction, 1).await.unwrap(), 4);
    let data = transaction.copy_out("COPY t (n) TO STDOUT").await.unwrap();
    let data = data.try_fold(Vec::new(), async |all, piece| Ok([&all[..], &piece[..]].concat())).await.unwrap();
    assert_eq!(data, b"1\n2\n3\n4\n");
    let rows = transaction.copy_out_rows("COPY t (n) TO STDOUT (FORMAT binary)", &[Type::INT4]).await.unwrap();
    let sum = rows.try_fold(0, async |sum, row| Ok(sum + row.try_get::<i32>(0).unwrap())).await.unwrap();
    assert_eq!((sum, it.numbers().await), (10, vec![]));
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 2, 3, 4]);
    it.close().await;
}

/// A cursor costs nothing when it is dropped halfway; what has to be stopped makes the transaction fail, and nobody commits it unawares.
#[tokio::test]
async fn a_stream_that_is_dropped_halfway_makes_the_transaction_fail_and_a_cursor_does_not() {
    let it = Stage::new(1).await;
    // The server is not done with it before it is told to stop, however long that takes.
    let many = "SELECT generate_series(1, 1000000000)";
    for number in 1..=2 {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        if number == 1 {
            let mut rows = transaction.stream(many, &[]).await.unwrap();
            rows.try_next().await.unwrap().unwrap();
        } else {
            let mut data = transaction.copy_out(format!("COPY ({many}) TO STDOUT")).await.unwrap();
            data.try_next().await.unwrap().unwrap();
        }
        assert_eq!(told(transaction.commit().await), FAILED);
    }
    let transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(3), &[]).await.unwrap();
    transaction.cursor(many, &[], 10).await.unwrap().fetch().await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [3]);
    it.close().await;
}
