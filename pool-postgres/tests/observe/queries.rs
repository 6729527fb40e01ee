//! Queries, statements, bytes, and how sessions end.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use pool_postgres::{Queries, Query};

use crate::common::{config, database, eventually, watcher};
use crate::stage::{by_label, observed, only, told};

/// More than any test takes.
const FOR_EVER: &str = "SELECT pg_sleep(300)";

#[tokio::test]
async fn queries_are_counted_by_what_came_of_them() {
    let database = database();
    let mut settings = config(database.url(), 1);
    (settings.limits.slow_query, settings.limits.sla) =
        (Some(Duration::from_millis(20)), Some(Duration::from_hours(1)));
    // A server that is busy elsewhere answers, too, and its session goes on.
    settings.limits.cancel_timeout = Duration::from_mins(1);
    let (pool, observer) = observed(settings).await;
    let outcomes = || told(&observer, "pool.postgres.queries");
    assert_eq!(outcomes(), "");
    pool.query_one("SELECT 1", &[]).await.unwrap();
    pool.query_one("SELECT pg_sleep(0.02)", &[]).await.unwrap();
    pool.query_one("SELECT 1 / 0", &[]).await.unwrap_err();
    assert_eq!(outcomes(), "answered 2, failed 1");
    pool.execute(Query::new(FOR_EVER).timeout(Duration::from_millis(50)), &[]).await.unwrap_err();
    assert_eq!(outcomes(), "answered 2, failed 1, timed_out 1");
    eventually("the connection is back", async || pool.state().idle == 1).await;
    assert!(pool.execute(FOR_EVER, &[]).now_or_never().is_none(), "it is begun, and dropped");
    eventually("the connection is back", async || pool.state().idle == 1).await;
    assert_eq!(outcomes(), "answered 2, dropped 1, failed 1, timed_out 1");
    assert_eq!(pool.driver().query_stats().queries, 5);
    assert!(only(&observer, "pool.postgres.queries.slow") >= 2, "one slept, one was given up");
    eventually("two were cancelled", async || only(&observer, "pool.postgres.queries.cancelled") == 2).await;
    // What was dropped in time is neither.
    assert_eq!(told(&observer, "pool.postgres.sla"), "met 3, missed 1");
    assert!(told(&observer, "pool.postgres.errors").contains("22 1"), "a division by zero");
}

/// Whenever somebody looks: a counter that goes back looks like a new process to whoever reads it.
#[tokio::test]
async fn the_statements_of_a_batch_are_counted_when_they_are_answered() {
    let database = database();
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let outcomes = || told(&observer, "pool.postgres.queries");
    let batch = || pool.batch().one_by_one().add("SELECT 1 / 0", &[]).add("SELECT 2", &[]);
    let mut answers = batch().send().await.unwrap();
    assert_eq!(outcomes(), "");
    answers.next().await.unwrap().unwrap_err();
    assert_eq!(outcomes(), "failed 1");
    answers.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(outcomes(), "answered 1, failed 1");
    drop(batch().send().await.unwrap());
    assert_eq!(outcomes(), "answered 1, dropped 1, failed 1");
    assert_eq!(pool.driver().query_stats().queries, 3);
}

#[tokio::test]
async fn statements_are_counted_by_what_has_become_of_them() {
    let database = database();
    let mut settings = config(database.url(), 1);
    (settings.statements.cache, settings.statements.prepare_after, settings.statements.warm) = (2, 2, 0);
    let (pool, observer) = observed(settings).await;
    let cached = || only(&observer, "pool.postgres.statements.cached");
    for _ in 0..5 {
        pool.query_one("SELECT 1", &[]).await.unwrap();
    }
    let by_outcome = by_label(&observer, "pool.postgres.statements");
    let stats = pool.driver().statements();
    let all =
        [stats.hits, stats.prepared, stats.unprepared, stats.described, stats.warmed, stats.evicted, stats.healed];
    let names = ["hit", "prepared", "unprepared", "described", "warmed", "evicted", "healed"];
    assert_eq!(names.map(|name| by_outcome[name]), all);
    assert_eq!((by_outcome.len(), by_outcome["hit"], by_outcome["prepared"]), (names.len(), 3, 1));
    assert_eq!(cached(), 1);
    for text in ["SELECT 2", "SELECT 3"] {
        pool.query_one(text, &[]).await.unwrap();
        pool.query_one(text, &[]).await.unwrap();
    }
    assert_eq!((cached(), by_label(&observer, "pool.postgres.statements")["evicted"]), (2, 1));
    pool.retire_all();
    eventually("they are gone with their connection", async || cached() == 0).await;
    assert_eq!(by_label(&observer, "pool.postgres.statements")["hit"], 3, "but what was counted is not");
}

