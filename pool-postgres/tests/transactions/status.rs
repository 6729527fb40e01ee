//! What has become of a transaction, by its number.

use std::num::NonZeroU64;

use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresTransaction, Queries, TransactionId, TransactionStatus};

use crate::stage::{Stage, insert};

/// The number of a transaction, which gets one.
async fn number(transaction: &PostgresTransaction<'_>) -> TransactionId {
    let row = transaction.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap();
    TransactionId::from(row.get::<_, &str>(0).parse::<NonZeroU64>().unwrap())
}

#[tokio::test]
async fn the_server_knows_what_has_become_of_a_transaction() {
    let it = Stage::new(3).await;
    let mut numbers = Vec::new();
    for commits in [true, false] {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(1), &[]).await.unwrap();
        numbers.push(number(&transaction).await);
        if commits {
            transaction.commit().await.unwrap();
        } else {
            drop(transaction);
        }
        it.other.batch_execute("DELETE FROM t").await.unwrap();
    }
    let open = it.pool.begin().await.unwrap();
    numbers.push(number(&open).await);
    // The one that was dropped is rolled back. While the server is at that, its session is active.
    crate::common::eventually("all others are idle", async || {
        it.in_state("idle in transaction").await == 1 && it.in_state("active").await == 0
    })
    .await;
    let mut found = Vec::new();
    for number in &numbers {
        found.push(it.pool.transaction_status(*number).await.unwrap());
    }
    assert_eq!(found, [TransactionStatus::Committed, TransactionStatus::Aborted, TransactionStatus::InProgress]);
    // The numbers below are those of the server itself.
    let first = it.pool.transaction_status(NonZeroU64::MIN).await.unwrap();
    assert!(matches!(first, TransactionStatus::Committed | TransactionStatus::Forgotten), "{first}");
    let error = it.pool.transaction_status(NonZeroU64::MAX).await.unwrap_err();
    assert!(error.sqlstate().is_some_and(|code| *code == SqlState::INVALID_PARAMETER_VALUE), "{error}");
    drop(open);
    it.close().await;
}
