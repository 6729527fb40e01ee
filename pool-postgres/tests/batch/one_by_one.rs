//! Each for itself.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt};
use pool_postgres::BatchAnswer;
use pool_postgres::retry::Outcome;
use tokio_postgres::error::SqlState;

use crate::as_one::{INSERT, numbers, table, unharmed};

#[tokio::test]
async fn each_is_a_transaction_of_its_own() {
    let (_database, pool) = table(1).await;
    let mut batch = pool.batch().one_by_one();
    for _ in 0..20 {
        batch.push("SELECT pg_current_xact_id()::text", &[]);
    }
    let answers: Vec<BatchAnswer> = batch.send().await.unwrap().try_collect().await.unwrap();
    let all: BTreeSet<String> = answers.iter().map(|answer| answer.rows()[0].get(0)).collect();
    assert_eq!(all.len(), 20);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn what_fails_fails_alone() {
    let (_database, pool) = table(1).await;
    for at in [0, 1, 25, 49] {
        let values: Vec<i32> = (0..50).map(|n| if n == at { 1000 } else { n }).collect();
        pool.batch().add("TRUNCATE t", &[]).add(INSERT, &[&1000]).execute_all().await.unwrap();
        let mut batch = pool.batch().one_by_one();
        for value in &values {
            batch.push(INSERT, &[value]);
        }
        let answers: Vec<_> = batch.send().await.unwrap().collect().await;
        let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        let [error] = failed[..] else { panic!("{failed:?}") };
        assert_eq!((error.sqlstate(), error.outcome()), (Some(&SqlState::UNIQUE_VIOLATION), Outcome::NotDone));
        assert_eq!(error.batch_index(), usize::try_from(at).ok());
        assert_eq!(numbers(&pool).await.len(), 50, "the others are there");
        unharmed(&pool, 1).await;
    }
}

#[tokio::test]
async fn what_cannot_be_prepared_or_sent_fails_alone() {
    let (_database, pool) = table(1).await;
    let wrong = "SELECT nothing";
    let batch = pool.batch().one_by_one().add(INSERT, &[&1]).add(wrong, &[]).add(INSERT, &[&"two"]);
    let batch = batch.add(wrong, &[]).add("VACUUM t", &[]).add(INSERT, &[&3]);
    let answers: Vec<_> = batch.send().await.unwrap().collect().await;
    let failed: Vec<String> = answers.iter().filter_map(|answer| Some(answer.as_ref().err()?.to_string())).collect();
    let [first, second, third] = &failed[..] else { panic!("{failed:?}") };
    assert!(first.contains("statement 2 of 6") && first.contains("42703"), "{first}");
    assert!(second.contains("statement 3 of 6") && second.contains("parameter $1 cannot be sent"), "{second}");
    assert!(
        third.contains("statement 4 of 6") && third.contains("it is statement 2 of the batch once more"),
        "{third}"
    );
    assert_eq!(numbers(&pool).await, [1, 3]);
    unharmed(&pool, 1).await;
}

/// The error is told when all have been executed.
#[tokio::test]
async fn those_behind_an_error_are_executed_before_it_is_told() {
    let (_database, pool) = table(1).await;
    let batch = pool.batch().one_by_one().add(INSERT, &[&1]).add(INSERT, &[&1]).add(INSERT, &[&2]);
    let error = batch.execute_all().await.unwrap_err();
    assert_eq!(error.batch_index(), Some(1));
    assert_eq!(numbers(&pool).await, [1, 2]);
}
