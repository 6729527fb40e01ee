//! Requests that nobody waits for any more.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use pool_postgres::{PostgresOwnedLease, PostgresPool, Queries, Query};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::proxy::{Admission, Proxy};
use pool_testkit::spans::Spans;
use tokio::time::timeout;
use tracing::Level;
use tracing::subscriber::set_default;

use crate::common::{config, database, eventually, pool, watcher};

/// More than any test takes.
const FOR_EVER: &str = "SELECT pg_sleep(300)";

async fn process(lease: &PostgresOwnedLease) -> i32 {
    Queries::query_one(&**lease, "SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Asks, and waits until the server is at it. The answer is not waited for.
async fn abandon(lease: &PostgresOwnedLease, watcher: &PostgresOwnedLease, query: Query<'_>) {
    let process = process(lease).await;
    let wanted = query.sql().to_owned();
    let asked = Queries::execute(&**lease, query, &[]);
    let is_running = eventually("it runs", || async {
        // It is also active while it is prepared, and so one would be gone that has not been executed.
        let running = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep' AND query = $2";
        watcher.query_opt(running, &[&process, &wanted]).await.unwrap().is_some()
    });
    tokio::select! {
        outcome = asked => panic!("{outcome:?}"),
        () = is_running => {}
    }
}

#[tokio::test]
async fn a_query_is_cancelled_when_its_future_is_dropped() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let before = process(&lease).await;
    abandon(&lease, &watcher, FOR_EVER.into()).await;
    // It would wait for that.
    let after = timeout(Duration::from_mins(1), process(&lease)).await.expect("it is cancelled");
    assert_eq!(after, before);
    let stats = pool.driver().query_stats();
    assert_eq!((stats.dropped, stats.cancelled, stats.failed), (1, 1, 0));
    drop(lease);
    assert_eq!((pool.stats().opened, pool.stats().broken), (1, 0));
}

/// Without anybody asking for more.
#[tokio::test]
async fn the_server_stops_though_nothing_else_is_asked() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    abandon(&lease, &watcher, FOR_EVER.into()).await;
    eventually("the server stops", || async {
        let idle = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'idle'";
        watcher.query_opt(idle, &[&process]).await.unwrap().is_some()
    })
    .await;
}

/// It is held back until the one before it has been cancelled, and nobody waits for it any more by then.
#[tokio::test]
async fn one_that_is_dropped_before_it_is_sent_is_cancelled_too() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    abandon(&lease, &watcher, FOR_EVER.into()).await;
    let second = Box::pin(Queries::batch_execute(&*lease, "SELECT pg_sleep(301)")).now_or_never();
    assert!(second.is_none());
    eventually("the server stops", || async {
        let idle =
            "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'idle' AND query = 'SELECT pg_sleep(301)'";
        watcher.query_opt(idle, &[&process]).await.unwrap().is_some()
    })
    .await;
    let stats = pool.driver().query_stats();
    assert_eq!((stats.dropped, stats.cancelled), (2, 2));
}

#[tokio::test]
async fn a_query_goes_on_if_it_is_to() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.limits.cancel_on_drop = false;
    let pool = PostgresPool::connect(config).await.unwrap();
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    Queries::batch_execute(&*lease, "CREATE TABLE t (n int)").await.unwrap();
    abandon(&lease, &watcher, "INSERT INTO t SELECT 1 FROM (SELECT pg_sleep(4)) AS moment".into()).await;
    let count: i64 = Queries::query_one(&*lease, "SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1, "it is done, and then comes the next");
    let stats = pool.driver().query_stats();
    assert_eq!((stats.dropped, stats.cancelled), (1, 0));
}

/// How often, by `POOL_CANCELLATIONS`.
fn times() -> u32 {
    std::env::var("POOL_CANCELLATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// A cancellation hits what it is for, or nothing: whatever is asked next has its own answer, by whatever way it is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cancellation_hits_the_next_query() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire_owned().await.unwrap();
    let before = process(&lease).await;
    for n in 0..times() {
        let number = i32::try_from(n).unwrap();
        // Each kind at another moment: before it is sent, while it runs, and about when it is answered.
        let moment = Duration::from_micros(u64::from(n * 7919 % 4_000));
        let sql = if n % 3 == 0 { "SELECT pg_sleep(0.002)" } else { FOR_EVER };
        let asked = Queries::execute(&*lease, sql, &[]);
        let _ = timeout(moment, asked).await;
        if n % 2 == 0 {
            let row = Queries::query_one(&*lease, "SELECT $1::int", &[&number]).await;
            assert_eq!(row.unwrap().get::<_, i32>(0), number);
        } else {
            // As one who does not know of limits asks.
            let row = tokio_postgres::Client::query_one(&lease, "SELECT $1::int", &[&number]).await;
            assert_eq!(row.unwrap().get::<_, i32>(0), number);
        }
    }
    assert_eq!(process(&lease).await, before);
    let stats = pool.driver().query_stats();
    println!("{stats:?}");
    assert!(stats.cancelled > u64::from(times()) / 4 && stats.failed == 0, "{stats:?}");
}

/// The same between borrowers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cancellation_hits_the_next_borrower() {
    let (_database, pool) = pool(2).await;
    for n in 0..times() {
        let number = i32::try_from(n).unwrap();
        let moment = Duration::from_micros(u64::from(n * 7919 % 4_000));
        let _ = timeout(moment, pool.execute(FOR_EVER, &[])).await;
        let row = pool.query_one("SELECT $1::int", &[&number]).await;
        assert_eq!(row.unwrap().get::<_, i32>(0), number);
    }
    assert!(pool.stats().broken == 0, "{:?}", pool.stats());
}

