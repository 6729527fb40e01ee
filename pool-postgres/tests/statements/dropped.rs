//! Statements that are prepared for somebody who does not wait for that.

use pool_postgres::tokio_postgres::Client;
use pool_postgres::{PostgresPool, Queries};
use pool_testkit::cancel::{Cut, Manner};
use pool_testkit::postgres::TestDatabase;

use super::{on_server, pool};

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
async fn pool_of_one(cancels: bool) -> (TestDatabase, PostgresPool) {
    let database = super::common::database();
    let mut config = super::common::config(database.url(), 1);
    config.limits.cancel_on_drop = cancels;
    let pool = PostgresPool::connect(config).await.unwrap();
    (database, pool)
}

#[tokio::test]
async fn what_is_prepared_for_nobody_is_forgotten() {
    for cancels in [false, true] {
        let (_database, pool) = pool_of_one(cancels).await;
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

/// What its user has prepared himself, with the same text, is his.
#[tokio::test]
async fn what_somebody_else_has_prepared_stays() {
    let (_database, pool) = pool(1, |_| {}).await;
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
