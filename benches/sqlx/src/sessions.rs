//! What the next one gets of a session that somebody has given back.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, query_scalar, raw_sql};
use tokio::time::timeout;

use crate::seen::{Seen, Tried};

/// A pool of one, so that the next one gets the same session.
async fn one(url: &str) -> Tried<PgPool> {
    Ok(PgPoolOptions::new().max_connections(1).connect(url).await?)
}

/// An empty table, and one who looks from outside.
async fn outside(url: &str) -> Tried<PgConnection> {
    let mut outside = PgConnection::connect(url).await?;
    raw_sql("DROP TABLE IF EXISTS sqlx_peer; CREATE TABLE sqlx_peer (n int)").execute(&mut outside).await?;
    Ok(outside)
}

/// Has the next one insert a row, and looks for it.
async fn inserted(pool: &PgPool, mut outside: PgConnection) -> Tried<Seen> {
    raw_sql("INSERT INTO sqlx_peer VALUES (1)").execute(pool).await?;
    let rows: i64 = query_scalar("SELECT count(*) FROM sqlx_peer").fetch_one(&mut outside).await?;
    let said = if rows == 1 { "it is there" } else { "it is lost, without an error" };
    Ok(Seen::new(rows != 1, said))
}

/// Somebody leaves a transaction open; the next one inserts a row.
pub(crate) async fn transaction(url: String) -> Tried<Seen> {
    let (pool, outside) = (one(&url).await?, outside(&url).await?);
    raw_sql("BEGIN").execute(&pool).await?;
    inserted(&pool, outside).await
}

/// Somebody begins a transaction by `begin`, and stops to wait for it; the next one inserts a row.
pub(crate) async fn begin(url: String) -> Tried<Seen> {
    let (pool, outside) = (one(&url).await?, outside(&url).await?);
    let mut session = pool.acquire().await?;
    {
        let mut begin = pin!(Connection::begin(&mut *session));
        poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).is_pending())).await;
    }
    drop(session);
    inserted(&pool, outside).await
}

/// Somebody stops to wait for a query that takes three seconds; the next one asks something that takes no time.
pub(crate) async fn query(url: String) -> Tried<Seen> {
    let pool = one(&url).await?;
    let left = timeout(Duration::from_millis(100), raw_sql("SELECT pg_sleep(3)").execute(&pool)).await;
    assert!(left.is_err(), "it takes longer");
    let begun = Instant::now();
    raw_sql("SELECT 1").execute(&pool).await?;
    let waited = begun.elapsed();
    Ok(Seen::new(waited >= Duration::from_secs(1), format!("waits for {:.1} s", waited.as_secs_f64())))
}

/// Somebody changes a setting; the next one looks at it.
pub(crate) async fn setting(url: String) -> Tried<Seen> {
    let pool = one(&url).await?;
    raw_sql("SET search_path = somebody").execute(&pool).await?;
    let path: String = query_scalar("SHOW search_path").fetch_one(&pool).await?;
    Ok(Seen::new(path == "somebody", format!("`{}`", path.replace('"', ""))))
}

/// Only a session is wanted that can write, and the server has none.
pub(crate) async fn attributes(url: String) -> Tried<Seen> {
    let url = format!("{url}?options=-c%20default_transaction_read_only%3Don&target_session_attrs=read-write");
    let Ok(pool) = one(&url).await else { return Ok(Seen::new(false, "an error")) };
    let read_only: String = query_scalar("SHOW transaction_read_only").fetch_one(&pool).await?;
    Ok(Seen::new(read_only == "on", "a session that cannot"))
}
