//! What a monitor of the health acquires for its checks: it stands in the queue as everybody does, and is no caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pool_core::{
    Config, HealthChecker, HealthConfig, HealthState, MetricFamily, MetricValue, ObserveConfig, Pool, PoolObserver,
};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::sleep;

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet_pool, ready, until};
use crate::log::Log;

/// A pool with a monitor, and what is seen of both.
struct Seen {
    pool: Pool<FakeDriver>,
    checker: Arc<HealthChecker<FakeDriver>>,
    observer: PoolObserver<FakeDriver>,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
}

impl Seen {
    fn of(pool: &Pool<FakeDriver>, config: HealthConfig) -> Self {
        let log = Log::default();
        let logging = tracing::subscriber::set_default(log.listener());
        let checker = Arc::new(pool.monitor(config).unwrap());
        let observer = pool.observe(ObserveConfig::default()).unwrap().with_health(Arc::clone(&checker));
        Self { pool: pool.clone(), checker, observer, log, _logging: logging }
    }

    /// Nobody asks for so many seconds, and so many callers have asked before, each of whom got a connection at once or by waiting for it to be opened.
    async fn nobody_asks(&self, seconds: u32, callers: u64) {
        let (before, checks) = (self.observer.families(), self.checks());
        for _ in 0..seconds {
            sleep(SECOND).await;
            let now = self.observer.families();
            let waiting = WAITING.map(|name| total(&now, name));
            assert_eq!(waiting, [0; 3], "nobody waits");
            assert_eq!((self.pool.state().waiting, self.observer.snapshot().oldest_waiter), (0, None));
        }
        assert!(self.checks() > checks, "it has checked");
        let now = self.observer.families();
        let ended = |families: &[MetricFamily]| ENDED.map(|name| total(families, name));
        assert_eq!(ended(&now), ended(&before), "nobody has asked: {ENDED:?}");
        assert!(!pages(&before, &now));
        self.counts_are_right(callers);
        self.nothing_is_told();
    }

    fn checks(&self) -> u64 {
        let stats = self.checker.stats();
        stats.succeeded + stats.failed + stats.busy
    }

    fn nothing_is_told(&self) {
        let (journal, log) = (self.observer.snapshot().journal, self.log.text());
        assert!(!journal.iter().any(|entry| entry.message.contains("acquire")), "{journal:?}");
        assert!(!log.contains("an acquire was slow"), "{log}");
    }

    fn counts_are_right(&self, callers: u64) {
        let stats = self.pool.stats();
        let ended = stats.timeouts + stats.cancelled + stats.failed + stats.refused;
        assert_eq!((stats.acquired, ended, stats.slow_acquires), (callers, 0, 0), "{stats:?}");
        assert_eq!(stats.acquired, stats.immediate + stats.waited);
        assert_eq!(stats.wait.count, stats.waited);
    }
}

/// What says that somebody waits.
const WAITING: [&str; 3] = ["pool.waiters", "pool.waiters.oldest.age", "db.client.connection.pending_requests"];
/// What says that somebody has asked.
const ENDED: [&str; 5] = [
    "pool.acquires",
    "db.client.connection.timeouts",
    "db.client.connection.wait_time",
    "db.client.connection.use_time",
    "pool.slow_acquires",
];

/// Of all samples of this family.
fn total(families: &[MetricFamily], name: &str) -> u64 {
    let family = families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"));
    let values = family.samples.iter().map(|sample| match sample.value {
        MetricValue::Count(count) => count,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // none is below zero
        MetricValue::Number(number) => number.ceil() as u64,
        MetricValue::Histogram(ref times) => times.count,
        ref other => panic!("{name}: {other:?}"),
    });
    values.sum()
}

/// Whether the alert `PoolTimeouts` would fire.
fn pages(before: &[MetricFamily], now: &[MetricFamily]) -> bool {
    let increase = |name| total(now, name) - total(before, name);
    let (timeouts, acquires) = (increase("db.client.connection.timeouts"), increase("pool.acquires"));
    timeouts > 5 && timeouts * 100 > acquires
}

