//! F085, F107, F126: acquires without any time, pools that wait for each other, and connections that cannot be dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, Pool, SessionState};
use pool_testkit::fake::FakeDriver;
use tokio::time::Instant;

use crate::common::{SECOND, prove_nothing_lost, quiet, quiet_pool, until};

/// Whoever has no time is served by what is idle, and by nothing else: they do not stay in the queue.
#[tokio::test(start_paused = true)]
async fn f126_an_acquire_without_any_time_does_not_wait() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let started = Instant::now();
    let error = pool.acquire_timeout(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!((pool.state().waiting, started.elapsed()), (0, Duration::ZERO));
    until(&pool, |state| state.opening == 0).await;
    drop(pool.acquire().await.unwrap());
    let lease = pool.acquire_timeout(Duration::ZERO).await.expect("it is idle");
    let error = pool.acquire_timeout(Duration::ZERO).await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(pool.state().waiting, 0);
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

/// Two tasks take from two pools in crossed order. Nobody can know; their deadlines end it, and both pools are whole.
#[tokio::test(start_paused = true)]
async fn f085_pools_that_wait_for_each_other_do_so_for_a_limited_time() {
    let drivers = [FakeDriver::new(), FakeDriver::new()];
    let pools = [quiet_pool(&drivers[0], 1), quiet_pool(&drivers[1], 1)];
    let started = Instant::now();
    let both = tokio::sync::Barrier::new(2);
    let crossed = async |first: usize| {
        let _held = pools[first].acquire().await.unwrap();
        both.wait().await;
        let outcome = pools[1 - first].acquire_timeout(3 * SECOND).await.map(drop);
        both.wait().await;
        outcome
    };
    let (one, two) = tokio::join!(crossed(0), crossed(1));
    assert_eq!(started.elapsed(), 3 * SECOND);
    for outcome in [one, two] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
        assert!(error.to_string().contains("1 leased"), "{error}");
    }
    for (pool, driver) in pools.iter().zip(&drivers) {
        prove_nothing_lost(pool, driver).await;
    }
}

/// Its connections panic when they are dropped, and break.
#[derive(Clone, Default)]
struct Fragile {
    opened: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

struct Bomb(Arc<AtomicU64>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        assert!(std::thread::panicking(), "told to panic in Drop");
    }
}

impl Driver for Fragile {
    type Connection = Bomb;
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<Bomb, std::io::Error> {
        self.opened.fetch_add(1, SeqCst);
        Ok(Bomb(Arc::clone(&self.dropped)))
    }

    fn inspect(&self, _: &mut Bomb) -> SessionState {
        if self.broken.swap(false, SeqCst) { SessionState::Broken } else { SessionState::Clean }
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// Given back broken, discarded, retired, at a close: each costs the connection that it is, and no place.
#[tokio::test(start_paused = true)]
async fn f107_a_connection_that_cannot_be_dropped_costs_no_place() {
    let driver = Fragile::default();
    let pool = Pool::builder(driver.clone()).config(quiet(1)).build().unwrap();
    for _ in 0..3 {
        let lease = pool.acquire().await.expect("there is a place");
        driver.broken.store(true, SeqCst);
        drop(lease);
    }
    pool.acquire().await.expect("there is a place").discard();
    drop(pool.acquire().await.expect("there is a place"));
    pool.retire_all();
    drop(pool.acquire().await.expect("there is a place"));
    pool.close().await;
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.state.size), (6, 6, 0), "{stats:?}");
    assert_eq!((driver.opened.load(SeqCst), driver.dropped.load(SeqCst)), (6, 6));
}

/// Whoever drops the last handle of a pool is not hurt by what its connections do.
#[test]
fn f107_a_pool_is_dropped_though_its_connections_cannot_be() {
    let driver = Fragile::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let pool = Pool::builder(driver.clone()).config(quiet(2)).build().unwrap();
    runtime.block_on(async { drop(pool.acquire().await.unwrap()) });
    let lease = pool.try_acquire().unwrap();
    drop(lease);
    drop(runtime);
    drop(pool);
    assert_eq!(driver.dropped.load(SeqCst), 1);
}
