//! Futures that are dropped after every number of polls, against the real server. How often one is polled depends on how the answers arrive, so each is dropped a poll later
//! until it ends before.

use std::sync::Arc;
use std::time::Duration;

use pool_core::{Attempt, Driver};
use pool_postgres::retry::RetryPolicy;
use pool_postgres::{PostgresDriver, PostgresOwnedLease, PostgresPool};
use pool_testkit::cancel::{Cut, for_each_cancellation};
use pool_testkit::postgres::TestDatabase;
use tokio::runtime::{Builder, Runtime};

use crate::common::{config, database, eventually, sessions_on_server, watcher};

const SOON: Duration = Duration::from_secs(20);
const MOST: usize = 2;

/// What there is beside the pool.
struct Stage {
    runtime: Runtime,
    database: TestDatabase,
    watch: PostgresOwnedLease,
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let database = database();
        let watch = runtime.block_on(watcher(&database));
        Self { runtime, database, watch }
    }

    fn pool(&self) -> PostgresPool {
        let _guard = self.runtime.enter();
        PostgresPool::connect_lazy(config(self.database.url(), MOST)).unwrap()
    }

    fn driver(&self) -> PostgresDriver {
        PostgresDriver::new(config(self.database.url(), MOST)).unwrap()
    }

    /// Drops what `case` cuts at every poll; afterwards the server has to have `left` sessions.
    fn enumerate(&self, name: &str, left: i64, case: impl AsyncFn(Cut) -> bool) {
        let cases = for_each_cancellation(|cut| {
            self.runtime.block_on(async {
                let ended = case(cut).await;
                let agreed = async || sessions_on_server(&self.watch, self.database.name()).await == left;
                eventually(&format!("{left} sessions after {name}, {cut:?}"), agreed).await;
                ended
            })
        });
        println!("{name}: {cases} cases");
        assert!(cases >= 5, "{name} waits somewhere: {cases}");
    }

    /// As `enumerate`, for what is done with a pool that stays: afterwards all its sessions can be had.
    fn enumerate_on(&self, pool: &PostgresPool, name: &str, case: impl AsyncFn(Cut) -> bool) {
        let most = i64::try_from(MOST).unwrap();
        self.enumerate(name, most, async |cut| {
            let ended = case(cut).await;
            prove_nothing_lost(pool).await;
            ended
        });
    }

    fn disconnect(&self, pool: &PostgresPool) {
        self.runtime.block_on(async {
            tokio::time::timeout(SOON, pool.disconnect()).await.expect("it ends");
            assert_eq!(sessions_on_server(&self.watch, self.database.name()).await, 0);
        });
    }
}

/// All sessions can be had at once; each is in no transaction and answers its own question.
async fn prove_nothing_lost(pool: &PostgresPool) {
    let mut leases = Vec::new();
    for _ in 0..MOST {
        leases.push(pool.acquire_timeout(SOON).await.expect("all of them can be had"));
    }
    for (number, lease) in (0..).zip(&leases) {
        let answer: i32 = lease.query_one("SELECT $1::int4", &[&number]).await.unwrap().get(0);
        assert_eq!(answer, number, "the answer to its own question");
        assert!(lease.batch_execute("SAVEPOINT s").await.is_err(), "there is no transaction");
    }
    let state = pool.state();
    assert_eq!((state.leased, state.waiting), (MOST, 0));
}

/// Two rows, or none, by each kind of work that is tried again. What is done once may have been done.
#[test]
fn what_is_retried_may_be_dropped_at_any_poll() {
    let stage = Stage::new();
    let pool = stage.pool();
    let retrier = pool.retrying(RetryPolicy::default()).unwrap();
    stage.runtime.block_on(async {
        pool.acquire().await.unwrap().batch_execute("CREATE TABLE t (n int)").await.unwrap();
    });
    let insert = "INSERT INTO t SELECT n FROM (VALUES (1), (-1)) AS v (n), pg_sleep(0.002)";
    let whole = async || {
        let row = pool.acquire().await.unwrap().query_one("SELECT count(*) FROM t", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0) % 2, 0, "all of it or nothing");
    };
    stage.enumerate_on(&pool, "once", async |cut| {
        let ended = cut.apply(retrier.once(async |lease| lease.execute(insert, &[]).await)).await;
        whole().await;
        ended.map(Result::unwrap).is_some()
    });
    stage.enumerate_on(&pool, "idempotent", async |cut| {
        let ended = cut.apply(retrier.idempotent(async |lease| lease.execute(insert, &[]).await)).await;
        whole().await;
        ended.map(Result::unwrap).is_some()
    });
    stage.enumerate_on(&pool, "transaction", async |cut| {
        let work = async |lease: Arc<PostgresOwnedLease>| {
            lease.execute("INSERT INTO t VALUES (1)", &[]).await?;
            lease.execute("INSERT INTO t VALUES (-1)", &[]).await
        };
        let ended = cut.apply(retrier.transaction(work)).await;
        whole().await;
        ended.map(Result::unwrap).is_some()
    });
    stage.disconnect(&pool);
}

#[test]
fn a_health_check_may_be_dropped_at_any_poll() {
    let stage = Stage::new();
    let pool = stage.pool();
    stage.enumerate_on(&pool, "health", async |cut| cut.apply(pool.health()).await.map(Result::unwrap).is_some());
    stage.disconnect(&pool);
}

#[test]
fn a_pool_may_be_dropped_at_any_poll_of_its_first_connection() {
    let stage = Stage::new();
    stage.enumerate("PostgresPool::connect", 0, async |cut| {
        let connecting = PostgresPool::connect(config(stage.database.url(), MOST));
        cut.apply(connecting).await.map(Result::unwrap).is_some()
    });
}

#[test]
fn a_disconnect_may_be_dropped_at_any_poll() {
    let stage = Stage::new();
    stage.enumerate("disconnect", 0, async |cut| {
        let pool = PostgresPool::connect(config(stage.database.url(), MOST)).await.unwrap();
        let (other, held) = (pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap());
        drop(other);
        let giving_back = tokio::spawn(async move {
            held.batch_execute("SELECT pg_sleep(0.002)").await.unwrap();
        });
        let ended = cut.apply(pool.disconnect()).await.is_some();
        giving_back.await.unwrap();
        // What nobody waited for has happened all the same, once it had begun.
        tokio::time::timeout(SOON, pool.disconnect()).await.expect("it ends");
        assert_eq!(pool.stats().opened, pool.stats().closed);
        ended
    });
}

#[test]
fn a_call_of_the_driver_may_be_dropped_at_any_poll() {
    let stage = Stage::new();
    let driver = stage.driver();
    stage.enumerate("connect", 0, async |cut| {
        cut.apply(driver.connect(&Attempt::default())).await.map(Result::unwrap).is_some()
    });
    stage.enumerate("reset", 0, async |cut| {
        let mut connection = driver.connect(&Attempt::default()).await.unwrap();
        connection.batch_execute("BEGIN").await.unwrap();
        let ended = cut.apply(driver.reset(&mut connection)).await.map(Result::unwrap).is_some();
        driver.close(connection).await;
        ended
    });
    stage.enumerate("ping", 0, async |cut| {
        let mut connection = driver.connect(&Attempt::default()).await.unwrap();
        let ended = cut.apply(driver.ping(&mut connection)).await.map(Result::unwrap).is_some();
        driver.close(connection).await;
        ended
    });
    stage.enumerate("close", 0, async |cut| {
        let connection = driver.connect(&Attempt::default()).await.unwrap();
        cut.apply(driver.close(connection)).await.is_some()
    });
}
