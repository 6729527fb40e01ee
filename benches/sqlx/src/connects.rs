//! How connections come to be, and go.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, raw_sql};
use tokio::time::{sleep, timeout};

use crate::seen::{Seen, Tried};

/// How long anybody waits for a connection that may not be there.
const PATIENCE: Duration = Duration::from_secs(2);

fn pool(url: &str, max: u32) -> Tried<PgPool> {
    Ok(PgPoolOptions::new().max_connections(max).acquire_timeout(PATIENCE).connect_lazy(url)?)
}

/// What an acquire says that cannot succeed.
async fn failure(pool: &PgPool, cause: &str) -> Seen {
    let begun = Instant::now();
    let error = pool.acquire().await.err().map(|error| error.to_string()).unwrap_or_default();
    Seen::failure(&error, cause, begun.elapsed(), PATIENCE)
}

/// Nobody listens.
pub(crate) async fn refused(_: String) -> Tried<Seen> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let pool = pool(&format!("postgres://postgres@127.0.0.1:{port}/postgres"), 1)?;
    Ok(failure(&pool, "refused").await)
}

/// The server does not know the role.
pub(crate) async fn role(url: String) -> Tried<Seen> {
    Ok(failure(&pool(&url.replace("postgres@", "nobody@"), 1)?, "does not exist").await)
}

/// The server admits one connection where the pool may have two; who waits for the second one could have the first one, as soon as that is given back.
pub(crate) async fn limit(url: String) -> Tried<Seen> {
    let role = "DROP ROLE IF EXISTS sqlx_peer; CREATE ROLE sqlx_peer LOGIN CONNECTION LIMIT 1";
    raw_sql(role).execute(&mut PgConnection::connect(&url).await?).await?;
    let pool = pool(&url.replace("postgres@", "sqlx_peer@"), 2)?;
    let held = pool.acquire().await?;
    let waiter = tokio::spawn(pool.acquire());
    sleep(PATIENCE / 4).await;
    drop(held);
    let is_served = waiter.await?.is_ok();
    Ok(Seen::new(!is_served, if is_served { "is served" } else { "waits for all of its time, for nothing" }))
}

/// A connect takes a second, and ten have three tenths of one each, one after the other.
pub(crate) async fn impatient(url: String) -> Tried<Seen> {
    let slow = url.parse::<PgConnectOptions>()?.options([("post_auth_delay", "1")]);
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(slow);
    let mut served = 0;
    for _ in 0..10 {
        served += u32::from(timeout(Duration::from_millis(300), pool.acquire()).await.is_ok_and(|it| it.is_ok()));
    }
    Ok(Seen::new(served == 0, format!("{served} are served")))
}

/// At least four connections, which nobody wants for five times as long as they may be idle.
pub(crate) async fn churn(url: String) -> Tried<Seen> {
    let idle = Duration::from_millis(300);
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let options = PgPoolOptions::new().max_connections(10).min_connections(4).idle_timeout(idle);
    let options = options.after_connect(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    let _pool = options.connect(&url).await?;
    sleep(5 * idle).await;
    let opened = opened.load(Ordering::SeqCst);
    Ok(Seen::new(opened > 4, format!("{opened} were opened")))
}

/// What is called after a connect panics once; three ask, one after the other.
pub(crate) async fn panic(url: String) -> Tried<Seen> {
    let panics = AtomicBool::new(true);
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).after_connect(move |_, _| {
        assert!(!panics.swap(false, Ordering::SeqCst), "it panics");
        Box::pin(async { Ok(()) })
    });
    let pool = options.connect_lazy(&url)?;
    let mut served = 0;
    for _ in 0..3 {
        served += u32::from(tokio::spawn(pool.acquire()).await.is_ok_and(|it| it.is_ok()));
    }
    Ok(Seen::new(served < 2, format!("{served} are served")))
}

/// The configuration is printed for a programmer.
pub(crate) fn secret() -> Tried<Seen> {
    let options: PgConnectOptions = "postgres://app:s3cr3t@localhost/app".parse()?;
    let tells = format!("{options:?}").contains("s3cr3t");
    Ok(Seen::new(tells, if tells { "has the password" } else { "has no password" }))
}