#[tokio::test]
async fn bytes_are_counted_in_both_directions_and_outlive_their_connection() {
    const MANY: u64 = 1_000_000;
    let database = database();
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let bytes = || {
        let by_direction = by_label(&observer, "pool.postgres.io");
        (by_direction["sent"], by_direction["received"])
    };
    let before = bytes();
    assert!(before.0 > 0 && before.1 > 0, "it has logged in");
    let text = "x".repeat(usize::try_from(MANY).unwrap());
    let row = pool.query_one("SELECT length($1)", &[&text]).await.unwrap();
    let (sent, received) = bytes();
    assert_eq!(row.get::<_, i32>(0), 1_000_000);
    assert!((MANY..MANY + 10_000).contains(&(sent - before.0)), "{sent}");
    assert!(received - before.1 < 10_000, "{received}");
    pool.query_one("SELECT repeat('x', 1000000)", &[]).await.unwrap();
    let last = bytes();
    assert!((MANY..MANY + 10_000).contains(&(last.1 - received)), "{last:?}");
    pool.disconnect().await;
    let closed = bytes();
    assert!(closed.0 >= last.0 && closed.1 >= last.1, "{last:?} {closed:?}");
}

/// And how deep connections are shared: one that is had alone, however much is asked on it, is not among them.
#[tokio::test]
async fn what_is_under_way_is_counted_while_it_is() {
    let database = database();
    let (pool, observer) = observed(config(database.url(), 2)).await;
    let in_flight = || only(&observer, "pool.postgres.requests.in_flight");
    let depth = || (only(&observer, "pool.shared.users"), only(&observer, "pool.shared.connections"));
    assert_eq!(in_flight(), 0);
    let (lease, other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    drop(other);
    eventually("there is one to be shared", async || pool.state().idle == 1).await;
    let alone = Queries::execute(&*lease, FOR_EVER, &[]);
    let multiplexed = pool.multiplexed();
    let (one, other) = (multiplexed.execute(FOR_EVER, &[]), multiplexed.execute(FOR_EVER, &[]));
    tokio::select! {
        ended = alone => panic!("{ended:?}"),
        ended = one => panic!("{ended:?}"),
        ended = other => panic!("{ended:?}"),
        () = eventually("all are under way", async || (in_flight(), depth()) == (3, (2, 1))) => {}
    }
    eventually("all are cancelled", async || (in_flight(), depth()) == (0, (0, 0))).await;
}

#[tokio::test]
async fn a_session_that_an_administrator_ends_is_counted_by_its_cause() {
    let database = database();
    let watcher = watcher(&database).await;
    let (pool, observer) = observed(config(database.url(), 1)).await;
    let lease = pool.acquire().await.unwrap();
    let process: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(told(&observer, "pool.postgres.sessions.ended"), "");
    watcher.execute("SELECT pg_terminate_backend($1)", &[&process]).await.unwrap();
    eventually("it has ended", async || told(&observer, "pool.postgres.sessions.ended") == "57P01 1").await;
    assert_eq!(told(&observer, "pool.postgres.errors"), "57 1", "the server has said so");
    drop(lease);
    eventually("it is gone", async || pool.state().size == 0).await;
    assert_eq!(told(&observer, "pool.postgres.errors"), "57 1");
}
