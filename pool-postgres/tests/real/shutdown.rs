//! Sessions that are cut off while somebody uses them.

use std::time::Duration;

use futures_util::{join, pin_mut};
use pool_core::{Attempt, Driver};
use pool_postgres::tokio_postgres::{Client, Error};
use pool_postgres::{EndCause, PostgresDriver, PostgresPool};
use pool_testkit::postgres::TestDatabase;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::{config, eventually, pool, sessions_on_server, watcher};

/// Long enough that the test fails if anybody waits for it.
const SLEEP: &str = "SELECT pg_sleep(600)";
const SOON: Duration = Duration::from_secs(20);

type Outcome = Result<(), Error>;

/// Has a user sleep on the server, two requests in a row.
async fn put_to_sleep(pool: &PostgresPool, database: &TestDatabase, watch: &Client) -> JoinHandle<(Outcome, Outcome)> {
    let lease = pool.acquire_owned().await.unwrap();
    let sleeper = tokio::spawn(async move { join!(lease.batch_execute(SLEEP), lease.batch_execute(SLEEP)) });
    let asleep = async || {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query = $2 AND state = 'active'";
        watch.query_one(count, &[&database.name(), &SLEEP]).await.unwrap().get::<_, i64>(0) == 1
    };
    eventually("the server sleeps", asleep).await;
    sleeper
}

/// Closes a pool one of whose users sleeps on the server.
pub(crate) async fn close_over_a_sleeper(pool: PostgresPool, database: &TestDatabase) {
    let watch = watcher(database).await;
    let sleeper = put_to_sleep(&pool, database, &watch).await;
    let held = timeout(SOON, pool.close_within(Duration::from_millis(50))).await.expect("close_within ends in time");
    assert!(held <= 1, "{held}");
    let (first, second) = timeout(SOON, sleeper).await.expect("its user wakes up").unwrap();
    assert!(first.unwrap_err().is_closed() && second.unwrap_err().is_closed());
    eventually("the server lets go", async || sessions_on_server(&watch, database.name()).await == 0).await;
    timeout(SOON, pool.close()).await.expect("nothing is left");
    assert_eq!((pool.stats().opened, pool.stats().closed), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_inside_a_transaction_is_cut_off() {
    let (database, pool) = pool(3).await;
    let watch = watcher(&database).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    assert!(timeout(SOON, pool.close_within(Duration::ZERO)).await.unwrap() <= 1);
    eventually("the user learns of it", async || lease.batch_execute("SELECT 1").await.is_err()).await;
    eventually("the server lets go", async || sessions_on_server(&watch, database.name()).await == 0).await;
    drop(lease);
    timeout(SOON, pool.close()).await.expect("nothing is left");
}

/// The pool cannot put such a session in order, as its user does not want it to.
#[tokio::test]
async fn a_session_that_is_closed_inside_a_query_ends_soon() {
    let (database, pool) = pool(1).await;
    let watch = watcher(&database).await;
    let lease = pool.acquire().await.unwrap();
    {
        let abandoned = lease.batch_execute(SLEEP);
        pin_mut!(abandoned);
        assert!(futures_util::poll!(&mut abandoned).is_pending());
    }
    lease.discard();
    timeout(SOON, pool.close()).await.expect("the server lets go");
    assert_eq!(sessions_on_server(&watch, database.name()).await, 0, "at once: closing has waited for the server");
}

#[tokio::test]
async fn an_aborter_harms_nobody_when_it_is_late() {
    let (database, pool) = pool(1).await;
    let driver = PostgresDriver::new(config(database.url(), 1)).unwrap();
    let connection = driver.connect(&Attempt::default()).await.unwrap();
    let (aborter, late) = (driver.aborter(&connection).unwrap(), driver.aborter(&connection).unwrap());
    std::thread::spawn(aborter).join().expect("it needs no runtime of its own");
    eventually("the session is cut off", async || connection.is_closed()).await;
    driver.close(connection).await;
    late();
    let connection = driver.connect(&Attempt::default()).await.unwrap();
    let late = driver.aborter(&connection).unwrap();
    driver.close(connection).await;
    late();
    pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
    pool.disconnect().await;
}

#[tokio::test]
async fn a_session_that_the_pool_cuts_off_says_so() {
    let database = crate::common::database();
    let driver = PostgresDriver::new(config(database.url(), 1)).unwrap();
    let session = driver.connect(&Attempt::default()).await.unwrap();
    assert_eq!(session.ended(), None);
    driver.aborter(&session).unwrap()();
    eventually("it is cut off", async || session.is_closed()).await;
    assert_eq!(session.ended().unwrap().cause, EndCause::CutOff);
    assert_eq!(driver.ends().count("cut off"), 1);
    driver.close(session).await;
}

/// A process that ends as soon as its pool is closed: nothing goes on in its runtime afterwards.
#[test]
fn what_is_cut_off_at_the_end_of_a_process_is_cancelled() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (database, home, process) = (crate::common::database(), runtime(), runtime());
    let watch = home.block_on(watcher(&database));
    process.block_on(async {
        let pool = PostgresPool::connect(config(database.url(), 3)).await.unwrap();
        let watch = watcher(&database).await;
        // Its user is cut off with it, or with the runtime.
        drop(put_to_sleep(&pool, &database, &watch).await);
        timeout(2 * SOON, pool.close_within(Duration::ZERO)).await.expect("it ends in time");
    });
    drop(process);
    let is_gone = async || sessions_on_server(&watch, database.name()).await == 0;
    home.block_on(eventually("the server has stopped", is_gone));
}
