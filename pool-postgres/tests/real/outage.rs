//! A server that goes away and comes back.

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
