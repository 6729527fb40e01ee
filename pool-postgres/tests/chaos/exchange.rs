//! F128: connections that leave a pool open, or come into it open. Giving one back twice, or to another pool, cannot be written: a lease is moved when it is dropped, and knows its pool.

use pool_core::{AdoptError, Attempt, Driver};
use pool_postgres::{PostgresConfig, PostgresConnection, PostgresDriver, ReleaseMode};
use tokio_postgres::Client;

use crate::asking::{answer, eventually, in_time};
use crate::common::Chaos;
use crate::invariants;

/// What a session is called that the pool does not have. The watch counts it no more.
const FOREIGN: &str = "somebody's own session";

async fn backend(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Gives a session another name.
async fn rename(client: &Client, name: &str) {
    client.query_one("SELECT set_config('application_name', $1, false)", &[&name]).await.unwrap();
}

/// Opens a connection for nobody.
async fn open(config: &PostgresConfig) -> PostgresConnection {
    let mut config = config.clone();
    config.application_name = Some(FOREIGN.to_owned());
    PostgresDriver::new(config).unwrap().connect(&Attempt::default()).await.unwrap()
}

/// Whether the server has such a session.
async fn has(chaos: &Chaos, backend: i32) -> bool {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
    chaos.watch.client().query_one(count, &[&backend]).await.unwrap().get::<_, i64>(0) == 1
}

#[tokio::test]
async fn f128_a_detached_session_is_its_users_alone() {
    let chaos = Chaos::start(1).await;
    let lease = chaos.working().await;
    rename(&lease, FOREIGN).await;
    let client = lease.detach();
    assert_eq!((chaos.pool.state().size, chaos.pool.state().leased), (0, 0));
    let lease = in_time("there is room for another", chaos.pool.acquire_owned()).await.unwrap();
    let detached = backend(&client).await;
    assert_ne!(backend(&lease).await, detached);
    drop(lease);
    in_time("the close does not wait for it", chaos.pool.disconnect()).await;
    assert_eq!(chaos.watch.sessions().await, 0);
    assert_eq!(answer(&client, 1).await.unwrap(), 2, "nobody knows of this one");
    assert!(has(&chaos, detached).await);
    drop(client);
    eventually("it ends when it is dropped", async || !has(&chaos, detached).await).await;
    let stats = invariants::close(chaos).await;
    assert_eq!((stats.detached, stats.opened), (1, 2), "{stats:?}");
}

#[tokio::test]
async fn f128_a_session_that_somebody_opened_is_adopted() {
    // The name that it is given is to stay.
    let chaos = Chaos::with(2, |config| config.release.mode = ReleaseMode::Fast).await;
    let config = chaos.pool.driver().config().clone();
    let connection = open(&config).await;
    let pid = backend(&connection).await;
    chaos.pool.adopt(connection).unwrap();
    let (one, two) = (chaos.working().await, chaos.working().await);
    let adopted = if backend(&one).await == pid { &one } else { &two };
    assert_eq!(backend(adopted).await, pid);
    rename(adopted, chaos.watch.name()).await;
    let third = chaos.pool.adopt(open(&config).await).unwrap_err();
    let AdoptError::Full { connection, max_size: 2, .. } = third else { panic!("there is no room for a third") };
    assert_eq!(answer(&connection, 1).await.unwrap(), 2, "it comes back as it was");
    assert_eq!((chaos.pool.stats().opened, chaos.pool.stats().adopted), (2, 1));
    drop((one, two));
    let pool = chaos.pool.clone();
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.adopted, stats.broken), (2, 1, 0), "{stats:?}");
    assert!(matches!(pool.adopt(connection), Err(AdoptError::Closed { .. })));
}
