//! Whoever listens may panic: that harms nobody but himself.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use pool_postgres::tokio_postgres::Client;
use pool_postgres::tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use pool_postgres::{PostgresDriver, PostgresPool, Queries, Query};
use tracing::subscriber::{Interest, set_default};
use tracing::{Event, Metadata, Subscriber, span};

use crate::common::{config, database, eventually, sessions_on_server, watcher};

/// What it panics at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    NewSpan,
    Enter,
    Event,
    Everything,
}

/// One who listens to the pool, and panics.
struct Rude {
    at: At,
    panics: Arc<AtomicUsize>,
}

impl Rude {
    fn hear(&self, what: At) {
        if self.at == what || self.at == At::Everything {
            self.panics.fetch_add(1, Ordering::Relaxed);
            // Without the hook, which would say it a hundred times.
            resume_unwind(Box::new("a subscriber was told to panic"));
        }
    }
}

impl Subscriber for Rude {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What other crates tell is in their hands.
        metadata.target().starts_with("pool_")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        if self.at != At::Everything {
            self.hear(At::NewSpan);
        }
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        self.hear(At::Everything);
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {
        self.hear(At::Everything);
    }
    fn event(&self, _: &Event<'_>) {
        self.hear(At::Event);
    }
    fn enter(&self, _: &span::Id) {
        self.hear(At::Enter);
    }
    fn exit(&self, _: &span::Id) {
        self.hear(At::Everything);
    }
    fn try_close(&self, _: span::Id) -> bool {
        self.hear(At::Everything);
        false
    }
}

/// A parameter that takes a while, and then panics.
#[derive(Debug)]
struct Bomb;

impl ToSql for Bomb {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        std::thread::sleep(Duration::from_millis(20)); // so that it is slow
        resume_unwind(Box::new("a parameter was told to panic"));
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

/// How many requests are under way, as the server sees it.
async fn under_way(watch: &Client, database: &str) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active'";
    watch.query_one(count, &[&database]).await.unwrap().get(0)
}

async fn process(pool: &PostgresPool) -> i32 {
    pool.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Everything that is told of, one after the other.
async fn use_it(pool: &PostgresPool, watch: &Client, name: &str) {
    pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let own = process(pool).await;
    ask(pool).await;
    transact(pool).await;
    give_up(pool, watch, name).await;
    assert_eq!((process(pool).await, sum(pool).await), (own, 1), "the session is the one that it was");
    fail(pool, watch, name).await;
}

async fn sum(pool: &PostgresPool) -> i32 {
    pool.query_one("SELECT sum(n)::int FROM t", &[]).await.unwrap().get(0)
}

async fn ask(pool: &PostgresPool) {
    pool.query("SELECT pg_sleep(0.02)", &[]).await.unwrap();
    pool.query("SELECT nothing", &[]).await.unwrap_err();
    pool.multiplexed().query("SELECT pg_sleep(0.02)", &[]).await.unwrap();
    pool.batch_execute("DO $$ BEGIN RAISE NOTICE 'no'; END $$").await.unwrap();
}

async fn transact(pool: &PostgresPool) {
    let insert = async |mut tx: pool_postgres::PostgresTransaction<'_>| {
        tx.execute("INSERT INTO t VALUES ($1)", &[&1]).await?;
        tx.savepoint().await?.rollback().await
    };
    pool.transaction(insert).await.unwrap();
    let failing = pool.transaction(async |tx| tx.execute("INSERT INTO nothing VALUES (1)", &[]).await.map(drop));
    failing.await.unwrap_err();
    let begun = pool.begin().await.unwrap();
    begun.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    drop(begun);
    assert_eq!(sum(pool).await, 1);
}

async fn give_up(pool: &PostgresPool, watch: &Client, name: &str) {
    let lease = pool.acquire().await.unwrap();
    let sleeping = Query::new("SELECT pg_sleep(300)").timeout(Duration::from_millis(50));
    assert!(Queries::execute(&*lease, sleeping, &[]).await.unwrap_err().is_timeout());
    // Until that is through the next one is held back, and would be dropped before it has been sent.
    lease.batch_execute("SELECT 1").await.unwrap();
    let dropped = Queries::execute(&*lease, "SELECT pg_sleep(300)", &[]);
    tokio::time::timeout(Duration::from_millis(50), dropped).await.unwrap_err();
    eventually("both were cancelled", || async { under_way(watch, name).await == 0 }).await;
    // What a user leaves behind is told of, and put in order.
    lease.batch_execute("BEGIN; INSERT INTO t VALUES (3)").await.unwrap();
}

async fn fail(pool: &PostgresPool, watch: &Client, name: &str) {
    let bomb = AssertUnwindSafe(pool.query("SELECT $1::int", &[&Bomb])).catch_unwind();
    assert!(bomb.await.is_err(), "the panic of a parameter comes out where it was given");
    let lease = pool.acquire().await.unwrap();
    // Until it is gone: the server shows one that has said its last words for a while.
    let end = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = $1";
    watch.execute(end, &[&name]).await.unwrap();
    Queries::execute(&*lease, "SELECT 1", &[]).await.unwrap_err();
    let own = lease.activity().process.unwrap().cast_signed();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(lease))).is_ok());
    assert_ne!(process(pool).await, own);
}

async fn harms_nobody(at: At) {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.slow_query = Some(Duration::from_millis(10));
    // However long the server takes to say what has become of one that was cancelled: then its session is not closed.
    config.limits.cancel_timeout = Duration::from_mins(1);
    let driver = PostgresDriver::new(config).unwrap().on_slow_query(|_| resume_unwind(Box::new("so does a listener")));
    let watch = watcher(&database).await;
    let panics = Arc::<AtomicUsize>::default();
    let name = {
        let _listening = set_default(Rude { at, panics: Arc::clone(&panics) });
        let pool = PostgresPool::from(PostgresPool::builder_of(driver).build().unwrap());
        let name = pool.driver().config().database.clone().unwrap();
        use_it(&pool, &watch, &name).await;
        eventually("the connection is back", async || pool.state().idle == 1 && pool.state().size == 1).await;
        assert_eq!(sessions_on_server(&watch, &name).await, 1, "the pool knows all that there are");
        assert!(pool.driver().query_stats().slow >= 2);
        pool.disconnect().await;
        name
    };
    eventually("all are closed", || async { sessions_on_server(&watch, &name).await == 0 }).await;
    let panics = panics.load(Ordering::Relaxed);
    assert!(panics >= 3, "it was told of something: {panics} times");
}

#[tokio::test]
async fn one_who_panics_at_each_new_span_harms_nobody() {
    harms_nobody(At::NewSpan).await;
}

#[tokio::test]
async fn one_who_panics_when_a_span_is_entered_harms_nobody() {
    harms_nobody(At::Enter).await;
}

#[tokio::test]
async fn one_who_panics_at_each_event_harms_nobody() {
    harms_nobody(At::Event).await;
}

#[tokio::test]
async fn one_who_panics_at_whatever_he_is_told_of_a_span_harms_nobody() {
    harms_nobody(At::Everything).await;
}
