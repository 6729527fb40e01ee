//! Connections that are lost: one gap for each outage, in its place, and nothing else is missing.

use std::time::Duration;

use pool_postgres::{Event, ListenError, PostgresPool, Subscription};
use pool_testkit::postgres::EphemeralPostgres;
use tokio::time::timeout;

use crate::common::{config, eventually, pool, watcher};
use crate::stage::{Traffic, all_before, listening, next, one_gap};

/// Reads up to the end of traffic. How many gaps there were; between two of them no number is missing.
async fn read(mut subscription: Subscription) -> (u64, Vec<u64>) {
    let (mut gaps, mut heard, mut may_skip) = (0, Vec::new(), true);
    loop {
        match next(&mut subscription).await {
            Event::Gap { outages } => {
                gaps += outages;
                may_skip = true;
            }
            Event::Notification(notification) if notification.payload() == "end" => return (gaps, heard),
            Event::Notification(notification) => {
                let number: u64 = notification.payload().parse().unwrap();
                let last = heard.last().copied().unwrap_or(0);
                assert!(number == last + 1 || (may_skip && number > last), "{number} after {last}: {may_skip}");
                may_skip = false;
                heard.push(number);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_under_traffic_leave_one_gap_each_and_nothing_else() {
    const ENDED: u64 = 5;
    let (database, pool) = pool(4).await;
    let watch = watcher(&database).await;
    let listener = pool.listener();
    let mut readers = Vec::new();
    for _ in 0..20 {
        let subscription = listener.subscribe_all(["a", "b"]).await.unwrap();
        readers.push(tokio::spawn(read(subscription)));
    }
    // One that tells when the server listens again.
    let mut again = listener.subscribe("again").await.unwrap();
    let traffic = Traffic::start(pool.clone(), "a");
    for _ in 0..ENDED {
        let sent = traffic.sent();
        eventually("more is sent", async || traffic.sent() > sent + 20).await;
        let [process] = listening(&watch, database.name()).await[..] else { panic!("one listens") };
        // Until it is gone: the server shows one that has said its last words for a while, and then two would listen.
        watch.query("SELECT pg_terminate_backend($1, 20000)", &[&process]).await.unwrap();
        one_gap(&mut again).await;
    }
    // What was under way when the server listened again may have been sent before that: the last one is a later one.
    let sent = traffic.sent();
    eventually("more is sent", async || traffic.sent() > sent + 20).await;
    let last = traffic.stop().await;
    pool.notify("b", "end").await.unwrap();
    for reader in readers {
        let (gaps, heard) = reader.await.unwrap();
        assert_eq!(gaps, ENDED);
        assert_eq!(heard.last(), Some(&last));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_one_that_is_started_again_leave_one_gap_each() {
    let mut server = EphemeralPostgres::start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 3)).await.unwrap();
    let listener = pool.listener();
    let mut first = listener.subscribe("a").await.unwrap();
    let mut second = listener.subscribe_all(["a", "b"]).await.unwrap();
    // The process is killed, and so PostgreSQL starts anew.
    let watch = pool.acquire().await.unwrap();
    let [process] = listening(&watch, "postgres").await[..] else { panic!("one listens") };
    let killed = std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
    assert!(killed.success());
    for subscription in [&mut first, &mut second] {
        one_gap(subscription).await;
    }
    // Not before: its session lives until PostgreSQL has noticed, and would be listened on, and lost, too.
    drop(watch);
    eventually("it answers", async || pool.notify("a", "1").await.is_ok()).await;
    assert_eq!(all_before(&mut first, &pool, "2").await.last().map_or("1", String::as_str), "1");
    assert_eq!(all_before(&mut second, &pool, "3").await.last().map_or("2", String::as_str), "2");
    server.kill9().unwrap();
    // Attempts fail meanwhile, however many.
    let failures = pool.stats().open_failures;
    eventually("it is tried again", async || pool.stats().open_failures >= failures + 2).await;
    server.restart().unwrap();
    assert_eq!(all_before_or_3(&mut first).await, Event::Gap { outages: 1 });
    one_gap(&mut second).await;
    assert!(all_before(&mut first, &pool, "4").await.is_empty());
    assert_eq!(all_before(&mut second, &pool, "5").await, ["4"]);
    pool.disconnect().await;
}

/// What comes next that is not "3", which the other one was sent.
async fn all_before_or_3(subscription: &mut Subscription) -> Event {
    match next(subscription).await {
        Event::Notification(notification) if notification.payload() == "3" => next(subscription).await,
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_any_more_is_noticed() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 3);
    settings.pool.health_check_interval = Some(Duration::from_millis(50));
    // Longer than a machine that is busy stands still: a server that is only slow is not given up.
    settings.pool.health_check_timeout = Duration::from_secs(4);
    settings.pool.connect_timeout = Duration::from_secs(2);
    let pool = PostgresPool::connect(settings).await.unwrap();
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let watch = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    server.pause().unwrap();
    eventually("its connection is given up", async || pool.state().reserved == 0).await;
    server.resume().unwrap();
    one_gap(&mut subscription).await;
    assert!(all_before(&mut subscription, &watch, "1").await.is_empty());
    pool.disconnect().await;
}

#[tokio::test]
async fn it_is_pinged_now_and_then() {
    let (database, pool) = pool(3).await;
    let watch = watcher(&database).await;
    let mut settings = (*pool.config()).clone();
    settings.health_check_interval = Some(Duration::from_millis(20));
    pool.reconfigure(settings).unwrap();
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let only = |sql: &'static str| {
        let (watch, name) = (&watch, database.name());
        async move { watch.query_one(sql, &[&name]).await.unwrap().get::<_, i64>(0) }
    };
    let pinged = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query = '' AND state = 'idle'";
    eventually("an empty query", async || only(pinged).await == 1).await;
    assert!(all_before(&mut subscription, &pool, "1").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_subscribes_during_an_outage_is_told_by_the_breaker_or_waits_for_its_end() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 3);
    settings.pool.breaker_failures = None;
    let pool = PostgresPool::connect_lazy(settings).unwrap();
    server.stop().unwrap();
    let listener = pool.listener();
    let subscribing = tokio::spawn(async move { listener.subscribe("a").await });
    eventually("it is tried", async || pool.stats().open_failures > 0).await;
    server.restart().unwrap();
    let mut subscription = timeout(Duration::from_secs(20), subscribing).await.unwrap().unwrap().unwrap();
    assert!(all_before(&mut subscription, &pool, "1").await.is_empty(), "there was no gap");
    // And now with one.
    let mut settings = (*pool.config()).clone();
    (settings.breaker_failures, settings.breaker_after) = (Some(1), Duration::from_millis(1));
    pool.reconfigure(settings).unwrap();
    server.stop().unwrap();
    eventually("the breaker is open", async || pool.state().breaker.is_open()).await;
    let error = pool.listener().subscribe("a").await.unwrap_err();
    assert!(matches!(error, ListenError::Acquire(_)), "{error}");
    server.restart().unwrap();
    one_gap(&mut subscription).await;
    pool.disconnect().await;
}
