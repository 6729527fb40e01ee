//! Batches that nobody waits for any more.

use std::pin::pin;
use std::task::{Context, Waker};

use futures_util::StreamExt;
use pool_postgres::retry::Outcome;
use pool_postgres::{PostgresPool, Queries};

use crate::as_one::{INSERT, numbers, table, unharmed};
use crate::common::{config, eventually, watcher};

/// A batch of so many rows and then something that takes for ever.
fn endless<'q>(pool: &PostgresPool, is_one: bool, values: &'q [i32]) -> pool_postgres::Batch<'static, 'q> {
    let mut batch = if is_one { pool.batch() } else { pool.batch().one_by_one() };
    for value in values {
        batch.push(INSERT, &[value]);
    }
    batch.add("SELECT pg_sleep(1000)", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_is_not_hit() {
    let (_database, pool) = table(1).await;
    for is_one in [true, false] {
        let values: Vec<i32> = (0..10).collect();
        let mut answers = endless(&pool, is_one, &values).send().await.unwrap();
        assert!(answers.next().await.unwrap().is_ok(), "as one: {is_one}");
        drop(answers);
        unharmed(&pool, 1).await;
        let expected = if is_one { vec![] } else { values };
        assert_eq!(numbers(&pool).await, expected);
    }
}

/// Drops it after so many polls, if it has not ended by then. Whether it has.
async fn ends_within(polls: u32, work: impl Future) -> bool {
    let mut work = pin!(work);
    for _ in 0..polls {
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_batch_that_is_dropped_at_any_moment_is_done_or_not() {
    let (_database, pool) = table(1).await;
    // Enough for it to end before it is dropped, at least now and then.
    let (mut dropped, mut polls, mut ended) = (0, 0, 0);
    while polls < 60 || ended == 0 {
        pool.batch_execute("TRUNCATE t").await.unwrap();
        let values: Vec<i32> = (0..100).collect();
        let mut batch = pool.batch();
        for value in &values {
            batch.push(INSERT, &[value]);
        }
        let has_ended = ends_within(polls + 1, batch.execute_all()).await;
        unharmed(&pool, 1).await;
        let count = numbers(&pool).await.len();
        assert!(count == 100 || (count == 0 && !has_ended), "{count} of 100");
        (dropped, ended) = (dropped + u64::from(!has_ended), ended + u64::from(has_ended));
        // One after the other, and then as many as it takes where the server is slow, or it would be a long time.
        polls += if polls < 60 { 1 } else { polls / 8 };
    }
    assert!(dropped > 0 && ended > 0, "{dropped} dropped, {ended} ended");
}

/// More than the sockets take, so that most of it is still here when nobody waits for it any more.
#[tokio::test]
async fn a_server_is_never_left_waiting_for_the_end() {
    let (database, pool) = table(1).await;
    let watcher = watcher(&database).await;
    let text = "x".repeat(100_000);
    let mut batch = pool.batch().add(INSERT, &[&7]);
    for _ in 0..500 {
        batch.push("SELECT length($1::text)", &[&text]);
    }
    drop(batch.send().await.unwrap());
    unharmed(&pool, 1).await;
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle'";
    let name = database.name().to_owned();
    eventually("the server is ready", || async {
        watcher.query_one(idle, &[&name]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

/// What is not to be cancelled is done.
#[tokio::test]
async fn what_is_not_to_be_cancelled_is_done() {
    let (database, _) = table(1).await;
    let mut settings = config(database.url(), 1);
    settings.limits.cancel_on_drop = false;
    let pool = PostgresPool::connect(settings).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let batch = lease.batch().add(INSERT, &[&1]).add("SELECT pg_sleep(0.2)", &[]).add(INSERT, &[&2]);
    drop(batch.send().await.unwrap());
    let count: i64 = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 2);
}

/// All of it has been sent, so that it might have been done.
#[tokio::test]
async fn nobody_knows_what_was_at_work_when_the_connection_was_lost() {
    let (database, pool) = table(1).await;
    let watcher = watcher(&database).await;
    for is_one in [true, false] {
        let values: Vec<i32> = (0..3).collect();
        let answers = endless(&pool, is_one, &values).send().await.unwrap();
        let name = database.name().to_owned();
        let sleeping = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'";
        eventually("it sleeps", || async { !watcher.query(sleeping, &[&name]).await.unwrap().is_empty() }).await;
        watcher.query(&format!("SELECT pg_terminate_backend(pid) FROM ({sleeping}) AS them"), &[&name]).await.unwrap();
        let answers: Vec<_> = answers.collect().await;
        assert_eq!(answers.len(), 4);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "{answers:?}");
        assert_eq!(answers[3].as_ref().unwrap_err().outcome(), Outcome::Unknown);
        let expected = if is_one { vec![] } else { values };
        assert_eq!(numbers(&pool).await, expected);
    }
}
