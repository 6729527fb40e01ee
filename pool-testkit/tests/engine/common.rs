//! What the tests share.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pool_core::{Config, Pool, PoolState};
use pool_testkit::fake::FakeDriver;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Settings in which nothing happens by itself: no minimum, no ages, no pings.
pub(crate) fn quiet(max_size: usize) -> Config {
    let mut config = Config::default();
    config.max_size = max_size;
    config.min_size = 0;
    config.max_openers = max_size;
    config.idle_timeout = None;
    config.max_lifetime = None;
    config.health_check_interval = None;
    config
}

pub(crate) fn pool_with(driver: &FakeDriver, config: Config) -> Pool<FakeDriver> {
    driver.limit(config.max_size);
    Pool::builder(driver.clone()).config(config).build().unwrap()
}

pub(crate) fn quiet_pool(driver: &FakeDriver, max_size: usize) -> Pool<FakeDriver> {
    pool_with(driver, quiet(max_size))
}

/// Polls once, with a waker that does nothing, and says whether it is still pending.
pub(crate) fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
}

/// Polls once and expects an output.
pub(crate) fn ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("still pending"),
    }
}

/// Lets background tasks run until the pool looks as wanted. Gives up after an hour of virtual time.
pub(crate) async fn until(pool: &Pool<FakeDriver>, wanted: impl Fn(PoolState) -> bool) {
    let look = async {
        while !wanted(pool.stats().state) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_hours(1), look).await.is_ok();
    assert!(in_time, "the pool never looked as wanted: {:?}", pool.stats());
}

/// Proves that nothing was lost: every connection the pool may have can be had at once, then all of it closes and the books agree.
pub(crate) async fn prove_nothing_lost(pool: &Pool<FakeDriver>, driver: &FakeDriver) {
    driver.recover();
    let max_size = pool.config().max_size;
    let mut leases = Vec::new();
    for held in 0..max_size {
        let lease = pool.acquire_timeout(Duration::from_mins(1)).await;
        leases.push(lease.unwrap_or_else(|error| panic!("only {held} of {max_size} connections: {error}")));
    }
    assert_eq!(pool.stats().state.leased, max_size);
    assert_eq!(pool.stats().state.waiting, 0, "nobody waits, and the gate says so");
    drop(leases);
    tokio::time::timeout(Duration::from_mins(1), pool.close()).await.expect("close ends");
    driver.ledger().settle(&pool.stats());
    assert_eq!(driver.ledger().live(), 0);
}
