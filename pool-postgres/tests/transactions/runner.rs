//! Work that is run inside of a transaction.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use pool_postgres::retry::Outcome;
use pool_postgres::tokio_postgres::IsolationLevel;
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresTransaction, Queries, QueryError, QueryStep, TransactionError, TransactionOptions};

use crate::stage::{Stage, begin_and_leave, insert, told};

/// What a service fails with.
#[derive(Debug)]
enum Failed {
    Database(QueryError),
    Own(&'static str),
}

impl From<QueryError> for Failed {
    fn from(error: QueryError) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[tokio::test]
async fn work_that_succeeds_is_committed_and_work_that_fails_is_not() {
    let it = Stage::new(1).await;
    let value = it
        .pool
        .transaction(async |tx| {
            tx.execute(&insert(1), &[]).await?;
            Ok::<_, QueryError>("done")
        })
        .await;
    assert_eq!(value.unwrap(), "done");
    let own: Result<(), Failed> = it
        .pool
        .transaction(async |tx| {
            tx.execute(&insert(2), &[]).await?;
            Err(Failed::Own("no money"))
        })
        .await;
    assert!(matches!(own, Err(Failed::Own("no money"))), "{own:?}");
    let waited = it.pool.stats().waited;
    drop(it.pool.acquire().await.unwrap());
    assert_eq!(it.pool.stats().waited, waited, "it was rolled back before the error was returned");
    assert_eq!(it.numbers().await, [1]);
    it.close().await;
}

#[tokio::test]
async fn the_first_error_is_the_one_that_is_returned() {
    let it = Stage::new(1).await;
    let failed: Result<(), Failed> = it
        .pool
        .transaction(async |tx| {
            tx.execute(&insert(1), &[]).await?;
            tx.execute(&insert(1), &[]).await?;
            Ok(())
        })
        .await;
    let Err(Failed::Database(error)) = failed else { panic!("{failed:?}") };
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Execute, Some(&SqlState::UNIQUE_VIOLATION)));
    // To roll back fails, too: nobody is there any more.
    let failed: Result<(), Box<dyn StdError + Send + Sync>> = it
        .pool
        .transaction(async |tx| {
            tx.execute(&insert(1), &[]).await?;
            it.end_sessions().await;
            Err("my own".into())
        })
        .await;
    assert_eq!(failed.unwrap_err().to_string(), "my own");
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn an_error_that_the_work_passes_over_is_no_success() {
    let it = Stage::new(1).await;
    let careless = it.pool.transaction(async |tx| {
        tx.execute(&insert(1), &[]).await?;
        let _ = tx.execute("SELECT 1 / 0", &[]).await;
        Ok::<_, QueryError>(())
    });
    let expected = (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::RolledBack));
    assert_eq!(told(careless.await), expected);
    let ending = it.pool.transaction(async |tx| tx.batch_execute("COMMIT AND CHAIN").await);
    let expected = (QueryStep::Commit, Outcome::Unknown, Some(TransactionError::EndedByWork));
    assert_eq!(told(ending.await), expected);
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn the_work_may_end_it_itself() {
    let it = Stage::new(1).await;
    let value = it.pool.transaction(async |tx| {
        tx.execute(&insert(1), &[]).await?;
        tx.commit().await?;
        Ok::<_, QueryError>(7)
    });
    assert_eq!(value.await.unwrap(), 7);
    let value = it.pool.transaction(async |tx| {
        tx.execute(&insert(2), &[]).await?;
        tx.rollback().await?;
        Ok::<_, QueryError>(8)
    });
    assert_eq!(value.await.unwrap(), 8);
    assert_eq!(it.numbers().await, [1]);
    it.close().await;
}

#[tokio::test]
async fn a_commit_that_the_work_has_given_up_is_not_made_again() {
    let it = Stage::new(1).await;
    let work = it.pool.transaction(async |tx| {
        tx.execute(&insert(1), &[]).await?;
        begin_and_leave(tx.commit()).await;
        Ok::<_, QueryError>(())
    });
    let (_, outcome, error) = told(work.await);
    assert_eq!((outcome, error), (Outcome::Unknown, Some(TransactionError::EndedByWork)));
    assert_eq!(it.numbers().await, [1], "it was made once");
    it.close().await;
}

#[tokio::test]
async fn what_the_work_keeps_is_not_committed() {
    let it = Stage::new(1).await;
    let kept: Mutex<Option<PostgresTransaction<'static>>> = Mutex::default();
    let work = it.pool.transaction(async |tx| {
        tx.execute(&insert(1), &[]).await?;
        *kept.lock().unwrap() = Some(tx);
        Ok::<_, QueryError>(())
    });
    let expected = (QueryStep::Commit, Outcome::NotDone, Some(TransactionError::Kept));
    assert_eq!(told(work.await), expected);
    let transaction = kept.lock().unwrap().take().unwrap();
    // Whoever has it is inside of it still.
    transaction.execute(&insert(2), &[]).await.unwrap();
    assert!(it.numbers().await.is_empty());
    assert_eq!(it.pool.state().leased, 1);
    drop(transaction);
    it.all_idle(1).await;
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn work_can_be_given_to_a_task_and_borrow_what_is_around_it() {
    let it = Stage::new(2).await;
    let (pool, numbers) = (it.pool.clone(), vec![1, 2, 3]);
    let task = tokio::spawn(async move {
        let mut options = TransactionOptions::default();
        options.isolation_level = Some(IsolationLevel::RepeatableRead);
        let inserted = pool.transaction_with(options, async |mut tx| {
            let mut inserted = 0;
            for number in &numbers {
                inserted += tx.execute("INSERT INTO t VALUES ($1)", &[number]).await?;
                let mut savepoint = tx.savepoint().await?;
                let inner = savepoint.savepoint_named("inner").await?;
                inner.execute("INSERT INTO t VALUES ($1)", &[&(number + 10)]).await?;
                inner.commit().await?;
                savepoint.rollback().await?;
            }
            Ok::<_, QueryError>(inserted)
        });
        (inserted.await, numbers)
    });
    let (inserted, numbers) = task.await.unwrap();
    assert_eq!((inserted.unwrap(), it.numbers().await), (3, numbers));
    it.close().await;
}

#[tokio::test]
async fn work_that_panics_is_rolled_back() {
    let it = Stage::new(1).await;
    let work = it.pool.transaction(async |tx| -> Result<(), QueryError> {
        tx.execute(&insert(1), &[]).await?;
        panic!("on purpose")
    });
    std::panic::AssertUnwindSafe(work).catch_unwind().await.unwrap_err();
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

#[tokio::test]
async fn what_the_work_leaves_running_does_not_hold_up_its_error() {
    let it = Stage::new(1).await;
    let mut patient = (*it.pool.config()).clone();
    patient.reset_timeout = Duration::from_mins(5);
    it.pool.reconfigure(patient).unwrap();
    let work = it.pool.transaction(async |tx| -> Result<(), Failed> {
        tx.execute(&insert(1), &[]).await?;
        begin_and_leave(tx.client().batch_execute("SELECT pg_sleep(600)")).await;
        it.at_work().await;
        Err(Failed::Own("impatient"))
    });
    let failed = tokio::time::timeout(Duration::from_mins(1), work).await.unwrap();
    assert!(matches!(failed, Err(Failed::Own("impatient"))), "{failed:?}");
    it.all_idle(1).await;
    assert!(it.numbers().await.is_empty());
    it.close().await;
}
