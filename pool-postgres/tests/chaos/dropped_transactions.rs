//! The futures of transactions.

use std::future::Future;
use std::num::NonZeroU64;

use futures_util::TryStreamExt;
use pool_postgres::{PostgresOwnedLease, PostgresTransaction, Queries, QueryError, TransactionOptions};
use pool_testkit::cancel::Cut;
use tokio_postgres::types::Type;

use crate::asking::LIMIT;
use crate::dropped::{Case, Stage};

/// Whether it has ended, or has taken as long as it may while something goes wrong. The future of a whole transaction is large, so it is in a box.
fn ended<T>(
    stage: &Stage,
    cut: Cut,
    future: impl Future<Output = Result<T, QueryError>>,
) -> impl Future<Output = bool> {
    let (patience, future) = (stage.fault.patience, Box::pin(future));
    async move { cut.apply(tokio::time::timeout(patience, future)).await.is_some() }
}

async fn lease(stage: &Stage) -> PostgresOwnedLease {
    stage.chaos.pool.acquire_owned_timeout(LIMIT).await.unwrap()
}

/// A statement for each of two rows, so that one alone is half of a transaction.
async fn insert(stage: &Stage, transaction: &impl Queries) -> Result<(), QueryError> {
    let one = format!("INSERT INTO {} VALUES (1)", stage.table);
    transaction.execute(&one, &[]).await?;
    transaction.execute(&one, &[]).await?;
    Ok(())
}

/// A transaction in which something was done, on somebody's connection.
async fn open<'a>(stage: &Stage, lease: &'a mut PostgresOwnedLease) -> PostgresTransaction<'a> {
    let transaction = lease.begin().await.unwrap();
    insert(stage, &transaction).await.unwrap();
    transaction
}

pub(crate) const TRANSACTIONS: [Case; 13] = [
    ("begin", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let begun = async {
                let transaction = stage.chaos.pool.begin().await?;
                insert(stage, &transaction).await?;
                Ok(transaction)
            };
            ended(stage, cut, begun).await
        })
    }),
    // On a connection that somebody has, and uses afterwards.
    ("begin_with", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            stage.strike().await;
            let begun = ended(stage, cut, lease.begin_with(TransactionOptions::default())).await;
            let following = Queries::execute(&*lease, stage.insert(), &[]);
            let _ = tokio::time::timeout(stage.fault.patience, following).await;
            begun
        })
    }),
    ("commit", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let transaction = open(stage, &mut lease).await;
            stage.strike().await;
            ended(stage, cut, transaction.commit()).await
        })
    }),
    ("rollback", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let transaction = open(stage, &mut lease).await;
            stage.strike().await;
            ended(stage, cut, transaction.rollback()).await
        })
    }),
    ("savepoint", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let mut transaction = open(stage, &mut lease).await;
            stage.strike().await;
            let begun = ended(stage, cut, transaction.savepoint()).await;
            let _ = tokio::time::timeout(stage.fault.patience, transaction.commit()).await;
            begun
        })
    }),
    // From its beginning to its end, with half of the work inside, which is kept as a whole.
    ("savepoint_named", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let mut transaction = open(stage, &mut lease).await;
            stage.strike().await;
            let inside = async {
                let savepoint = transaction.savepoint_named("inside").await?;
                insert(stage, &savepoint).await?;
                savepoint.rollback().await
            };
            let inside = ended(stage, cut, inside).await;
            let _ = tokio::time::timeout(stage.fault.patience, transaction.commit()).await;
            inside
        })
    }),
    ("transaction", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            Box::pin(ended(stage, cut, stage.chaos.pool.transaction(async |tx| insert(stage, &tx).await))).await
        })
    }),
    ("transaction_with", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let work = async |mut tx: PostgresTransaction<'static>| {
                let savepoint = tx.savepoint().await?;
                insert(stage, &savepoint).await?;
                savepoint.commit().await
            };
            Box::pin(ended(stage, cut, stage.chaos.pool.transaction_with(TransactionOptions::default(), work))).await
        })
    }),
    // Each fails, and rolls back by hand.
    ("transaction", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let work = async |tx: PostgresTransaction<'static>| {
                insert(stage, &tx).await?;
                tx.execute("SELECT 1 / 0", &[]).await
            };
            Box::pin(ended(stage, cut, stage.chaos.pool.transaction(work))).await
        })
    }),
    // Half of the work is inserted, and half is copied.
    ("copy_in", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let work = async |mut tx: PostgresTransaction<'static>| {
                tx.execute(&format!("INSERT INTO {} VALUES (1)", stage.table), &[]).await?;
                let mut copy = tx.copy_in(format!("COPY {} FROM STDIN", stage.table)).await?;
                copy.send("-1\n").await?;
                copy.finish().await
            };
            Box::pin(ended(stage, cut, stage.chaos.pool.transaction(work))).await
        })
    }),
    ("copy_in_rows", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let mut transaction = lease.begin().await.unwrap();
            stage.strike().await;
            let copied = async {
                let copy = format!("COPY {} FROM STDIN (FORMAT binary)", stage.table);
                let mut rows = transaction.copy_in_rows(copy, &[Type::INT4]).await?;
                rows.write(&[&1]).await?;
                rows.write(&[&-1]).await?;
                rows.finish().await
            };
            let copied = ended(stage, cut, copied).await;
            let _ = tokio::time::timeout(stage.fault.patience, transaction.commit()).await;
            copied
        })
    }),
    // What is read is stopped, and the transaction fails with it.
    ("stream", |stage, cut| {
        Box::pin(async move {
            let mut lease = lease(stage).await;
            let transaction = open(stage, &mut lease).await;
            stage.strike().await;
            let read = async {
                let mut rows = transaction.stream("SELECT generate_series(1, 100)", &[]).await?;
                rows.try_next().await
            };
            let read = ended(stage, cut, read).await;
            let _ = tokio::time::timeout(stage.fault.patience, transaction.commit()).await;
            read
        })
    }),
    ("transaction_status", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            ended(stage, cut, stage.chaos.pool.transaction_status(NonZeroU64::MIN)).await
        })
    }),
];