/// It has been answered without anybody noticing, and what the server does then is another one's.
#[tokio::test]
async fn what_others_wait_for_is_not_cancelled_for_one_that_is_dropped() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    let process = process(&lease).await;
    let mut other = Box::pin(Queries::batch_execute(&*lease, "SELECT 1"));
    let mut long = Box::pin(Queries::batch_execute(&*lease, "SELECT pg_sleep(4)"));
    assert!(other.as_mut().now_or_never().is_none() && long.as_mut().now_or_never().is_none());
    let running = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query = 'SELECT pg_sleep(4)'";
    eventually("it runs", || async { watcher.query_opt(running, &[&process]).await.unwrap().is_some() }).await;
    drop(other);
    long.await.unwrap();
    assert_eq!(pool.driver().query_stats().cancelled, 0);
}

/// Several are dropped, one after the other, while the first is still being cancelled.
#[tokio::test]
async fn what_is_dropped_in_a_row_leaves_the_session_in_order() {
    let (database, pool) = pool(1).await;
    let watcher = watcher(&database).await;
    let lease = pool.acquire_owned().await.unwrap();
    Queries::batch_execute(&*lease, "CREATE TABLE t (n int)").await.unwrap();
    for n in 0..20_i32 {
        abandon(&lease, &watcher, FOR_EVER.into()).await;
        for _ in 0..3 {
            let insert = Queries::execute(&*lease, "INSERT INTO t VALUES (1)", &[]);
            assert!(Box::pin(insert).now_or_never().is_none(), "it is asked, and dropped");
        }
        let row = Queries::query_one(&*lease, "SELECT $1::int", &[&n]).await;
        assert_eq!(row.unwrap().get::<_, i32>(0), n);
    }
    assert_eq!(pool.driver().query_stats().failed, 0);
}

/// A proxy in front of the server, and a pool that connects through it, and has so long to cancel.
async fn pool_behind_proxy(size: usize, limit: Duration) -> (TestDatabase, Proxy, PostgresPool) {
    let database = database();
    let mut config = config(database.url(), size);
    let proxy = Proxy::postgres(("127.0.0.1", config.hosts[0].port)).await.unwrap();
    config.hosts[0].port = proxy.address().port();
    config.connect_timeout = limit;
    let pool = PostgresPool::connect(config).await.unwrap();
    (database, proxy, pool)
}

/// The same with its only lease.
async fn behind_proxy(limit: Duration) -> (TestDatabase, Proxy, PostgresOwnedLease) {
    let (database, proxy, pool) = pool_behind_proxy(1, limit).await;
    let lease = pool.acquire_owned().await.unwrap();
    (database, proxy, lease)
}

#[tokio::test]
async fn a_query_goes_on_if_nobody_can_be_asked_to_cancel_it() {
    let (database, proxy, lease) = behind_proxy(Duration::from_mins(1)).await;
    let watcher = watcher(&database).await;
    let before = process(&lease).await;
    proxy.admit(Admission::Refuse).await;
    abandon(&lease, &watcher, "SELECT pg_sleep(4)".into()).await;
    assert_eq!(process(&lease).await, before, "it has waited");
}

/// From one event to the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// As there are many while no server can be asked.
#[tokio::test]
async fn of_many_queries_that_go_on_one_is_logged_and_the_next_event_says_how_many_were_not() {
    let (database, proxy, pool) = pool_behind_proxy(5, Duration::from_mins(1)).await;
    let watcher = watcher(&database).await;
    let leases = join_all((0..5).map(|_| pool.acquire_owned())).await;
    let leases: Vec<_> = leases.into_iter().map(Result::unwrap).collect();
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let told = || spans.events("a query goes on that nobody waits for");
    proxy.admit(Admission::Refuse).await;
    let goes_on = async |lease: &PostgresOwnedLease| {
        abandon(lease, &watcher, "SELECT pg_sleep(4)".into()).await;
        // Asked only when the request before has been given up, which has been told by then.
        process(lease).await;
    };
    join_all(leases.iter().map(&goes_on)).await;
    assert_eq!((told().len(), told()[0].field("suppressed")), (1, ""), "{:?}", told());
    tokio::time::pause();
    tokio::time::advance(INTERVAL).await;
    tokio::time::resume();
    goes_on(&leases[0]).await;
    assert_eq!((told().len(), told()[1].field("suppressed")), (2, "4"), "{:?}", told());
    assert_eq!(told()[1].level, Level::INFO);
}

/// A request to cancel that is under way and not heard of may arrive at any time: nothing may be asked on the session any more.
#[tokio::test]
async fn a_session_is_closed_to_which_a_cancellation_may_still_come() {
    let (database, proxy, lease) = behind_proxy(Duration::from_secs(1)).await;
    let watcher = watcher(&database).await;
    proxy.admit(Admission::Silence).await;
    abandon(&lease, &watcher, FOR_EVER.into()).await;
    let next = timeout(Duration::from_mins(1), Queries::execute(&*lease, "SELECT 1", &[])).await.expect("in time");
    let error = next.unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert_eq!(error.outcome(), pool_postgres::retry::Outcome::NotDone, "{error}");
}
