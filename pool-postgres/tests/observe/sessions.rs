//! The server's process is shown with each connection, so that an operator finds it there.

use pool_core::ObserveConfig;
use pool_core::http::Status;
use pool_postgres::{PostgresLease, PostgresPool};
use serde_json::Value;

use crate::common::{eventually, pool, watcher};

/// As the server has it.
async fn process_of(lease: &PostgresLease<'_>) -> u64 {
    let row = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
    u64::try_from(row.get::<_, i32>(0)).unwrap()
}

/// What is shown of the one connection: to the program, and over HTTP.
fn shown(pool: &PostgresPool, status: &Status) -> Vec<Option<u64>> {
    let json: Value = serde_json::from_str(&status.json()).unwrap();
    let listed = ["slots", "holders"].map(|list| json["pools"][0][list][0]["session"].as_u64());
    let holders: Vec<_> = pool.holders().iter().map(|holder| holder.session).collect();
    [holders, listed.into()].concat()
}

#[tokio::test]
async fn the_process_of_a_holder_is_shown_and_that_of_the_next_session_after_it() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let status = Status::new().pool(pool.observe(ObserveConfig::default()).unwrap());
    let first = {
        let lease = pool.acquire().await.unwrap();
        let process = process_of(&lease).await;
        assert_eq!(shown(&pool, &status), [Some(process); 3]);
        process
    };
    // What an operator does who has seen it.
    let ended = i32::try_from(first).unwrap();
    assert!(watcher.query_one("SELECT pg_terminate_backend($1)", &[&ended]).await.unwrap().get::<_, bool>(0));
    eventually("the session is gone", || async {
        let there = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        watcher.query_one(there, &[&ended]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    let lease = pool.acquire().await.unwrap();
    let next = process_of(&lease).await;
    assert_ne!(next, first);
    assert_eq!(shown(&pool, &status), [Some(next); 3]);
}
