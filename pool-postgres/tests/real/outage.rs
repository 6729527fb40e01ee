//! A server that goes away and comes back.

use pool_core::AcquireError;
use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_may_start_before_its_server() {
    let mut server = EphemeralPostgres::start().unwrap();
    server.stop().unwrap();
    let mut settings = config(&server.url(), 2);
    settings.pool.min_size = 1;
    let pool = PostgresPool::connect_lazy(settings).unwrap();
    assert!(!pool.is_connected());
    server.restart().unwrap();
    eventually("the minimum is there", async || pool.is_connected()).await;
    pool.disconnect().await;
}

#[test]
fn leases_come_back_outside_of_a_runtime_and_sessions_end_with_theirs() {
    let server = EphemeralPostgres::start().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let pool = first.block_on(PostgresPool::connect(config(&server.url(), 1))).unwrap();
    let lease = first.block_on(pool.acquire_owned()).unwrap();
    first.block_on(lease.batch_execute("SELECT 1")).unwrap();
    drop(lease);
    // Back at once, or as soon as the session's task has finished its turn.
    first.block_on(eventually("the connection is idle", async || pool.state().idle == 1));
    drop(pool.try_acquire().unwrap());
    first.block_on(eventually("the connection is idle", async || pool.state().idle == 1));
    drop(first);
    let error = pool.try_acquire().unwrap_err();
    assert!(matches!(error, AcquireError::Unavailable { .. }), "the session ended with its runtime: {error}");
    runtime().block_on(async {
        pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
        pool.disconnect().await;
    });
    assert_eq!((pool.stats().opened, pool.stats().closed), (2, 2));
}
