//! What hooks set up in a session is not what a user has changed.

use pool_core::{ConnectionFacts, HandOut, HookError, HookPoint, Hooks};
use pool_postgres::{PostgresConnection, PostgresPool};

use crate::common::{config, database};
use crate::session::process;

/// Sets something when a session has been opened, and other things whenever it goes and comes.
struct SetUp;

impl Hooks<PostgresConnection> for SetUp {
    fn points(&self) -> &[HookPoint] {
        &[HookPoint::AfterOpen, HookPoint::BeforeHandOut, HookPoint::OnRelease]
    }

    async fn after_open(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        Ok(connection.batch_execute("SET work_mem = '9MB'").await?)
    }

    async fn before_hand_out(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> HandOut {
        match connection.batch_execute("LISTEN news").await {
            Ok(()) => HandOut::Use,
            Err(error) => HandOut::CloseAndRefuse(error.into()),
        }
    }

    async fn on_release(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        Ok(connection
            .batch_execute("CREATE TEMP TABLE IF NOT EXISTS seen (n int); INSERT INTO seen VALUES (1)")
            .await?)
    }
}

const SEEN: &str = "SELECT current_setting('work_mem') || ' ' || (SELECT count(*) FROM pg_listening_channels())";

#[tokio::test]
async fn what_a_hook_sets_up_stays_or_goes_with_its_session() {
    let database = database();
    let built = PostgresPool::builder(config(database.url(), 1)).unwrap().hooks(SetUp).build().unwrap();
    let pool = PostgresPool::from(built);
    let first = pool.acquire().await.unwrap();
    let session = process(&first).await;
    drop(first);
    for uses in 1..=3_i64 {
        let lease = pool.acquire().await.unwrap();
        let seen: String = lease.query_one(SEEN, &[]).await.unwrap().get(0);
        assert_eq!((seen.as_str(), process(&lease).await), ("9MB 1", session));
        let rows: i64 = lease.query_one("SELECT count(*) FROM seen", &[]).await.unwrap().get(0);
        assert_eq!(rows, uses, "what the hook has done on release stays");
    }
    // To undo this would undo what the hook has set.
    pool.acquire().await.unwrap().batch_execute("SET app.tenant = '7'").await.unwrap();
    let next = pool.acquire().await.unwrap();
    let seen: String = next.query_one(SEEN, &[]).await.unwrap().get(0);
    assert_eq!(seen, "9MB 1", "set up again");
    assert_ne!(process(&next).await, session, "in another session");
    drop(next);
    pool.disconnect().await;
}
