//! Every family has its instrument.

use std::collections::BTreeSet;
use std::time::Duration;

use pool_core::{HealthConfig, MetricFamily, MetricKind, MetricUnit, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{advance, timeout};

use crate::common::{Metered, SECOND, Told, Value, compare, describe, expected, observer, pool_of, tea, times};

/// One of each kind, with whole numbers and with others.
fn kinds() -> Vec<MetricFamily> {
    let family = |name, kind, unit| MetricFamily::new(name, kind, unit, "What is told of it.");
    let servers = vec![("server.address", "db.example".to_owned().into()), ("server.port", "5432".into())];
    vec![
        family("fake.bytes", MetricKind::Counter, MetricUnit::Bytes)
            .with_each("direction", [("sent", 1_u64 << 40), ("received", 2)]),
        family("fake.calls", MetricKind::Counter, MetricUnit::Events).with([], 3),
        family("fake.time", MetricKind::Counter, MetricUnit::Seconds).with([], 2.5),
        family("fake.cups", MetricKind::UpDownCounter, MetricUnit::Connections).with_labels(servers, 4_u64),
        family("fake.part", MetricKind::UpDownCounter, MetricUnit::Ratio).with([], 0.25),
        family("fake.depth", MetricKind::Gauge, MetricUnit::Callers).with([], -3),
        family("fake.heat", MetricKind::Gauge, MetricUnit::Ratio).with([], 0.75),
        family("fake.none", MetricKind::Counter, MetricUnit::Events),
        tea(times([3, 2, 1, 1], 512.0)),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_family_is_told_under_its_name_with_all_its_numbers() {
    let driver = FakeDriver::new();
    describe(&driver, kinds());
    let mut config = quiet(3);
    config.acquire_timeout = 2 * SECOND;
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    checker.check_health().await;
    let observer = observer(&pool, "main").with_health(checker.into());
    let metered = Metered::new();
    let export = observer.export_to(&metered.meter());
    // Something of everything: connections that were opened and that were not, leases of all lengths, one who waits in vain and one who still does.
    driver.script(Call::Connect, [Step::Fail]);
    for millis in [0, 3, 40, 999, 5_000, 400_000] {
        let lease = pool.acquire().await.unwrap();
        advance(Duration::from_millis(millis)).await;
        drop(lease);
        tokio::task::yield_now().await;
    }
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    assert!(pool.acquire().await.is_err(), "the monitor has the third");
    let mut waiter = Box::pin(pool.acquire());
    assert!(timeout(SECOND, &mut waiter).await.is_err());

    let told = metered.collected();
    let wanted = expected(&observer.families());
    compare(&told, &wanted);
    let kinds: BTreeSet<_> = told.values().map(|told| format!("{:?} {}", told.kind, told.number)).collect();
    assert_eq!(kinds.len(), 7, "all of them are there: {kinds:?}");
    assert!(told.len() > 40, "{}", told.len());
    // Some of it by hand: what is compared might have lost the same.
    assert!((told["pool.waiters.oldest.age"].number() - 1.0).abs() < 1e-6);
    let bytes = &told["fake.bytes"].samples;
    assert_eq!(bytes["db.client.connection.pool.name=main;direction=sent;"], Value::Number(1_099_511_627_776.0));
    assert_eq!(told["fake.depth"].only(), &Value::Number(-3.0));
    let uses = told["db.client.connection.use_time"].times();
    assert_eq!((uses.count, uses.each.last()), (6, Some(&1)), "those of callers alone: {uses:?}");
    drop((waiter, leases, export));
}

#[tokio::test(start_paused = true)]
async fn what_is_collected_twice_is_not_counted_twice() {
    let driver = FakeDriver::new();
    describe(&driver, kinds());
    let pool = pool_of(&driver, 2);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let _export = observer.export_to(&metered.meter());
    for _ in 0..3 {
        drop(pool.acquire().await.unwrap());
        for _ in 0..2 {
            compare(&metered.collected(), &expected(&observer.families()));
        }
    }
    assert_eq!(metered.collected()["db.client.connection.wait_time"].times().count, 3);
}

#[tokio::test(start_paused = true)]
async fn a_family_that_appears_later_has_its_instrument_after_the_next_collection() {
    let driver = FakeDriver::new();
    describe(&driver, []);
    let pool = pool_of(&driver, 1);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let export = observer.export_to(&metered.meter());
    compare(&metered.collected(), &expected(&observer.families()));
    // A histogram without a time has no buckets yet.
    let untouched =
        MetricFamily::new("fake.tea", MetricKind::Histogram, MetricUnit::Seconds, "How long tea was drawn.");
    describe(&driver, kinds().into_iter().filter(|family| family.name != "fake.tea").chain([untouched]));
    until_told(&metered, &expected(&observer.families())).await;
    compare(&metered.collected(), &expected(&observer.families()));
    describe(&driver, kinds());
    until_told(&metered, &expected(&observer.families())).await;
    compare(&metered.collected(), &expected(&observer.families()));
    // One that goes is not told of, and comes back.
    describe(&driver, kinds().into_iter().filter(|family| family.name != "fake.calls"));
    assert!(!metered.collected().contains_key("fake.calls"));
    describe(&driver, kinds());
    assert!(metered.collected().contains_key("fake.calls"));
    drop(export);
}

/// A thread makes the instruments, one after the other, and has no clock that could be paused.
async fn until_told(metered: &Metered, expected: &Told) {
    let began = std::time::Instant::now();
    while !metered.collected().keys().eq(expected.keys()) {
        assert!(began.elapsed() < 20 * SECOND, "not all are told of: {:?}", expected.keys());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pools_on_one_meter_are_told_apart_by_their_names() {
    let drivers = [FakeDriver::new(), FakeDriver::new()];
    let pools = drivers.each_ref().map(|driver| pool_of(driver, 2));
    let observers = [observer(&pools[0], "one"), observer(&pools[1], "other")];
    let metered = Metered::new();
    let exports = observers.each_ref().map(|observer| observer.export_to(&metered.meter()));
    drop(pools[0].acquire().await.unwrap());
    let both = (pools[1].acquire().await.unwrap(), pools[1].acquire().await.unwrap());
    drop(both);
    let wanted = || expected(&pool_core::merge_families(observers.iter().flat_map(pool_core::PoolObserver::families)));
    compare(&metered.collected(), &wanted());
    compare(&metered.collected(), &wanted());
    let opened = metered.collected()["pool.connections.opened"].samples.clone();
    let by_name = ["one", "other"].map(|name| opened[&format!("db.client.connection.pool.name={name};")].clone());
    assert_eq!(by_name, [Value::Number(1.0), Value::Number(2.0)]);
    drop(exports);
}
