//! Policies of the engine on a pool of PostgreSQL sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pool_core::{AcquireError, ConnectionFacts, HandOut, HookError, HookPoint, Hooks, Request, ScheduleConfig};
use pool_postgres::{PostgresConnection, PostgresPool};

use crate::common::{config, database, eventually, sessions_on_server};

/// Sets sessions up, and looks at each one more time before somebody gets it.
#[derive(Clone, Default)]
struct Careful {
    distrusts: Arc<AtomicBool>,
}

impl Hooks<PostgresConnection> for Careful {
    fn points(&self) -> &[HookPoint] {
        &[HookPoint::AfterOpen, HookPoint::BeforeHandOut, HookPoint::OnRelease]
    }

    async fn after_open(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        Ok(connection.batch_execute("CREATE TEMPORARY TABLE seen (use int8)").await?)
    }

    async fn before_hand_out(&self, connection: &mut PostgresConnection, facts: &ConnectionFacts) -> HandOut {
        if self.distrusts.swap(false, Ordering::Relaxed) {
            return HandOut::CloseAndTryAnother;
        }
        let uses = i64::try_from(facts.uses).unwrap_or(i64::MAX);
        match connection.execute("INSERT INTO seen VALUES ($1)", &[&uses]).await {
            Ok(_) => HandOut::Use,
            Err(error) => HandOut::CloseAndRefuse(error.into()),
        }
    }

    async fn on_release(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        Ok(connection.batch_execute("RESET ALL").await?)
    }
}

#[tokio::test]
async fn hooks_set_sessions_up_and_put_them_in_order() {
    let database = database();
    let hooks = Careful::default();
    let built = PostgresPool::builder(config(database.url(), 1)).unwrap().hooks(hooks.clone()).build().unwrap();
    let pool = PostgresPool::from(built);
    let first = pool.acquire().await.unwrap();
    first.batch_execute("SET search_path = pg_catalog").await.unwrap();
    let id = first.connection_id();
    drop(first);
    let again = pool.acquire().await.unwrap();
    assert_eq!(again.connection_id(), id);
    let row = again.query_one("SELECT current_setting('search_path'), count(*) FROM seen", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), (r#""$user", public"#, 2));
    drop(again);
    hooks.distrusts.store(true, Ordering::Relaxed);
    let another = pool.acquire().await.unwrap();
    assert_ne!(another.connection_id(), id, "the hook did not trust the first one");
    // What the hook says of a session that does not do what it is to do.
    another.batch_execute("DROP TABLE seen").await.unwrap();
    drop(another);
    let refused = pool.acquire().await.unwrap_err();
    assert!(matches!(&refused, AcquireError::Hook { .. }), "{refused}");
    assert!(refused.to_string().contains(r#"relation "seen" does not exist"#), "{refused}");
    drop(pool.acquire().await.unwrap());
    pool.disconnect().await;
}

#[tokio::test]
async fn a_batch_of_sessions_is_had_at_once_and_comes_back_whole() {
    let database = database();
    let pool = PostgresPool::connect_lazy(config(database.url(), 3)).unwrap();
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let batches = (0..6).map(|_| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            let both = scheduler.acquire_many(Request::new(), 2).await?;
            let mut backends = Vec::new();
            for lease in &both {
                backends.push(lease.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0));
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(backends)
        })
    });
    for batch in batches.collect::<Vec<_>>() {
        let backends = batch.await.unwrap().unwrap();
        assert!(backends.len() == 2 && backends[0] != backends[1], "{backends:?}");
    }
    let lease = pool.acquire().await.unwrap();
    eventually("all but one are idle", async || pool.state().leased == 1).await;
    assert!(sessions_on_server(&lease, database.name()).await <= 2);
    drop(lease);
    pool.disconnect().await;
}
