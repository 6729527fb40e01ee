//! Acquires that are slow, and how often a warning tells of them.

use std::time::Duration;

use pool_core::{Config, Preference, Tag};
use pool_testkit::fake::FakeDriver;
use tokio::time::sleep;

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet};
use crate::log::Log;
use crate::settings::{Setting, Trial};

/// Whether one that waits for so long counts as slow.
async fn is_slow(pool: &pool_core::Pool<FakeDriver>, waits: Duration) -> bool {
    let before = pool.stats().slow_acquires;
    let held = pool.acquire().await.unwrap();
    let (next, ()) = tokio::join!(pool.acquire(), async {
        sleep(waits).await;
        drop(held);
    });
    drop(next.unwrap());
    pool.stats().slow_acquires > before
}

pub(crate) async fn a_wait_is_slow_sooner_or_later_or_never(setting: Setting) -> Trial {
    let trial = setting.begin(1, |_| {});
    assert_eq!(trial.pool.config().slow_acquire, Some(2 * SECOND));
    for limit in [Some(2 * SECOND), Some(5 * SECOND), None, Some(SECOND / 10)] {
        if limit != Some(2 * SECOND) {
            trial.change(|config| config.slow_acquire = limit);
        }
        for waits in [SECOND / 100, SECOND / 5, 3 * SECOND, 8 * SECOND] {
            let wanted = limit.is_some_and(|limit| waits >= limit);
            assert_eq!(is_slow(&trial.pool, waits).await, wanted, "{waits:?} of {limit:?}");
        }
    }
    trial
}

fn config() -> Config {
    let mut config = quiet(1);
    config.acquire_timeout = 30 * SECOND;
    config
}

#[tokio::test(start_paused = true)]
async fn it_counts_whatever_has_come_of_it() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, config());
    let held = pool.acquire().await.unwrap();
    assert!(pool.acquire_timeout(3 * SECOND).await.is_err());
    assert_eq!(pool.stats().slow_acquires, 1, "a timeout");
    assert!(pool.acquire_timeout(SECOND).await.is_err());
    assert_eq!(pool.stats().slow_acquires, 1, "one that was not slow");
    assert!(tokio::time::timeout(4 * SECOND, pool.acquire()).await.is_err());
    assert_eq!(pool.stats().slow_acquires, 2, "one that was given up");
    let preference = Preference::sticky(Tag::new("user", "7").unwrap());
    assert!(tokio::time::timeout(4 * SECOND, pool.acquire_preferring(&preference)).await.is_err());
    assert_eq!(pool.stats().slow_acquires, 3, "one that prefers something, once");
    let (preferred, ()) = tokio::join!(pool.acquire_preferring(&preference), async {
        sleep(4 * SECOND).await;
        drop(held);
    });
    drop(preferred.unwrap());
    assert_eq!(pool.stats().slow_acquires, 4, "and one that has got it");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_each_ten_seconds_tells_how_many_were_left_out() {
    let (driver, log) = (FakeDriver::new(), Log::default());
    let _logging = tracing::subscriber::set_default(log.listener());
    let pool = pool_with(&driver, config());
    let _held = pool.acquire().await.unwrap();
    let line = line!() + 1;
    let wait = || async { assert!(pool.acquire_timeout(2 * SECOND).await.is_err()) };
    for _ in 0..5 {
        wait().await;
    }
    let told = || log.text().matches("an acquire was slow").count();
    assert_eq!((told(), pool.stats().slow_acquires), (1, 5));
    let text = log.text();
    assert!(text.contains("waited_ms=2000") && text.contains(&format!("slow.rs:{line}")), "{text}");
    assert!(text.contains("outcome=\"timeout\"") && !text.contains("suppressed"), "{text}");
    sleep(3 * SECOND).await;
    wait().await;
    assert_eq!(told(), 2);
    assert!(log.text().contains("suppressed=4"), "{}", log.text());
}
