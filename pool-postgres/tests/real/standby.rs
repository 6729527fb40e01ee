//! A server that does not write.

use pool_postgres::PostgresPool;
use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::tokio_postgres::Error;
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, eventually};

/// A standby without a primary: it waits for what never comes.
fn standby() -> EphemeralPostgres {
    let mut server = EphemeralPostgres::builder().setting("wal_level", "replica").start().unwrap();
    server.stop().unwrap();
    std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
    server.restart().unwrap();
    server
}

fn assert_evicts(error: &Error, code: &str) {
    assert_eq!(error.code().unwrap().code(), code, "{error:?}");
    let diagnosis = Diagnosis::of(error);
    assert_eq!((diagnosis.advice, diagnosis.fate), (Advice::RetryLater, Fate::EvictHost));
}

#[tokio::test(flavor = "multi_thread")]
async fn f027_a_standby_that_is_asked_to_write_loses_the_connection_until_it_is_promoted() {
    let server = standby();
    let pool = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    for (round, (statement, code)) in
        [("CREATE TABLE t (n int)", "25006"), ("BEGIN READ WRITE", "0A000")].into_iter().enumerate()
    {
        let lease = pool.acquire().await.unwrap();
        lease.batch_execute("SELECT 1").await.unwrap();
        assert_evicts(&lease.batch_execute(statement).await.unwrap_err(), code);
        drop(lease);
        eventually("it is closed", async || pool.stats().closed == round as u64 + 1).await;
    }
    let lease = pool.acquire().await.unwrap();
    lease.query_one("SELECT pg_promote()", &[]).await.unwrap();
    lease.batch_execute("CREATE TABLE t (n int)").await.expect("it writes now");
    assert_evicts(&lease.batch_execute("BEGIN READ ONLY; DROP TABLE t").await.unwrap_err(), "25006");
    drop(lease);
    pool.acquire().await.unwrap().batch_execute("DROP TABLE t").await.unwrap();
    assert_eq!(pool.stats().closed, 2, "the server had said that it writes");
    pool.disconnect().await;
}
