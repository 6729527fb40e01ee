//! What every test of the engine begins and ends with.

use std::time::Duration;

use pool_core::{AcquireError, Config, Driver, Lease, Pool};
use tokio::time::Instant;

use super::FakeDriver;

/// Settings in which nothing happens by itself: no minimum, no ages, no pings, no breaker.
pub fn quiet(max_size: usize) -> Config {
    let mut config = Config::default();
    config.max_size = max_size;
    config.min_size = 0;
    config.max_openers = max_size;
    config.idle_timeout = None;
    config.max_lifetime = None;
    config.health_check_interval = None;
    config.breaker_failures = None;
    config
}

/// Proves that nothing was lost: every connection the pool may have can be had at once, then all of it closes and the books agree.
///
/// # Panics
///
/// If something was lost, or the pool and the backend disagree.
pub async fn prove_nothing_lost(pool: &Pool<FakeDriver>, driver: &FakeDriver) {
    driver.recover();
    prove_whole(pool).await;
    driver.ledger().settle(&pool.stats());
    assert_eq!(driver.ledger().live(), 0);
}

/// The part of it that can be asked of a pool with any driver, which works by now: all connections can be had at once, then all of it closes, and the pool's own books agree.
///
/// # Panics
///
/// If something was lost.
pub async fn prove_whole<D: Driver>(pool: &Pool<D>) {
    // An open breaker closes by itself.
    let mut breaker = pool.breaker();
    let closed = breaker.wait_for(|state| !state.is_open());
    let in_time = tokio::time::timeout(Duration::from_mins(1), closed).await.is_ok();
    assert!(in_time, "the breaker stays open: {:?}", pool.state());
    let max_size = pool.config().max_size;
    let leases = all_that_can_be_had(pool, max_size).await;
    assert_eq!(pool.state().leased, max_size);
    assert_eq!(pool.state().waiting, 0, "nobody waits, and the gate says so");
    drop(leases);
    let closed = tokio::time::timeout(Duration::from_mins(1), pool.close()).await;
    let stats = pool.stats();
    assert!(closed.is_ok(), "close does not end: {stats:?}");
    assert_eq!((stats.opened, stats.state.size), (stats.closed, 0), "what was opened was closed: {stats:?}");
}

async fn all_that_can_be_had<D: Driver>(pool: &Pool<D>, max_size: usize) -> Vec<Lease<'_, D>> {
    let (mut leases, started) = (Vec::new(), Instant::now());
    while leases.len() < max_size {
        match pool.acquire_timeout(Duration::from_mins(1)).await {
            Ok(lease) => leases.push(lease),
            // What was wrong for good is believed until the next attempt.
            Err(AcquireError::OpenFailed { .. }) if started.elapsed() < Duration::from_mins(1) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => panic!("only {} of {max_size} connections: {error}", leases.len()),
        }
    }
    leases
}
