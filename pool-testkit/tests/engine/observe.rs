//! The pool as those see it who run it.
#![allow(clippy::cast_precision_loss, clippy::float_cmp)] // of small whole numbers

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{
    Description, HealthConfig, HealthState, MetricFamily, MetricKind, MetricUnit, MetricValue, ObserveConfig, Pool,
    PoolObserver, ServerFacts, SlotState,
};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{advance, sleep};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet_pool, ready, until};
use crate::log::Log;

fn observed(pool: &Pool<FakeDriver>) -> PoolObserver<FakeDriver> {
    pool.observe(ObserveConfig::default()).unwrap()
}

/// A number, by the name of its family and the value of its own label, if it has one.
fn number(families: &[MetricFamily], name: &str, label: &str) -> f64 {
    let family = families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"));
    let own = |sample: &&pool_core::MetricSample| sample.labels.get(1).map_or("", |(_, value)| value) == label;
    match family.samples.iter().find(own).unwrap_or_else(|| panic!("no {label} in {name}")).value {
        MetricValue::Count(count) => count as f64,
        MetricValue::Number(number) => number,
        ref other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_waiter_is_the_one_who_came_first_of_those_who_wait() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let observer = observed(&pool);
    let oldest = || observer.snapshot().oldest_waiter;
    let lease = pool.acquire().await.unwrap();
    assert_eq!(oldest(), None);
    let mut first = Box::pin(pool.acquire());
    assert!(is_pending(&mut first));
    sleep(3 * SECOND).await;
    let mut second = Box::pin(pool.acquire());
    assert!(is_pending(&mut second));
    sleep(2 * SECOND).await;
    assert_eq!(oldest(), Some(5 * SECOND));
    assert_eq!(number(&observer.families(), "pool.waiters.oldest.age", ""), 5.0);
    drop(first);
    assert_eq!(oldest(), Some(2 * SECOND));
    drop(lease);
    assert_eq!(oldest(), None);
    drop(ready(&mut second).unwrap());
    drop(second);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn slots_are_shown_as_they_are() {
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = quiet_pool(&driver, 5);
    let observer = observed(&pool);
    let shared = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let (leased, idle) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    drop(idle);
    sleep(2 * SECOND).await;
    let slots =
        || observer.snapshot().slots.iter().map(|slot| (slot.index, slot.state, slot.users)).collect::<Vec<_>>();
    assert_eq!(slots(), [(0, SlotState::Shared, 2), (1, SlotState::Leased, 0), (2, SlotState::Idle, 0)]);
    let since = observer.snapshot().slots[2].since.unwrap();
    assert!(since >= SECOND && since <= 2 * SECOND, "{since:?}");
    let more = pool.acquire().await.unwrap();
    driver.script(Call::Connect, [Step::Hang]);
    let mut opening = Box::pin(pool.acquire());
    assert!(is_pending(&mut opening));
    until(&pool, |state| state.opening == 1).await;
    assert_eq!(slots()[2..], [(2, SlotState::Leased, 0), (3, SlotState::Opening, 0)]);
    drop(more);
    drop((shared, leased, opening));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn metrics_say_what_the_statistics_say() {
    let driver = FakeDriver::new();
    let mut description = Description::default();
    description.system = "fake";
    description.namespace = Some("books".to_owned());
    let own =
        MetricFamily::new("fake.calls", MetricKind::Counter, MetricUnit::Events, "Calls.").with([("kind", "one")], 3);
    description.families.push(own);
    driver.describe_as(Some(description));
    let mut config = quiet(2);
    config.acquire_timeout = 2 * SECOND;
    let pool = pool_with(&driver, config);
    let checker = Arc::new(pool.monitor(HealthConfig::default()).unwrap());
    let observer = observed(&pool).with_health(Arc::clone(&checker));
    checker.check_health().await;
    let lease = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    let families = observer.families();
    assert_eq!(number(&families, "pool.waiters", ""), 1.0);
    assert_eq!(number(&families, "db.client.connection.pending_requests", ""), 1.0);
    assert!(waiter.await.is_err(), "the monitor has the other one");
    drop(lease);
    let (families, stats) = (observer.families(), pool.stats());
    let names: HashSet<_> = families.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families.len(), "each name once");
    for sample in families.iter().flat_map(|family| &family.samples) {
        assert_eq!(sample.labels[0], ("db.client.connection.pool.name", "pool".into()));
    }
    let wanted = [
        ("db.client.connection.count", "idle", 1.0),
        ("db.client.connection.count", "used", 1.0),
        ("db.client.connection.max", "", 2.0),
        ("db.client.connection.timeouts", "", 1.0),
        ("pool.connections", "reserved", 1.0),
        ("pool.connections.opened", "", 2.0),
        ("pool.acquires", "timeout", 1.0),
        ("pool.health.state", "degraded", 1.0),
        ("pool.health.checks", "succeeded", 1.0),
        ("pool.connectivity.time", "succeeded", 2.0),
        ("pool.connectivity.time", "failed", 0.0),
        ("pool.breaker.state", "closed", 1.0),
        ("fake.calls", "one", 3.0),
    ];
    for (name, label, value) in wanted {
        assert_eq!(number(&families, name, label), value, "{name} {label}");
    }
    let times = |name| {
        let samples = &families.iter().find(|family| family.name == name).unwrap().samples;
        match &samples[0].value {
            MetricValue::Histogram(times) => times.clone(),
            other => panic!("{other:?}"),
        }
    };
    let executions = families.iter().find(|family| family.name == "db.client.operation.duration").unwrap();
    let of_driver = [("db.system.name", "fake".into()), ("db.namespace", "books".into())];
    assert_eq!(executions.samples[0].labels[1..], of_driver);
    let waits = times("db.client.connection.wait_time");
    assert_eq!(waits.count, stats.immediate + stats.waited, "those that did not wait are in it");
    assert_eq!(waits.buckets[0].1, waits.count - 1, "the others took no time");
    let at = |seconds: f64| waits.buckets.iter().find(|(bound, _)| *bound == seconds).unwrap().1;
    assert_eq!((at(1.0), at(2.5)), (waits.count - 1, waits.count), "one has waited for two seconds");
    drop(checker);
}

/// What it has told by then counts.
#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_when_it_describes_itself_harms_nobody() {
    let driver = FakeDriver::new();
    driver.describe_as(None);
    let pool = quiet_pool(&driver, 1);
    let observer = observed(&pool);
    assert!(observer.families().iter().any(|family| family.name == "pool.waiters"));
    let mut description = Description::default();
    description.servers.push(ServerFacts::of("db:1"));
    description.settings.push(("driver_setting".to_owned(), "7".to_owned()));
    driver.describe_as(Some(description));
    let snapshot = observer.snapshot();
    assert_eq!(snapshot.servers[0].host, "db:1");
    assert_eq!((snapshot.config.max_size, snapshot.driver_settings[0].0.as_str()), (1, "driver_setting"));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn samples_are_taken_in_their_interval_and_the_oldest_make_room() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let mut config = ObserveConfig::default();
    config.history = 3;
    let observer = pool.observe(config).unwrap();
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    sleep(4 * SECOND).await;
    drop(leases);
    sleep(7 * SECOND).await;
    let history = observer.snapshot().history;
    assert_eq!((history.len(), history[0].acquired, history[0].peak), (1, 2, 0.5));
    assert!(history[0].utilisation > 0.1 && history[0].utilisation < 0.4, "{}", history[0].utilisation);
    assert_eq!((history[0].hold.count, history[0].hold.max.as_secs()), (2, 4));
    assert_eq!(number(&observer.families(), "pool.utilisation.peak", ""), 0.5);
    sleep(40 * SECOND).await;
    let history = observer.snapshot().history;
    assert_eq!((history[0].acquired, history[0].hold.count), (0, 0));
    assert_eq!(history.iter().map(|point| point.sequence).collect::<Vec<_>>(), [3, 4, 5]);
    for (last, new) in [(0, &history[..]), (2, &history[..]), (3, &history[1..]), (5, &[]), (u64::MAX, &[])] {
        assert_eq!(observer.history_since(last), new, "since {last}");
    }
    let mut window = observer.window();
    drop(pool.acquire().await.unwrap());
    let steps = [window.step(), window.step()].map(|point| (point.sequence, point.acquired));
    assert_eq!(steps, [(1, 1), (2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_written_down_while_somebody_looks() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = quiet(1);
    config.acquire_timeout = 10 * SECOND;
    (config.breaker_failures, config.breaker_after) = (Some(3), SECOND);
    let pool = pool_with(&driver, config);
    pool.acquire().await.unwrap_err();
    let observer = observed(&pool);
    assert_eq!(observer.snapshot().journal, [], "nobody has looked");
    sleep(20 * SECOND).await;
    let journal = || observer.snapshot().journal.iter().map(|entry| (entry.kind, entry.times)).collect::<Vec<_>>();
    let [("open", times)] = journal()[..] else { panic!("{:?}", journal()) };
    assert!(times > 3, "what happens again takes one place");
    driver.always(Call::Connect, Step::Ok);
    until(&pool, |state| !state.breaker.is_open()).await;
    let lease = pool.acquire().await.unwrap();
    assert_eq!(journal()[..2], [("breaker", 1), ("open", times)], "the newest comes first");
    pool.acquire().await.unwrap_err();
    sleep(20 * SECOND).await;
    let newest = observer.snapshot().journal[0].clone();
    assert_eq!(newest.kind, "acquire");
    assert!(
        newest.message.starts_with("1 acquire has timed out in the last 10s; 0 callers wait now"),
        "{}",
        newest.message
    );
    assert!(observer.snapshot().journal.len() <= 64);
    drop(lease);
}

/// Two hosts that fail in turn leave room for the rest.
#[tokio::test(start_paused = true)]
async fn what_happens_again_is_one_entry_whatever_happens_in_between() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let observer = observed(&pool);
    let began = observer.snapshot().at;
    for _ in 0..100 {
        pool.pause();
        pool.pause();
        pool.resume();
    }
    let journal = observer.snapshot().journal;
    let seen: Vec<_> = journal.iter().map(|entry| (entry.kind, entry.times, entry.message.as_str())).collect();
    // As many as one may be behind are kept until somebody reads.
    assert_eq!(seen, [("control", 32, "the pool has been resumed"), ("control", 32, "the pool has been paused")]);
    assert!(journal.iter().all(|entry| began <= entry.since && entry.since <= entry.at));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_does_is_written_down() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let observer = observed(&pool);
    pool.retire_all();
    pool.retire_all_over(90 * SECOND);
    pool.retire_host("db-2:5432");
    let mut config = (*pool.config()).clone();
    pool.reconfigure(config.clone()).unwrap();
    (config.max_size, config.max_lifetime) = (7, Some(3600 * SECOND));
    pool.reconfigure(config).unwrap();
    let journal = observer.snapshot().journal;
    let seen: Vec<_> = journal.iter().map(|entry| (entry.kind, entry.message.as_str())).collect();
    let wanted = [
        "settings have been changed: max_size, max_lifetime",
        "the connections to db-2:5432 are retired",
        "all connections are retired, over 90s",
        "all connections are retired",
    ];
    assert_eq!(seen, wanted.map(|message| ("control", message)));
}

#[tokio::test(start_paused = true)]
async fn a_busy_pool_is_worth_a_warning_now_and_then() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.listener());
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 5);
    let observer = observed(&pool);
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(pool.acquire().await.unwrap());
    }
    sleep(21 * SECOND).await;
    let warnings = || log.text().matches("most connections of a pool are in use").count();
    assert_eq!(warnings(), 0, "four of five are 80 percent and no more");
    leases.push(pool.acquire().await.unwrap());
    sleep(41 * SECOND).await;
    assert_eq!(warnings(), 1);
    assert!(!log.text().contains("suppressed"), "none was left out: {}", log.text());
    sleep(40 * SECOND).await;
    assert_eq!(warnings(), 2, "once a minute");
    assert!(log.text().contains("suppressed=5"), "{}", log.text());
    drop(observer);
}

