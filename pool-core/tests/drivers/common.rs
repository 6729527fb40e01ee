//! What the tests of both have in common.

use std::future::Future;
use std::time::Duration;

use pool_core::{AcquireError, Config, Driver, Lease, Pool, PoolState};
use tokio::task::{AbortHandle, yield_now};

/// As long as nobody has to be.
const LONG: Duration = Duration::from_mins(1);

/// A pool of so many, that opens none before somebody wants one.
pub(crate) fn pool<D: Driver>(driver: D, size: usize) -> Pool<D> {
    let mut config = Config::default();
    (config.max_size, config.min_size, config.health_check_interval) = (size, 0, None);
    (config.acquire_timeout, config.reset_timeout, config.close_timeout) = (LONG, LONG, LONG);
    Pool::builder(driver).config(config).build().unwrap()
}

/// What has to come, and fails the test if it does not.
pub(crate) async fn in_time<T>(comes: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, comes).await.expect("comes in a minute")
}

/// Waits until it is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    in_time(async {
        while !is_so() {
            yield_now().await;
        }
    })
    .await;
}

/// Waits until everything has been given back and is in order.
pub(crate) async fn at_rest<D: Driver>(pool: &Pool<D>) {
    let busy = |state: PoolState| state.leased + state.in_maintenance + state.opening;
    until(|| busy(pool.state()) == 0).await;
}

/// Waits until the task of a connection has ended, which is when its driver knows.
pub(crate) async fn ended(task: &AbortHandle) {
    until(|| task.is_finished()).await;
}

/// A caller who does not wait for long, while there is no server. The message says why.
pub(crate) async fn in_vain<D: Driver>(pool: &Pool<D>) -> AcquireError {
    in_time(async {
        loop {
            let error = pool.acquire_timeout(Duration::from_millis(100)).await.map(drop).unwrap_err();
            // On a machine that is busy its time may be over before anything has failed.
            if error.failure().is_some() {
                assert!(error.to_string().contains("Connection refused"), "{error}");
                return error;
            }
        }
    })
    .await
}

/// All connections of the pool at once.
pub(crate) async fn all<D: Driver>(pool: &Pool<D>, size: usize) -> Vec<Lease<'_, D>> {
    let mut leases = Vec::new();
    for _ in 0..size {
        leases.push(pool.acquire().await.unwrap());
    }
    leases
}
