//! Requests with limits, dropped after every number of polls.

use std::time::Duration;

use pool_postgres::{PostgresOwnedLease, PostgresPool, Queries, Query};
use pool_testkit::cancel::{Cut, for_each_cancellation};
use pool_testkit::proxy::{Direction, Proxy, Toxic};
use tokio::runtime::Builder;

use crate::common::{config, database};

/// Asks for two rows to be inserted, and is dropped at some moment; the session has to be as it was.
async fn cut_off(lease: &PostgresOwnedLease, query: Query<'_>, cut: Cut) -> bool {
    let ended = cut.apply(Queries::execute(&**lease, query, &[])).await.is_some();
    let row = Queries::query_one(&**lease, "SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0) % 2, 0, "all of it or nothing");
    ended
}

/// A request on a lease that is kept, dropped at each of its polls.
fn whatever_is_dropped(what: &str, toxic: Option<Toxic>, query: &Query<'_>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let database = database();
    let mut config = config(database.url(), 1);
    let proxy = runtime.block_on(Proxy::postgres(("127.0.0.1", config.hosts[0].port))).unwrap();
    config.hosts[0].port = proxy.address().port();
    // However long the server takes to say what has become of one that was cancelled: then its session is not closed.
    config.limits.cancel_timeout = Duration::from_mins(1);
    let pool = runtime.block_on(PostgresPool::connect(config)).unwrap();
    runtime.block_on(pool.batch_execute("CREATE TABLE t (n int)")).unwrap();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    if let Some(toxic) = toxic {
        proxy.set(Direction::ToClient, toxic);
    }
    let cases = for_each_cancellation(|cut| runtime.block_on(cut_off(&lease, query.clone(), cut)));
    println!("{what}: {cases} cases, {:?}", pool.driver().query_stats());
    assert!(cases >= 6, "{what}: only {cases} cases");
    assert_eq!((pool.stats().opened, lease.is_closed()), (1, false), "{what}");
    drop(lease);
    runtime.block_on(pool.disconnect());
}

fn toxics() -> [(&'static str, Option<Toxic>); 3] {
    let time = Duration::from_millis(1);
    [
        ("nothing goes wrong", None),
        ("answers are late", Some(Toxic::Delay { time, jitter: time, seed: 7 })),
        ("answers come in pieces", Some(Toxic::Slice { bytes: 16, pause: Duration::ZERO })),
    ]
}

#[test]
fn a_request_without_a_limit() {
    for (what, toxic) in toxics() {
        whatever_is_dropped(what, toxic, &Query::new("INSERT INTO t VALUES (1), (2)"));
    }
}

/// Dropped before its time is over, and while it is being cancelled.
#[test]
fn a_request_that_times_out() {
    let insert = "INSERT INTO t SELECT n FROM (SELECT pg_sleep(300)) AS moment, (VALUES (1), (2)) AS v (n)";
    for (what, toxic) in toxics() {
        whatever_is_dropped(what, toxic, &Query::new(insert).timeout(Duration::from_millis(5)));
    }
}
