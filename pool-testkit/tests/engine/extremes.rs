//! F085, F107, F126, F136f: acquires without any time, pools that wait for each other, connections that cannot be dropped, and a machine that sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, Pool, SessionState};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::Instant;

use crate::common::{SECOND, pool_with, prove_nothing_lost, prove_whole, quiet, quiet_pool, until};

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
    prove_whole(&pool).await;
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.state.size), (6, 6, 0), "{stats:?}");
    assert_eq!((driver.opened.load(SeqCst), driver.dropped.load(SeqCst)), (6, 6));
}

/// Whoever drops the last handle of a pool is not hurt by what its connections do.
#[test]
fn a_pool_is_dropped_though_its_connections_cannot_be() {
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

/// Whoever has slept finds everything due when it wakes up: ages, pings, deadlines. It is done once, and not all at a time.
#[tokio::test(start_paused = true)]
async fn f136f_after_a_sleep_of_the_machine_everything_is_done_once() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND / 10));
    let mut config = quiet(10);
    (config.min_size, config.max_openers) = (5, 2);
    (config.idle_timeout, config.max_lifetime) = (Some(300 * SECOND), Some(1_800 * SECOND));
    config.health_check_interval = Some(30 * SECOND);
    let pool = pool_with(&driver, config);
    pool.warm_up(10, Duration::ZERO, 10 * SECOND).await.unwrap();
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    tokio::time::advance(3_600 * SECOND).await;
    let mut most = 0;
    for _ in 0..5_000 {
        most = most.max(pool.state().opening);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((1..=2).contains(&most), "{most} at a time");
    drop(held);
    tokio::time::sleep(5 * SECOND).await;
    let stats = pool.stats();
    assert!(driver.begun(Call::Ping) <= 8, "each that was idle once at most: {}", driver.begun(Call::Ping));
    assert_eq!((stats.opened, stats.closed, stats.broken, stats.state.idle), (15, 10, 0, 5), "{stats:?}");
    // From then on it is an ordinary day.
    tokio::time::sleep(1_200 * SECOND).await;
    assert_eq!((pool.stats().opened, pool.stats().closed), (15, 10));
    prove_nothing_lost(&pool, &driver).await;
}
