//! F027: a server that does not write, until it is told to.

use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::tokio_postgres::Error;
use pool_testkit::postgres::EphemeralPostgres;

use crate::asking::eventually;
use crate::common::{Chaos, strict};
use crate::invariants;

/// A pool of one on a standby without a primary: it waits for what never comes.
async fn standby() -> (EphemeralPostgres, Chaos) {
    let mut server = strict().setting("wal_level", "replica").start().unwrap();
    let mut chaos = Chaos::on(&server, 1, |_| {}).await;
    chaos.watch.run("GRANT CREATE ON SCHEMA public TO chaos").await;
    chaos.watch.end().await;
    server.stop().unwrap();
    std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
    server.restart().unwrap();
    chaos.watch_on(&server).await;
    (server, chaos)
}

fn assert_evicts(error: &Error, code: &str) {
    assert_eq!(error.code().unwrap().code(), code, "{error:?}");
    let diagnosis = Diagnosis::of(error);
    assert_eq!((diagnosis.advice, diagnosis.fate), (Advice::RetryLater, Fate::EvictHost));
}

/// What is refused on a standby costs the connection: the next one may be to another server.
async fn refused(chaos: &mut Chaos, statement: &str, code: &str, closed: u64) {
    let lease = chaos.pool.acquire_owned().await.unwrap();
    lease.batch_execute("SELECT 1").await.unwrap();
    let error = lease.batch_execute(statement).await.unwrap_err();
    assert_evicts(&error, code);
    drop(lease);
    eventually("it is closed", async || chaos.pool.stats().closed == closed).await;
    chaos.note(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn f027_a_standby_that_is_asked_to_write_loses_the_connection_until_it_is_promoted() {
    let (_server, mut chaos) = standby().await;
    refused(&mut chaos, "CREATE TABLE t (n int)", "25006", 1).await;
    refused(&mut chaos, "BEGIN READ WRITE", "0A000", 2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos.watch.run("SELECT pg_promote()").await;
    lease.batch_execute("CREATE TABLE t (n int)").await.expect("it writes now");
    assert_evicts(&lease.batch_execute("BEGIN READ ONLY; DROP TABLE t").await.unwrap_err(), "25006");
    drop(lease);
    chaos.working().await.batch_execute("DROP TABLE t").await.unwrap();
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (3, 2), "the server had said that it writes: {stats:?}");
}
