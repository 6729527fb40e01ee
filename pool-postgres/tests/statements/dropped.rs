//! Statements that are prepared for somebody who does not wait for that.

use std::pin::pin;

use futures_util::poll;
use pool_postgres::tokio_postgres::Client;
use pool_postgres::{PostgresPool, Queries, StatementMode};
use pool_testkit::cancel::{Cut, Manner};
use pool_testkit::postgres::TestDatabase;

use super::on_server;

/// Drops what asks with a statement of its own after every number of polls, on a pool of one connection, and looks whether the server has more prepared then than the connection knows of.
async fn nothing_is_left(pool: &PostgresPool, ask: impl AsyncFn(&PostgresPool, &str)) {
    let mut number = 0;
    for manner in Manner::ALL {
        let mut polls = usize::from(manner != Manner::AtOnce);
        loop {
            number += 1;
            let sql = format!("SELECT generate_series(1, 3) + {number}");
            let has_ended = Cut { polls, manner }.apply(ask(pool, &sql)).await.is_some();
            let lease = pool.acquire().await.unwrap();
            let kept = i64::try_from(lease.prepared_statements()).unwrap();
            assert_eq!(on_server(&lease).await, kept, "after {polls} polls, {manner:?}");
            if has_ended {
                break;
            }
            polls += 1;
        }
    }
    assert!(number > 4, "{number} cases");
    assert_eq!(pool.stats().opened, 1, "in one session");
}

/// With the cancellation that a dropped query has, most are not prepared at all.
async fn pool_of_one(cancels: bool, mode: StatementMode) -> (TestDatabase, PostgresPool) {
    let database = super::common::database();
    let mut config = super::common::config(database.url(), 1);
    (config.limits.cancel_on_drop, config.statements.mode) = (cancels, mode);
    let pool = PostgresPool::connect(config).await.unwrap();
    (database, pool)
}

#[tokio::test]
async fn what_is_prepared_for_nobody_is_forgotten() {
    for cancels in [false, true] {
        let (_database, pool) = pool_of_one(cancels, StatementMode::Prepared).await;
        nothing_is_left(&pool, async |pool, sql| drop(pool.query(sql, &[]).await.unwrap())).await;
        nothing_is_left(&pool, async |pool, sql| drop(pool.stream(sql, &[]).await.unwrap())).await;
        nothing_is_left(&pool, async |pool, sql| drop(pool.copy_out(format!("COPY ({sql}) TO STDOUT")).await.unwrap()))
            .await;
        nothing_is_left(&pool, async |pool, sql| {
            let mut cursor = pool.fetch_in_batches(sql, &[], 2).await.unwrap();
            cursor.fetch().await.unwrap();
        })
        .await;
    }
}

/// Another server may answer the question which of them are there, and what forgets them.
#[tokio::test]
async fn where_others_may_answer_nothing_is_asked_about_what_is_prepared_for_nobody() {
    let (_database, pool) = pool_of_one(false, StatementMode::Unprepared).await;
    let mut left = 0;
    for polls in 1.. {
        let sql = format!("SELECT generate_series(1, 3) + {polls}");
        let lease = pool.acquire().await.unwrap();
        let has_ended = Cut { polls, manner: Manner::AtOnce }.apply(Queries::query(&*lease, &sql, &[])).await;
        drop(lease);
        let lease = pool.acquire().await.unwrap();
        left = on_server(&lease).await;
        if left > 0 || has_ended.is_some() {
            break;
        }
    }
    assert_eq!((left, pool.stats().opened), (1, 1), "it is there until the session ends");
}

/// What its user has prepared himself, with the same text, is his.
#[tokio::test]
async fn what_somebody_else_has_prepared_stays() {
    // While a cancellation holds something back, what that is about stays.
    let (_database, pool) = pool_of_one(false, StatementMode::Prepared).await;
    let sql = "SELECT 'the same'";
    let lease = pool.acquire().await.unwrap();
    let own = lease.prepare(sql).await.unwrap();
    for polls in 1..4 {
        let cut = Cut { polls, manner: Manner::AtOnce };
        drop(cut.apply(Queries::query(&*lease, sql, &[])).await);
    }
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    assert_eq!(Client::query(&lease, &own, &[]).await.unwrap().len(), 1, "it is there still");
    assert_eq!(on_server(&lease).await, 1 + i64::try_from(lease.prepared_statements()).unwrap());
    assert_eq!(pool.stats().opened, 1, "in one session");
}

/// Polls a future once and drops it.
async fn begin_and_leave(future: impl Future) {
    assert!(poll!(pin!(future)).is_pending());
}

/// While a cancellation holds everything back, two ask for the same, and the second one is dropped. What is sent first is the first one's.
#[tokio::test]
async fn what_is_held_back_for_one_is_not_taken_for_what_another_one_has_given_up() {
    let (database, pool) = pool_of_one(true, StatementMode::Prepared).await;
    let watch = super::common::watcher(&database).await;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'";
    let asleep = async || watch.query_one(sleeping, &[&database.name()]).await.unwrap().get::<_, i64>(0) == 1;
    let sql = "SELECT 'the same'";
    let lease = pool.acquire().await.unwrap();
    tokio::select! {
        answer = Queries::query(&*lease, "SELECT pg_sleep(600)", &[]) => panic!("{answer:?}"),
        () = super::common::eventually("it sleeps", asleep) => {}
    }
    {
        let mut first = pin!(Queries::query(&*lease, sql, &[]));
        assert!(poll!(&mut first).is_pending());
        begin_and_leave(Queries::query(&*lease, sql, &[])).await;
        first.await.unwrap();
    }
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    Queries::query(&*lease, sql, &[]).await.unwrap();
    assert_eq!((pool.driver().statements().healed, pool.stats().opened), (0, 1), "it is there still");
}
