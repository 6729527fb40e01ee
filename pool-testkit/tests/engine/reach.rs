//! For how long the server could be reached.
#![allow(clippy::float_cmp)] // nothing is zero

use std::sync::Arc;
use std::time::Duration;

use pool_core::{Config, HealthConfig, MetricValue, ObserveConfig, Pool, PoolObserver};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{SECOND, pool_with};

const HOUR: Duration = Duration::from_hours(1);

/// Seconds in which it could be reached, and in which it could not.
fn reach(observer: &PoolObserver<FakeDriver>) -> (f64, f64) {
    let families = observer.families();
    let family = families.iter().find(|family| family.name == "pool.connectivity.time").unwrap();
    let seconds = |outcome: &str| {
        let sample = family.samples.iter().find(|sample| sample.labels.iter().any(|(_, value)| value == outcome));
        match sample.unwrap().value {
            MetricValue::Number(seconds) => seconds,
            ref other => panic!("{other:?}"),
        }
    };
    (seconds("succeeded"), seconds("failed"))
}

fn observed(pool: &Pool<FakeDriver>) -> PoolObserver<FakeDriver> {
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    pool.observe(ObserveConfig::default()).unwrap().with_health(Arc::new(checker))
}

/// An hour in which a server is gone for a while, of a pool with the usual settings that is in use. What of the hour could not be reached.
async fn an_hour_with(outage: Duration, gone: Step) -> f64 {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, Config::default());
    let observer = observed(&pool);
    let began = Instant::now();
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(use_it(pool.clone()))).collect();
    sleep(1000 * SECOND).await;
    driver.always(Call::Connect, gone);
    driver.always(Call::Ping, gone);
    driver.always(Call::Inspect, Step::Fail);
    sleep(outage).await;
    for call in [Call::Connect, Call::Ping, Call::Inspect] {
        driver.always(call, Step::Ok);
    }
    sleep_until(began + HOUR).await;
    let (reached, missed) = reach(&observer);
    assert!((reached + missed - HOUR.as_secs_f64()).abs() < 10.0, "all of the hour: {reached} {missed}");
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    missed / (reached + missed)
}

async fn use_it(pool: Pool<FakeDriver>) {
    loop {
        let lease = pool.acquire().await;
        sleep(SECOND / 10).await;
        drop(lease);
        sleep(SECOND / 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_counts_for_as_long_as_it_lasts_however_often_the_pool_tries() {
    // What hangs takes the time that an attempt may take, even if the server is back before: short outages are shorter than that.
    for (gone, outages) in [(Step::Fail, &[2, 10, 60, 300][..]), (Step::Hang, &[60, 300])] {
        for &seconds in outages {
            let share = an_hour_with(seconds * SECOND, gone).await;
            let truth = f64::from(seconds) / HOUR.as_secs_f64();
            assert!(share > truth / 1.5 && share < truth * 1.5, "{gone:?} for {seconds} s: {share}, in truth {truth}");
        }
    }
}

/// Of these nobody has asked the server anything, or it has answered.
#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_server_does_not_count() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(3));
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(reach(&observer), (0.0, 0.0), "nothing is known yet");
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    sleep(100 * SECOND).await;
    driver.script(Call::Connect, [Step::Hang]);
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let waits = tokio::time::timeout(SECOND, pool.acquire()).await;
    assert!(waits.is_err(), "it is being opened");
    drop(leases);
    pool.close().await;
    sleep(100 * SECOND).await;
    let (reached, missed) = reach(&observer);
    assert!((99.0..102.0).contains(&reached) && missed == 0.0, "{reached} {missed}");
}
