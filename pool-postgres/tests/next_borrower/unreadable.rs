//! An answer that the client cannot read: nobody knows what comes next on its session, and nobody else gets it.

use futures_util::TryStreamExt;
use pool_postgres::diagnosis::Fate;
use pool_postgres::{PostgresPool, Queries, QueryError};

use crate::common::pool;

/// Its answer is none that a query has.
const COPY: &str = "COPY (SELECT 1) TO STDOUT";

/// The error says that the session is closed, and it is.
async fn is_closed_after(pool: &PostgresPool, what: &str, outcome: Result<(), QueryError>) {
    let error = outcome.expect_err(what);
    assert_eq!(error.diagnosis().fate, Fate::Close, "{what}: {error}");
    let before = pool.stats();
    assert_eq!(pool.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    let after = pool.stats();
    assert_eq!((after.broken, after.opened), (before.opened, before.opened + 1), "{what}");
}

#[tokio::test]
async fn whoever_gets_it_the_session_is_closed() {
    let (_database, pool) = pool(1).await;
    is_closed_after(&pool, "the pool", pool.execute(COPY, &[]).await.map(drop)).await;
    is_closed_after(&pool, "rows of the pool", pool.query(COPY, &[]).await.map(drop)).await;
    let stream = async {
        let rows = pool.stream(COPY, &[]).await?;
        rows.try_for_each(async |_| Ok(())).await
    };
    is_closed_after(&pool, "a stream of the pool", stream.await).await;
    let lease = async { Queries::execute(&*pool.acquire().await.unwrap(), COPY, &[]).await.map(drop) };
    is_closed_after(&pool, "a lease", lease.await).await;
    let stream = async {
        let lease = pool.acquire().await.unwrap();
        let rows = lease.stream(COPY, &[]).await?;
        rows.try_for_each(async |_| Ok(())).await
    };
    is_closed_after(&pool, "a stream of a lease", stream.await).await;
    let transaction = async {
        let transaction = pool.begin().await?;
        transaction.execute(COPY, &[]).await.map(drop)
    };
    is_closed_after(&pool, "a transaction", transaction.await).await;
}

/// With the client's own methods it is for the user to ask what his error means.
#[tokio::test]
async fn whoever_asks_what_it_means_has_told_the_pool() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    let mark = lease.mark();
    let error = tokio_postgres::Client::execute(&lease, COPY, &[]).await.unwrap_err();
    assert_eq!(lease.diagnose(&error, mark).fate, Fate::Close);
    drop(lease);
    drop(pool.acquire().await.unwrap());
    assert_eq!((pool.stats().broken, pool.stats().opened), (1, 2));
}
