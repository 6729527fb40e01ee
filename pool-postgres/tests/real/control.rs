//! What an operator does to a pool while it serves.

use futures_util::future::join_all;
use pool_core::{Attempt, Driver};
use pool_postgres::{PostgresConnection, PostgresDriver, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, eventually, pool};

async fn backend(client: &PostgresConnection) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_behind_a_pause_fails_nobody() {
    const CALLERS: usize = 50;
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 5);
    settings.pool.min_size = 3;
    let pool = PostgresPool::connect(settings).await.unwrap();
    let at_work = pool.acquire_owned().await.unwrap();
    pool.pause();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let lease = pool.acquire().await?;
                let answer = lease.query_one("SELECT $1::int8", &[&i64::try_from(caller)?]).await?.get::<_, i64>(0);
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
            })
        })
        .collect();
    eventually("all callers wait", async || pool.state().waiting == CALLERS).await;
    let drained = tokio::spawn({
        let pool = pool.clone();
        async move { pool.drained().await }
    });
    at_work.batch_execute("SELECT 1").await.unwrap();
    assert!(!drained.is_finished(), "somebody is at work");
    drop(at_work);
    assert!(drained.await.unwrap());
    server.restart().unwrap();
    pool.retire_all();
    pool.resume();
    for (caller, outcome) in join_all(callers).await.into_iter().enumerate() {
        assert_eq!(usize::try_from(outcome.unwrap().unwrap()).unwrap(), caller);
    }
    let stats = pool.stats();
    assert_eq!((stats.timeouts, stats.failed, stats.cancelled), (0, 0, 0));
    pool.disconnect().await;
}

#[tokio::test]
async fn the_sessions_of_one_host_are_retired() {
    let (database, pool) = pool(2).await;
    // The same server by another name.
    let mut settings = config(database.url(), 1);
    let ours = settings.hosts[0].to_string();
    settings.hosts[0].name = "localhost".to_owned();
    let theirs = settings.hosts[0].to_string();
    let driver = PostgresDriver::new(settings).unwrap();
    let connection = driver.connect(&Attempt::default()).await.unwrap();
    let foreign = backend(&connection).await;
    assert_eq!(driver.host(&connection), Some(&*theirs));
    pool.adopt(connection).unwrap();
    pool.retire_host("localhost");
    pool.retire_host(&theirs);
    eventually("it is closed", async || pool.stats().closed == 1).await;
    let lease = pool.acquire().await.unwrap();
    assert_ne!(backend(&lease).await, foreign);
    assert_eq!(pool.driver().host(&lease), Some(&*ours));
    pool.retire_host(&ours);
    drop(lease);
    eventually("and then the other", async || pool.stats().closed == 2).await;
    assert_eq!(pool.stats().outdated, 2);
    pool.disconnect().await;
}
