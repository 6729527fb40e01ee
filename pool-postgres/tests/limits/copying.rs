//! A COPY that takes data, and is slow to begin.

use std::time::Duration;

use pool_postgres::retry::Outcome;
use pool_postgres::{PostgresOwnedLease, PostgresPool, Queries, Query};
use pool_testkit::postgres::TestDatabase;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::common::{config, database, eventually, sessions_on_server, watcher};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(1);
const COPY: &str = "COPY t FROM STDIN";

/// A table, whose rows take a while each to be inserted, and somebody who has it locked.
async fn locked(cancel_timeout: Duration) -> (TestDatabase, PostgresPool, PostgresOwnedLease) {
    let database = database();
    let mut config = config(database.url(), 2);
    config.limits.cancel_timeout = cancel_timeout;
    let pool = PostgresPool::connect(config).await.unwrap();
    let slow = "CREATE TABLE t (n int); CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$; CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()";
    pool.batch_execute(slow).await.unwrap();
    let other = pool.acquire_owned().await.unwrap();
    Client::batch_execute(&other, "BEGIN; LOCK TABLE t").await.unwrap();
    (database, pool, other)
}

async fn rows(pool: &PostgresPool) -> i64 {
    pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}

/// The client would have to say that it gives up before anything else can be asked, and waits for an answer instead.
#[tokio::test]
async fn a_copy_that_does_not_begin_in_time_ends_its_session_and_no_other() {
    let (database, pool, other) = locked(3 * SHORT).await;
    let mut lease = pool.acquire_owned().await.unwrap();
    let copy = timeout(LONG, lease.copy_in(Query::new(COPY).timeout(SHORT))).await.expect("in time");
    let error = copy.map(drop).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    // Either is fine, and nothing in between.
    match timeout(LONG, Queries::query_one(&*lease, "SELECT 1", &[])).await.expect("in time") {
        Ok(_) => assert!(!lease.is_closed()),
        Err(next) => assert!(next.is_closed() && next.outcome() == Outcome::NotDone, "{next}"),
    }
    Client::batch_execute(&other, "INSERT INTO t VALUES (1)").await.expect("not hit");
    Client::batch_execute(&other, "COMMIT").await.expect("not hit");
    drop((lease, other));
    assert_eq!(rows(&pool).await, 1);
    let (watcher, name) = (watcher(&database).await, database.name());
    let opened = async || sessions_on_server(&watcher, name).await == i64::try_from(pool.state().idle).unwrap();
    eventually("the server has let go of it", opened).await;
}

/// Its time is over and the server is to cancel it, and then it begins after all: whoever has been told that it has begun goes on in peace.
#[tokio::test]
async fn a_copy_that_has_begun_after_all_is_not_cancelled() {
    let (_database, pool, other) = locked(LONG).await;
    let mut lease = pool.acquire_owned().await.unwrap();
    let unlock = async {
        sleep(3 * SHORT).await;
        Client::batch_execute(&other, "COMMIT").await.expect("not hit");
    };
    let (copy, ()) = futures_util::join!(lease.copy_in(Query::new(COPY).timeout(SHORT)), unlock);
    let mut copy = copy.expect("it has begun");
    copy.send("1\n2\n3\n").await.unwrap();
    // It takes longer than those who wait to cancel it take to look.
    assert_eq!(timeout(LONG, copy.finish()).await.expect("in time").unwrap(), 3);
    assert!(!lease.is_closed());
    drop(lease);
    assert_eq!(rows(&pool).await, 3);
}
