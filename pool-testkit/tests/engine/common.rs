//! What the tests share.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pool_core::{Config, Pool, PoolState};
use pool_testkit::fake::FakeDriver;
pub(crate) use pool_testkit::fake::{prove_nothing_lost, prove_whole, quiet};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

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
        while !wanted(pool.state()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_hours(1), look).await.is_ok();
    assert!(in_time, "the pool never looked as wanted: {:?}", pool.stats());
}