#[tokio::test(start_paused = true)]
async fn a_monitor_of_a_full_pool_times_out_for_nobody() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, Config::default());
    let mut leases = Vec::new();
    for _ in 0..20 {
        leases.push(pool.acquire_owned().await.unwrap());
    }
    let seen = Seen::of(&pool, HealthConfig::default());
    seen.nobody_asks(300, 20).await;
    assert!(seen.checker.stats().busy > 0, "it has waited, and got none");
    drop(leases);
    sleep(5 * SECOND).await;
    seen.nobody_asks(300, 20).await;
    assert_eq!(seen.checker.report().state, HealthState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_of_a_single_connection_that_is_in_use_times_out_for_nobody() {
    let driver = FakeDriver::new();
    let mut config = Config::default();
    (config.max_size, config.min_size) = (1, 1);
    let pool = pool_with(&driver, config);
    let seen = Seen::of(&pool, HealthConfig::default());
    sleep(10 * SECOND).await;
    let lease = pool.acquire().await.unwrap();
    seen.nobody_asks(600, 1).await;
    drop(lease);
    seen.nobody_asks(60, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_pool_that_nobody_uses_fails_nobody() {
    for reserve in [false, true] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, Config::default());
        let mut config = HealthConfig::default();
        config.reserve = reserve;
        let seen = Seen::of(&pool, config);
        seen.nobody_asks(100, 0).await;
        driver.always(Call::Connect, Step::Fail);
        driver.always(Call::Ping, Step::Fail);
        seen.nobody_asks(600, 0).await;
        assert_eq!(seen.checker.report().state, HealthState::Unhealthy);
        for call in [Call::Connect, Call::Ping] {
            driver.always(call, Step::Ok);
        }
        seen.nobody_asks(100, 0).await;
        assert_eq!(seen.checker.report().state, HealthState::Healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_times_out_for_nobody() {
    let driver = FakeDriver::new();
    let mut config = Config::default();
    config.breaker_failures = None;
    let pool = pool_with(&driver, config);
    let seen = Seen::of(&pool, HealthConfig::default());
    sleep(100 * SECOND).await;
    driver.always(Call::Connect, Step::Hang);
    driver.always(Call::Ping, Step::Hang);
    seen.nobody_asks(360, 0).await;
    assert_eq!(seen.checker.report().state, HealthState::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn callers_are_counted_beside_a_monitor_that_waits() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    let seen = Seen::of(&pool, HealthConfig::default());
    sleep(2 * SECOND).await;
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    sleep(SECOND).await;
    let (state, oldest) = (pool.state(), seen.observer.snapshot().oldest_waiter);
    assert_eq!((state.waiting, oldest), (1, Some(SECOND)), "the monitor came before, and is not counted");
    let mut second = Box::pin(pool.acquire());
    assert!(is_pending(&mut second));
    assert_eq!(pool.state().waiting, 2);
    drop(waiter);
    assert_eq!((pool.state().waiting, pool.stats().cancelled), (1, 1));
    drop((second, lease));
    until(&pool, |state| state.leased == 0 && state.idle == 1).await;
    assert_eq!((pool.state().waiting, pool.stats().acquired, pool.stats().cancelled), (0, 1, 2));
}

/// It needs a connection that is opened for it, or one that comes back, and has it when its turn has come.
#[tokio::test(start_paused = true)]
async fn a_monitor_is_served_in_turn() {
    let driver = FakeDriver::new();
    driver.always(Call::Ping, Step::Delay(SECOND));
    let pool = quiet_pool(&driver, 1);
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    assert!(checker.check_health().await.is_ready(), "one is opened for it");
    assert_eq!((pool.stats().opened, pool.stats().acquired), (1, 0));
    let lease = pool.acquire().await.unwrap();
    let mut before = Box::pin(pool.acquire());
    assert!(is_pending(&mut before));
    let mut check = Box::pin(checker.check_health());
    assert!(is_pending(&mut check));
    // It has joined the queue when the clock moves.
    sleep(Duration::from_millis(1)).await;
    let mut after = Box::pin(pool.acquire());
    assert!(is_pending(&mut after));
    drop(lease);
    let first = ready(&mut before).unwrap();
    assert!(is_pending(&mut after));
    drop(first);
    assert!(is_pending(&mut after), "the monitor came before");
    let answered = checker.stats().succeeded;
    assert!(check.await.is_ready());
    assert_eq!(checker.stats().succeeded, answered + 1);
    drop(after.await.unwrap());
    assert_eq!((pool.stats().acquired, pool.stats().waited), (3, 2));
    drop((before, checker));
    until(&pool, |state| state.leased == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// With a breaker, callers are told at once; and so is a monitor, which is none.
#[tokio::test(start_paused = true)]
async fn what_a_check_is_told_of_an_open_breaker_is_told_to_no_caller() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.breaker_failures = Some(2);
    let pool = pool_with(&driver, config);
    driver.always(Call::Connect, Step::Fail);
    let seen = Seen::of(&pool, HealthConfig::default());
    until(&pool, |state| state.breaker.is_open()).await;
    seen.nobody_asks(60, 0).await;
    assert!(pool.acquire().await.is_err());
    assert_eq!(pool.stats().failed + pool.stats().timeouts, 1);
}

/// A lease of a monitor's is counted in its slot and as none of a caller's: two steps, between which nobody is to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_while_a_check_begins_sees_no_caller() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut config = HealthConfig::default();
    config.reserve = false;
    let checker = pool.monitor(config).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (pool, ended) = (pool.clone(), Arc::clone(&ended));
        move || {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(pool.stats().acquired);
            }
            most
        }
    });
    for _ in 0..2_000 {
        assert!(checker.check_health().await.is_ready());
    }
    ended.store(true, Ordering::Relaxed);
    assert_eq!(reader.join().unwrap(), 0);
    assert_eq!((checker.stats().failed, pool.stats().acquired), (0, 0));
}
