//! Requests that are slow, and what a service has promised.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool, Queries, Query, QueryEnd, SlowQuery};

use pool_testkit::spans::Spans;
use tracing::Level;
use tracing::subscriber::set_default;

use crate::common::{config, database, eventually};

type Told = Arc<Mutex<Vec<SlowQuery>>>;

fn listening(config: PostgresConfig) -> (PostgresPool, Told) {
    let told = Told::default();
    let telling = Arc::clone(&told);
    let driver = PostgresDriver::new(config).unwrap();
    let driver = driver.on_slow_query(move |slow| telling.lock().unwrap().push(slow.clone()));
    (PostgresPool::builder_of(driver).build().unwrap().into(), told)
}

/// Far from each other, so that a machine that is busy does not mistake one for the other.
const LONG: Duration = Duration::from_mins(10);

#[tokio::test]
async fn slow_queries_are_told_with_what_became_of_them_and_no_literals() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.slow_query = Some(Duration::from_millis(50));
    // However long the server takes to say what has become of one that was cancelled: then its session is not closed.
    config.limits.cancel_timeout = LONG;
    let (pool, told) = listening(config);
    let lease = pool.acquire().await.unwrap();
    let asked = "SELECT pg_sleep(0.06), 'a literal' /* a comment */";
    Queries::query(&*lease, asked, &[]).await.unwrap();
    let sleeping = Query::new("SELECT pg_sleep(300)").timeout(Duration::from_millis(60));
    Queries::execute(&*lease, sleeping, &[]).await.unwrap_err();
    let failing = "SELECT pg_sleep(0.06); SELECT nothing";
    Queries::batch_execute(&*lease, failing).await.unwrap_err();
    let dropped = Queries::execute(&*lease, "SELECT pg_sleep(300)", &[]);
    tokio::time::timeout(Duration::from_millis(60), dropped).await.unwrap_err();
    let told = told.lock().unwrap();
    let ends: Vec<_> = told.iter().map(|slow| slow.end).collect();
    assert_eq!(ends[..], [QueryEnd::Answered, QueryEnd::TimedOut, QueryEnd::Failed, QueryEnd::Dropped]);
    assert_eq!(told[0].statement, "SELECT pg_sleep(?), ?");
    assert!(told.iter().all(|slow| slow.elapsed >= Duration::from_millis(50) && slow.elapsed < LONG));
    assert!(told.iter().all(|slow| slow.host == lease_host(&pool)), "{told:?}");
    assert_eq!(pool.driver().query_stats().slow, 4);
}

fn lease_host(pool: &PostgresPool) -> String {
    pool.driver().config().hosts[0].to_string()
}

#[tokio::test]
async fn what_is_quick_is_not_told() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.slow_query = Some(LONG);
    let (pool, told) = listening(config);
    pool.execute("SELECT 1", &[]).await.unwrap();
    assert!(told.lock().unwrap().is_empty());
    let stats = pool.driver().query_stats();
    assert_eq!((stats.queries, stats.slow, stats.sla_met, stats.sla_missed), (1, 0, 0, 0), "and none is promised");
}

#[tokio::test]
async fn what_is_promised_is_met_or_missed() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.sla = Some(LONG);
    let pool = PostgresPool::connect(config.clone()).await.unwrap();
    pool.execute("SELECT 1", &[]).await.unwrap();
    pool.execute("SELECT nothing", &[]).await.unwrap_err();
    let met = |pool: &PostgresPool| (pool.driver().query_stats().sla_met, pool.driver().query_stats().sla_missed);
    assert_eq!(met(&pool), (2, 0), "an error is an answer");
    let lease = pool.acquire().await.unwrap();
    assert!(Box::pin(Queries::execute(&*lease, "SELECT 1", &[])).now_or_never().is_none());
    assert_eq!(met(&pool), (2, 0), "nobody knows");
    let sleeping = Query::new("SELECT pg_sleep(300)").timeout(Duration::from_millis(20));
    Queries::execute(&*lease, sleeping, &[]).await.unwrap_err();
    assert_eq!(met(&pool), (2, 1));
    Queries::execute(&*lease, "SELECT pg_terminate_backend(pg_backend_pid())", &[]).await.unwrap_err();
    Queries::execute(&*lease, "SELECT 1", &[]).await.unwrap_err();
    drop(lease);
    let (met_at_last, missed) = met(&pool);
    assert!(met_at_last + missed == 5 && missed >= 2, "the connection was lost");
    pool.disconnect().await;
    assert_eq!(met(&pool), (met_at_last, missed), "what was counted stays counted");

    config.limits.sla = Some(Duration::from_millis(10));
    let pool = PostgresPool::connect(config).await.unwrap();
    pool.execute("SELECT pg_sleep(0.02)", &[]).await.unwrap();
    assert_eq!(met(&pool), (0, 1));
}

/// From one event to the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets this much time go by for everything but the server.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn of_many_slow_queries_one_is_logged_and_the_next_event_says_how_many_were_not() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.slow_query = Some(Duration::from_millis(1));
    let told = Arc::new(Mutex::new(0));
    let telling = Arc::clone(&told);
    let driver = PostgresDriver::new(config).unwrap().on_slow_query(move |_| {
        *telling.lock().unwrap() += 1;
        resume_unwind(Box::new("a listener was told to panic"));
    });
    let pool = PostgresPool::from(PostgresPool::builder_of(driver).build().unwrap());
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let ask = async || drop(pool.query("SELECT pg_sleep(0.002)", &[]).await.unwrap());
    for _ in 0..50 {
        ask().await;
    }
    let listener_told = || *told.lock().unwrap_or_else(PoisonError::into_inner);
    let logged = || [spans.events("a slow query"), spans.events("what listens for slow queries has panicked")];
    assert_eq!(listener_told(), 50, "whoever listens is told of all");
    for events in logged() {
        assert_eq!((events.len(), events[0].field("suppressed")), (1, ""), "{events:?}");
    }
    pass(INTERVAL).await;
    ask().await;
    assert_eq!(listener_told(), 51);
    let [slow, panicked] = logged();
    for events in [&slow, &panicked] {
        assert_eq!((events.len(), events[1].field("suppressed")), (2, "49"), "{events:?}");
    }
    assert_eq!((slow[1].level, slow[1].target, slow[1].field("end")), (Level::WARN, "pool_postgres::slow", "answered"));
    assert_eq!((panicked[1].level, pool.driver().query_stats().slow), (Level::ERROR, 51));
}

#[tokio::test]
async fn of_many_sessions_that_come_back_untidy_a_few_are_logged_and_the_rest_counted() {
    let database = database();
    let config = config(database.url(), 1);
    let spans = Spans::default();
    // Before there is a pool, whose background work keeps to whoever listens when it begins.
    let _listening = set_default(spans.clone());
    let pool = PostgresPool::connect(config).await.unwrap();
    let leave_something = async || {
        let lease = pool.acquire().await.unwrap();
        lease.batch_execute("BEGIN").await.unwrap();
        drop(lease);
        eventually("it is in order", async || pool.state().idle == 1).await;
    };
    for _ in 0..30 {
        leave_something().await;
    }
    let events = || spans.events("a session has come back");
    assert_eq!(events().len(), 10, "{:?}", events());
    assert!(events().iter().all(|event| event.level == Level::WARN && event.field("suppressed").is_empty()));
    pass(INTERVAL).await;
    leave_something().await;
    assert_eq!((events().len(), events()[10].field("suppressed")), (11, "20"));
}