#[tokio::test(start_paused = true)]
async fn an_observer_ends_with_its_last_clone_and_keeps_no_pool_from_closing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let observer = observed(&pool);
    let other = observer.clone();
    drop(observer);
    drop(pool.acquire().await.unwrap());
    sleep(11 * SECOND).await;
    assert_eq!(other.snapshot().history.len(), 1);
    pool.close().await;
    sleep(SECOND).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let last = other.snapshot();
    assert!(last.stats.state.closed && last.history.len() == 2, "the last sample is of its end");
    assert_eq!(tasks, 0, "nothing samples a closed pool");
    let another = quiet_pool(&driver, 1);
    let observer = observed(&another);
    drop(observer);
    sleep(Duration::from_millis(1)).await;
    another.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_health_of_the_pool_is_part_of_its_history() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    let observer = observed(&pool).with_health(Arc::new(checker));
    sleep(11 * SECOND).await;
    driver.always(Call::Ping, Step::Fail);
    driver.always(Call::Connect, Step::Fail);
    sleep(120 * SECOND).await;
    let snapshot = observer.snapshot();
    assert_eq!(snapshot.history[0].health, Some(HealthState::Healthy));
    assert_eq!(snapshot.history.last().unwrap().health, Some(HealthState::Unhealthy));
    assert!(snapshot.journal.iter().any(|entry| entry.kind == "health"));
    let families = observer.families();
    assert_eq!(number(&families, "pool.health.state", "unhealthy"), 1.0);
    assert!(number(&families, "pool.connectivity.time", "failed") >= 60.0);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    let refused = |change: fn(&mut ObserveConfig)| {
        let mut config = ObserveConfig::default();
        change(&mut config);
        let error = pool.observe(config).unwrap_err();
        error.refused.iter().map(|refused| refused.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(|config| config.name = "a b".to_owned()), ["name"]);
    assert_eq!(refused(|config| config.name = String::new()), ["name"]);
    assert_eq!(refused(|config| config.interval = Duration::from_millis(99)), ["interval"]);
    assert_eq!(refused(|config| (config.history, config.utilisation) = (0, 101)), ["history", "utilisation"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_monitor_keeps_is_no_lease_of_a_caller() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    sleep(3000 * SECOND).await;
    pool.retire_all();
    sleep(5 * SECOND).await;
    assert!(driver.ledger().closed() > 0, "it has given it back");
    let hold = pool.stats().hold;
    assert!(hold.max < SECOND, "{hold:?}");
    drop(checker);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_at_once_has_not_waited() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = quiet(1);
    (config.breaker_failures, config.breaker_after, config.acquire_timeout) = (Some(3), SECOND, 30 * SECOND);
    let pool = pool_with(&driver, config);
    pool.acquire().await.unwrap_err();
    until(&pool, |state| state.breaker.is_open()).await;
    let before = pool.stats();
    assert_eq!((before.failed, before.wait.count), (1, 1), "this one has waited");
    for _ in 0..1000 {
        pool.acquire().await.unwrap_err();
    }
    let stats = pool.stats();
    assert_eq!((stats.failed, stats.waited, stats.wait.count), (1001, 1001, 1));
    assert_eq!(stats.wait_time, before.wait_time);
    pool.close().await;
    pool.acquire().await.unwrap_err();
    assert_eq!((pool.stats().refused, pool.stats().wait.count), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_peak_of_a_closed_pool_is_not_that_of_its_last_sample() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    let observer = observed(&pool);
    let lease = pool.acquire().await.unwrap();
    sleep(11 * SECOND).await;
    assert_eq!(number(&observer.families(), "pool.utilisation.peak", ""), 1.0);
    drop(lease);
    pool.close().await;
    assert_eq!(number(&observer.families(), "pool.utilisation.peak", ""), 0.0);
}

/// Nobody can resume it any more, and nobody moves its breaker: an alert on either would never end.
#[tokio::test(start_paused = true)]
async fn a_pool_that_has_been_closed_is_neither_paused_nor_is_its_breaker_open() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = quiet(1);
    (config.breaker_failures, config.breaker_after, config.acquire_timeout) = (Some(3), SECOND, 30 * SECOND);
    let pool = pool_with(&driver, config);
    let observer = observed(&pool);
    pool.acquire().await.unwrap_err();
    until(&pool, |state| state.breaker.is_open()).await;
    pool.pause();
    let shown = || {
        let families = observer.families();
        [("pool.paused", ""), ("pool.closed", ""), ("pool.breaker.state", "closed")]
            .map(|(name, label)| number(&families, name, label))
    };
    assert_eq!(shown(), [1.0, 0.0, 0.0]);
    pool.close().await;
    assert!(pool.state().paused && pool.state().breaker.is_open(), "as it was left");
    assert_eq!(shown(), [0.0, 1.0, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn at_a_hundred_percent_nothing_is_ever_worth_a_warning() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.listener());
    let pool = quiet_pool(&FakeDriver::new(), 2);
    let mut config = ObserveConfig::default();
    config.utilisation = 100;
    let observer = pool.observe(config).unwrap();
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    pool.reconfigure(quiet(1)).unwrap();
    sleep(21 * SECOND).await;
    assert!(!log.text().contains("most connections of a pool are in use"), "{}", log.text());
    drop((leases, observer));
}

/// More are leased than there may be.
#[tokio::test(start_paused = true)]
async fn no_more_is_in_use_than_all_when_a_pool_has_shrunk() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let observer = observed(&pool);
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let mut config = (*pool.config()).clone();
    config.max_size = 1;
    pool.reconfigure(config).unwrap();
    sleep(15 * SECOND).await;
    let families = observer.families();
    assert_eq!(number(&families, "pool.utilisation", ""), 1.0);
    assert_eq!(number(&families, "pool.utilisation.peak", ""), 1.0);
    assert_eq!(observer.snapshot().utilisation, 1.0);
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

/// A connection that others may join is not used up by its first user.
#[tokio::test(start_paused = true)]
async fn a_pool_with_room_on_its_shared_connections_is_not_used_up() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.listener());
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = quiet_pool(&driver, 2);
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    until(&pool, |state| state.idle == 2).await;
    let observer = observed(&pool);
    let mut leases = vec![pool.share().await.unwrap(), pool.share().await.unwrap()];
    sleep(21 * SECOND).await;
    let (families, state) = (observer.families(), pool.state());
    assert_eq!((state.leased, state.users, state.room, state.places), (2, 2, 6, 4), "each has taken an idle one");
    assert_eq!(number(&families, "pool.utilisation", ""), 0.25);
    assert_eq!(number(&families, "pool.utilisation.peak", ""), 0.25);
    assert!(!log.text().contains("most connections of a pool are in use"), "{}", log.text());
    leases.extend([(); 6].map(|()| pool.try_share().unwrap()));
    assert_eq!(observer.snapshot().utilisation, 1.0);
    leases.truncate(2);
    leases[0].shut();
    assert_eq!(observer.snapshot().utilisation, 0.625, "nobody joins the one, and the other one has three places");
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

/// When the machine was busy with something else.
#[tokio::test(start_paused = true)]
async fn a_sample_that_is_late_puts_no_other_off() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    let observer = observed(&pool);
    tokio::task::yield_now().await;
    advance(Duration::from_millis(10_400)).await;
    sleep(Duration::from_millis(19_700)).await;
    let over: Vec<_> = observer.snapshot().history.iter().map(|point| point.over.as_millis()).collect();
    assert_eq!(over, [10_400, 9_600, 10_000]);
}
