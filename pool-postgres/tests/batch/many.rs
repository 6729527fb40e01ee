//! More than fits into any buffer, and more statements than are kept.

use std::time::Duration;

use futures_util::StreamExt;
use pool_postgres::{PostgresPool, Query};

use crate::as_one::{INSERT, numbers, table, unharmed};
use crate::common::{config, database};

const MANY: usize = 20_000;

/// Neither side can send all that it has before it reads what the other one sends.
async fn echo(is_one: bool) {
    let (_database, pool) = table(1).await;
    let text = "x".repeat(10_000);
    let mut batch = if is_one { pool.batch().as_one() } else { pool.batch().one_by_one() };
    for _ in 0..MANY {
        batch.push("SELECT $1::text", &[&text]);
    }
    let mut answers = batch.send().await.unwrap();
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        assert_eq!(answer.unwrap().rows()[0].get::<_, &str>(0).len(), text.len());
        count += 1;
    }
    assert_eq!(count, MANY);
    drop(answers);
    unharmed(&pool, 1).await;
}

#[tokio::test]
async fn what_fits_into_no_buffer_arrives_as_one() {
    echo(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_no_buffer_arrives_one_by_one() {
    echo(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_but_the_first_of_many_are_skipped() {
    let (_database, pool) = table(1).await;
    let values: Vec<i32> = [vec![1], (1..20_000).collect()].concat();
    let mut batch = pool.batch();
    for value in &values {
        batch.push(INSERT, &[value]);
    }
    let answers: Vec<_> = batch.send().await.unwrap().collect().await;
    assert!(answers[0].is_ok() && answers[1].as_ref().is_err_and(|error| !error.is_skipped()));
    assert!(answers[2..].iter().all(|answer| answer.as_ref().is_err_and(pool_postgres::QueryError::is_skipped)));
    assert_eq!((answers.len(), numbers(&pool).await.len()), (MANY, 0));
    unharmed(&pool, 1).await;
}

/// What makes room in the cache is closed, in between.
#[tokio::test]
async fn a_cache_may_be_smaller_than_the_batch() {
    let database = database();
    let mut settings = config(database.url(), 1);
    (settings.statements.cache, settings.statements.warm) = (3, 0);
    let pool = PostgresPool::connect(settings).await.unwrap();
    let all: Vec<String> = (0..200).map(|n| format!("SELECT {n} + $1::int")).collect();
    for is_one in [true, false, true] {
        let mut batch = if is_one { pool.batch() } else { pool.batch().one_by_one() };
        for sql in &all {
            batch.push(sql, &[&1]);
        }
        let answers: Vec<_> = batch.send().await.unwrap().collect().await;
        let sums: Vec<i32> = answers.iter().map(|answer| answer.as_ref().unwrap().rows()[0].get(0)).collect();
        assert_eq!(sums, (1..=200).collect::<Vec<_>>());
        unharmed(&pool, 1).await;
    }
    assert!(pool.acquire().await.unwrap().prepared_statements() <= 3);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_the_batch() {
    let (database, _) = table(1).await;
    let mut settings = config(database.url(), 1);
    // However long the server takes to say what has become of it: then its session is not closed.
    settings.limits.cancel_timeout = Duration::from_mins(1);
    let pool = PostgresPool::connect(settings).await.unwrap();
    for is_one in [true, false] {
        let batch = if is_one { pool.batch() } else { pool.batch().one_by_one() };
        let sleep = Query::new("SELECT pg_sleep(1000)").timeout(Duration::from_millis(50));
        let n = i32::from(is_one);
        let batch = batch.add(INSERT, &[&n]).add(sleep.clone(), &[]).add(sleep, &[]);
        let answers: Vec<_> = batch.send().await.unwrap().collect().await;
        assert!(answers[0].is_ok());
        let [first, second] = [1, 2].map(|at: usize| answers[at].as_ref().unwrap_err());
        assert!(first.is_timeout(), "{first}");
        assert_eq!((second.is_skipped(), second.is_timeout()), (is_one, !is_one), "{second}");
        unharmed(&pool, 1).await;
    }
    assert_eq!(numbers(&pool).await, [0], "of what was one, nothing");
}
