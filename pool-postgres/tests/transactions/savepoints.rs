//! Transactions inside of others.

use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresTransaction, Queries, QueryError, QueryStep, TransactionError};

use crate::stage::{Stage, insert, told};

/// How one of three savepoints, one inside of the other, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Commit,
    RollBack,
    Drop,
}

const ALL: [How; 3] = [How::Commit, How::RollBack, How::Drop];

async fn end(transaction: PostgresTransaction<'_>, how: How) {
    match how {
        How::Commit => transaction.commit().await.unwrap(),
        How::RollBack => transaction.rollback().await.unwrap(),
        How::Drop => drop(transaction),
    }
}

/// Inserts a number at each depth before and after what is inside.
async fn nest(transaction: &mut PostgresTransaction<'_>, number: i32, ends: &[How]) {
    transaction.execute(&insert(number), &[]).await.unwrap();
    if let Some((how, inside)) = ends.split_first() {
        let mut savepoint = transaction.savepoint().await.unwrap();
        Box::pin(nest(&mut savepoint, number + 1, inside)).await;
        end(savepoint, *how).await;
    }
    transaction.execute(&insert(number + 10), &[]).await.unwrap();
}

/// The numbers that are there: those of all depths down to the first that was not committed.
fn kept(ends: &[How]) -> Vec<i32> {
    let depth = ends.iter().take_while(|how| **how == How::Commit).count();
    let numbers = || 0..=i32::try_from(depth).unwrap();
    numbers().chain(numbers().map(|number| number + 10)).collect()
}

#[tokio::test]
async fn savepoints_nest_and_each_keeps_or_undoes_its_own() {
    let it = Stage::new(1).await;
    for (first, second, third) in
        ALL.iter().flat_map(|a| ALL.iter().flat_map(move |b| ALL.iter().map(move |c| (*a, *b, *c))))
    {
        let ends = [first, second, third];
        let mut transaction = it.pool.begin().await.unwrap();
        nest(&mut transaction, 0, &ends).await;
        transaction.commit().await.unwrap();
        assert_eq!(it.numbers().await, kept(&ends), "{ends:?}");
        it.other.batch_execute("DELETE FROM t").await.unwrap();
    }
    it.close().await;
}

#[tokio::test]
async fn an_error_inside_of_a_savepoint_is_undone_with_it() {
    let it = Stage::new(1).await;
    for how in [How::RollBack, How::Drop] {
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(1), &[]).await.unwrap();
        let mut savepoint = transaction.savepoint().await.unwrap();
        let inner = savepoint.savepoint().await.unwrap();
        inner.execute(&insert(1), &[]).await.unwrap_err();
        // Everything fails in here, and a savepoint around it, too, until one is undone.
        let failed = inner.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(failed.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        end(inner, how).await;
        savepoint.execute(&insert(2), &[]).await.unwrap();
        savepoint.execute("SELECT 1 / 0", &[]).await.unwrap_err();
        end(savepoint, how).await;
        transaction.execute(&insert(3), &[]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(it.numbers().await, [1, 3], "{how:?}");
        it.other.batch_execute("DELETE FROM t").await.unwrap();
    }
    it.close().await;
}

#[tokio::test]
async fn a_savepoint_that_has_failed_cannot_be_committed_and_its_transaction_goes_on() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    let savepoint = transaction.savepoint().await.unwrap();
    savepoint.execute(&insert(2), &[]).await.unwrap();
    savepoint.execute("SELECT 1 / 0", &[]).await.unwrap_err();
    let error = savepoint.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!((error.step(), error.outcome()), (QueryStep::Commit, Outcome::NotDone));
    transaction.execute(&insert(3), &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 3]);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_that_has_failed_has_no_savepoints() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    transaction.execute("SELECT 1 / 0", &[]).await.unwrap_err();
    let error = transaction.savepoint().await.map(drop).unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!((error.step(), error.outcome()), (QueryStep::Begin, Outcome::NotDone));
    let expected = (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::RolledBack));
    assert_eq!(told(transaction.commit().await), expected);
    it.close().await;
}

/// A savepoint that cannot be set must not undo another one that happens to be there.
#[tokio::test]
async fn a_savepoint_that_was_never_set_undoes_nothing() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    let mut outer = transaction.savepoint().await.unwrap();
    outer.execute(&insert(1), &[]).await.unwrap();
    outer.execute("SELECT 1 / 0", &[]).await.unwrap_err();
    crate::stage::begin_and_leave(outer.savepoint()).await;
    outer.savepoint().await.map(drop).unwrap_err();
    let failed = outer.execute(&insert(2), &[]).await.unwrap_err();
    assert_eq!(failed.sqlstate(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "it has failed still");
    drop(outer);
    transaction.commit().await.unwrap();
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn a_savepoint_may_have_any_name_that_the_server_keeps() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    let names = [
        "plain",
        "Mixed Case",
        "a \"quoted\" one",
        "x; DROP TABLE t; --",
        "ein l\u{e4}ngerer",
        "savepoint 1",
        "select",
    ];
    for (number, name) in (1..).zip(names) {
        let savepoint = transaction.savepoint_named(name).await.unwrap();
        savepoint.execute(&insert(number), &[]).await.unwrap();
        assert!(format!("{savepoint:?}").contains(&format!("{name:?}")));
        end(savepoint, if number % 2 == 0 { How::Commit } else { How::Drop }).await;
    }
    // By its name, and exactly that.
    let mut here = transaction.savepoint_named("Here").await.unwrap();
    here.execute(&insert(100), &[]).await.unwrap();
    here.batch_execute("ROLLBACK TO \"Here\"").await.unwrap();
    for name in ["", "Here", "a\0b", &"x".repeat(64)] {
        let expected = (QueryStep::Begin, Outcome::NotDone, Some(TransactionError::SavepointName));
        assert_eq!(told(here.savepoint_named(name).await), expected, "{name:?}");
    }
    let inner = here.savepoint().await.unwrap();
    inner.commit().await.unwrap();
    here.commit().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [2, 4, 6]);
    it.close().await;
}

/// What has savepoints of its own does not care whether it is in one.
async fn import(transaction: &mut PostgresTransaction<'_>, numbers: &[i32]) -> Result<usize, QueryError> {
    let mut imported = 0;
    for number in numbers {
        let one = transaction.savepoint().await?;
        if one.execute(&insert(*number), &[]).await.is_ok() {
            one.commit().await?;
            imported += 1;
        }
    }
    Ok(imported)
}

#[tokio::test]
async fn rows_that_cannot_be_inserted_are_left_out() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    assert_eq!(import(&mut transaction, &[1, 2, 1, 3]).await.unwrap(), 3);
    let mut savepoint = transaction.savepoint().await.unwrap();
    assert_eq!(import(&mut savepoint, &[4, 4]).await.unwrap(), 1);
    savepoint.commit().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(it.numbers().await, [1, 2, 3, 4]);
    it.close().await;
}

#[tokio::test]
async fn a_savepoint_whose_transaction_the_work_has_ended_is_not_committed() {
    let it = Stage::new(1).await;
    let mut transaction = it.pool.begin().await.unwrap();
    let savepoint = transaction.savepoint().await.unwrap();
    savepoint.batch_execute("ROLLBACK AND CHAIN").await.unwrap();
    let error = savepoint.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::S_E_INVALID_SPECIFICATION), "{error}");
    assert!(transaction.commit().await.is_err());
    it.close().await;
}
