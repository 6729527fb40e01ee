//! What has gone wrong lately is still there when something else goes wrong again and again.

use std::sync::Arc;
use std::time::Duration;

use pool_core::{HealthConfig, JournalEntry, ObserveConfig, PoolObserver};
use pool_testkit::fake::FakeDriver;
use tokio::time::sleep;

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, quiet_pool, ready, until};

fn of_kind(observer: &PoolObserver<FakeDriver>, kind: &str) -> Vec<JournalEntry> {
    observer.snapshot().journal.into_iter().filter(|entry| entry.kind == kind).collect()
}

/// Each sample of an overload has other figures.
#[tokio::test(start_paused = true)]
async fn an_overload_hides_nothing_that_came_before_it() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.leak_after = Some(2 * SECOND);
    let pool = pool_with(&driver, config);
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    pool.pause();
    pool.resume();
    let leaked = pool.acquire().await.unwrap();
    for callers in 1..=100 {
        let mut late: Vec<_> = (0..callers).map(|_| Box::pin(pool.acquire_timeout(SECOND))).collect();
        assert!(late.iter_mut().all(is_pending));
        sleep(2 * SECOND).await;
        assert!(late.iter_mut().all(|acquire| ready(acquire).is_err()));
        sleep(8 * SECOND).await;
    }
    sleep(SECOND).await;
    let [timeouts] = &of_kind(&observer, "acquire")[..] else { panic!("{:?}", observer.snapshot().journal) };
    assert_eq!((timeouts.times, timeouts.since < timeouts.at), (100, true));
    assert_eq!(timeouts.message, "100 acquires have timed out in the last 10s; 0 callers wait now", "the last one");
    assert_eq!([of_kind(&observer, "leak").len(), of_kind(&observer, "control").len()], [1, 2]);
    drop(leaked);
    prove_nothing_lost(&pool, &driver).await;
}

/// The state and the kinds of reasons make the entry, and not how many are in use.
#[tokio::test(start_paused = true)]
async fn a_monitor_that_says_the_same_with_other_figures_has_one_entry_for_it() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 31);
    let checker = Arc::new(pool.monitor(HealthConfig::default()).unwrap());
    let observer = pool.observe(ObserveConfig::default()).unwrap().with_health(checker);
    sleep(2 * SECOND).await;
    for leased in 25..=30 {
        let mut leases = Vec::new();
        for _ in 0..leased {
            leases.push(pool.acquire().await.unwrap());
        }
        sleep(5 * SECOND).await;
        drop(leases);
        sleep(Duration::from_secs(25)).await;
    }
    let entries = of_kind(&observer, "health");
    let seen: Vec<_> = entries.iter().map(|entry| (&entry.message[..7], entry.times)).collect();
    assert_eq!(seen, [("healthy", 7), ("degrade", 6)], "{entries:?}");
    assert!(!entries[1].message.contains("25 of 30"), "the last one: {entries:?}");
    drop(observer);
    until(&pool, |state| state.leased + state.reserved == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_driver_does_by_itself_is_not_what_an_operator_does() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    drop(pool.acquire().await.unwrap());
    driver.recorder().unwrap().retire_all_over(60 * SECOND);
    sleep(5 * SECOND).await;
    pool.retire_host_for_driver("db-2:5432");
    pool.retire_host("db-2:5432");
    let seen: Vec<_> =
        observer.snapshot().journal.into_iter().map(|entry| (entry.kind, entry.times, entry.message)).collect();
    let one = |kind, message: &str| (kind, 1, message.to_owned());
    let wanted = [
        one("control", "the connections to db-2:5432 are retired"),
        one("driver", "the connections to db-2:5432 are retired"),
        one("driver", "all connections are retired, over 60s"),
    ];
    assert_eq!(seen, wanted);
    prove_nothing_lost(&pool, &driver).await;
}
