//! What a monitor of the health must not do to a pool, or to itself.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use pool_core::{
    Attempt, Driver, ErrorClass, HealthChecker, HealthConfig, HealthReason, HealthState, Pool, SessionState,
};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

async fn healthy(pool: &Pool<FakeDriver>, config: HealthConfig) -> HealthChecker<FakeDriver> {
    let checker = pool.monitor(config).unwrap();
    assert!(checker.check_health().await.is_ready());
    checker
}

/// Proves that nothing was lost, once the monitors have given back what they had.
async fn prove(pool: &Pool<FakeDriver>, driver: &FakeDriver) {
    until(pool, |state| state.leased + state.reserved == 0).await;
    prove_nothing_lost(pool, driver).await;
}

#[tokio::test(start_paused = true)]
async fn two_monitors_do_not_hold_up_a_drain() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let first = healthy(&pool, HealthConfig::default()).await;
    let second = healthy(&pool, HealthConfig::default()).await;
    assert_eq!((pool.state().leased, pool.state().reserved), (0, 2));
    pool.pause();
    assert!(timeout(2 * SECOND, pool.drained()).await.expect("both give back what they have"));
    pool.resume();
    assert!(first.check_health().await.is_ready() && second.check_health().await.is_ready());
    // Neither takes the other's connection for a lease that was forgotten.
    sleep(Duration::from_mins(30)).await;
    assert_eq!(
        (first.report().state, second.report().state),
        (HealthState::Healthy, HealthState::Healthy),
        "{first:?}"
    );
    drop((first, second));
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_takes_the_place_of_another_keeps_its_connection_apart() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let mut checker = healthy(&pool, HealthConfig::default()).await;
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    for _ in 0..3 {
        // The old one is dropped when the new one is there, and ends some time later.
        checker = pool.monitor(checker.config().as_ref().clone()).unwrap();
        assert!(checker.check_health().await.is_ready());
    }
    sleep(Duration::from_mins(30)).await;
    assert_eq!(checker.report().state, HealthState::Healthy, "{checker:?}");
    pool.pause();
    assert!(timeout(2 * SECOND, pool.drained()).await.expect("it gives back what it has"));
    drop(checker);
    pool.resume();
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_only_connection_is_not_kept_for_checks() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = healthy(&pool, HealthConfig::default()).await;
    assert_eq!(pool.state().size, 1);
    let mut config = (*pool.config()).clone();
    config.max_size = 1;
    pool.reconfigure(config).unwrap();
    let came = Instant::now();
    drop(pool.acquire().await.expect("there is one, for a caller"));
    assert!(came.elapsed() <= SECOND, "{:?}", came.elapsed());
    drop(checker);
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_connection_is_for_those_who_wait_if_no_other_can_be_opened() {
    for breaker_failures in [None, Some(3)] {
        let driver = FakeDriver::new();
        let mut config = quiet(3);
        config.breaker_failures = breaker_failures;
        let pool = pool_with(&driver, config);
        let checker = healthy(&pool, HealthConfig::default()).await;
        driver.always(Call::Connect, Step::Fail);
        let came = Instant::now();
        let lease = pool.acquire().await.expect("the backend refuses others, and this one works");
        assert!(came.elapsed() <= SECOND, "{:?}", came.elapsed());
        let others = [pool.acquire_timeout(2 * SECOND), pool.acquire_timeout(2 * SECOND)];
        let served = async { drop(lease) };
        let [first, second] = others;
        let (first, second, ()) =
            tokio::join!(async { first.await.map(drop) }, async { second.await.map(drop) }, served);
        assert!(first.is_ok() && second.is_ok(), "they share it");
        driver.recover();
        drop(checker);
        prove(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_kept_any_longer_than_the_settings_say() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = healthy(&pool, HealthConfig::default()).await;
    let mut config = HealthConfig::default();
    config.reserve = false;
    checker.reconfigure(config).unwrap();
    sleep(SECOND).await;
    assert_eq!(pool.state().leased, 0);
    drop(checker);
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_an_instant_degrades_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 9);
    let mut config = HealthConfig::default();
    config.utilisation = 100;
    let checker = healthy(&pool, config).await;
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(pool.acquire_owned().await.unwrap());
    }
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned_timeout(Duration::from_mins(1)).await.map(drop) }
    });
    until(&pool, |state| state.waiting == 1).await;
    let report = checker.check_health().await;
    assert_eq!(report.state, HealthState::Healthy, "{report}");
    sleep(3 * SECOND).await;
    let report = checker.check_health().await;
    assert_eq!(report.reasons, [HealthReason::Waiting(1)], "{report}");
    drop(leases);
    waiter.await.unwrap().unwrap();
    drop(checker);
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_got_a_connection_late_has_time_for_an_answer() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    driver.always(Call::Ping, Step::Delay(Duration::from_millis(20)));
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    // A full pool lets go of one just before the check gives up.
    sleep(Duration::from_millis(4_990)).await;
    assert_eq!((pool.state().waiting, checker.stats().busy), (0, 0), "it waits, and is no caller");
    drop(held);
    sleep(SECOND / 2).await;
    let stats = checker.stats();
    assert_eq!((stats.succeeded, stats.failed), (1, 0), "busy, and not sick: {checker:?}");
    assert_eq!(driver.ledger().closed(), 0, "nothing is wrong with the connection");
    drop(checker);
    prove(&pool, &driver).await;
}

/// A waker that panics when it is woken.
struct Grumpy;

impl Wake for Grumpy {
    fn wake(self: Arc<Self>) {
        panic!("told to panic in wake");
    }
}

#[tokio::test(start_paused = true)]
async fn a_monitor_goes_on_though_a_waker_of_one_who_watches_panics() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = healthy(&pool, HealthConfig::default()).await;
    let grumpy: Waker = Arc::new(Grumpy).into();
    let mut watching = checker.subscribe();
    watching.mark_unchanged();
    let mut change = Box::pin(watching.changed());
    assert!(change.as_mut().poll(&mut Context::from_waker(&grumpy)).is_pending());
    driver.always(Call::Ping, Step::Fail);
    driver.always(Call::Connect, Step::Fail);
    sleep(Duration::from_mins(2)).await;
    assert_eq!(checker.report().state, HealthState::Unhealthy);
    drop(change);
    driver.recover();
    drop(checker);
    prove(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_a_pool_that_has_a_monitor() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let checker = healthy(&pool, HealthConfig::default()).await;
    drop(pool);
    sleep(SECOND).await;
    assert_eq!((driver.ledger().live(), checker.report().state, checker.is_ready()), (0, HealthState::Closing, false));
}

#[test]
fn a_pool_that_is_closed_is_not_ready_though_nobody_looks() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (driver, first) = (FakeDriver::new(), runtime());
    let (pool, checker) = first.block_on(async {
        let pool = quiet_pool(&driver, 2);
        let checker = healthy(&pool, HealthConfig::default()).await;
        (pool, checker)
    });
    drop(first);
    runtime().block_on(pool.close());
    assert!(!checker.is_ready(), "{checker:?}");
}

#[test]
fn a_full_pool_is_ready_though_its_monitor_has_moved() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (driver, first) = (FakeDriver::new(), runtime());
    let (pool, checker) = first.block_on(async {
        let pool = quiet_pool(&driver, 2);
        let checker = healthy(&pool, HealthConfig::default()).await;
        (pool, checker)
    });
    drop(first);
    runtime().block_on(async {
        let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        let report = checker.check_health().await;
        assert!((report.state, report.checks, checker.stats().busy) == (HealthState::Degraded, 1, 1), "{report}");
        drop(held);
        drop(checker);
        prove(&pool, &driver).await;
    });
}

/// An error with a cause, and a text that panics or has lines.
#[derive(Debug)]
struct Told {
    text: Option<&'static str>,
    cause: Option<Box<Told>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.expect("told to panic in Display"))
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Its pings fail, and so do its connects if it is told.
struct Failing {
    connects: bool,
    text: Option<&'static str>,
}

impl Failing {
    fn error(&self) -> Told {
        let cause = Told { text: Some("57P01: the\nserver\r\nis going"), cause: None };
        Told { text: self.text, cause: Some(Box::new(cause)) }
    }
}

impl Driver for Failing {
    type Connection = ();
    type Error = Told;

    async fn connect(&self, _: &Attempt) -> Result<(), Told> {
        if self.connects { Ok(()) } else { Err(self.error()) }
    }

    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }

    async fn ping(&self, (): &mut ()) -> Result<(), Told> {
        Err(self.error())
    }

    fn classify(&self, _: &Told) -> ErrorClass {
        ErrorClass::Permanent
    }
}

fn failing(connects: bool, text: Option<&'static str>) -> Pool<Failing> {
    Pool::builder(Failing { connects, text }).config(quiet(3)).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_tells_the_whole_cause() {
    let pool = failing(true, Some("db error"));
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    let text = checker.check_health().await.to_string();
    assert!(text.ends_with("the ping failed: db error: 57P01: the server is going"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_shown_is_a_failure_like_any_other() {
    for connects in [true, false] {
        let pool = failing(connects, None);
        let checker = pool.monitor(HealthConfig::default()).unwrap();
        sleep(Duration::from_mins(1)).await;
        let report = checker.report();
        assert_eq!(report.state, HealthState::Unhealthy, "{report}");
        assert!(report.to_string().contains("told to panic in Display"), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_one_line_whatever_the_error_says() {
    let pool = failing(false, Some("could not\nconnect"));
    let text = pool.acquire().await.map(drop).unwrap_err().to_string();
    assert!(text.ends_with("connect failed: could not connect: 57P01: the server is going"), "{text:?}");
}

/// One whose runtime is there, and that nobody drives.
#[test]
fn whoever_asks_a_monitor_that_stands_still_is_told_so() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (driver, first, second) = (FakeDriver::new(), runtime(), runtime());
    let (pool, checker) = first.block_on(async {
        let pool = quiet_pool(&driver, 2);
        let checker = healthy(&pool, HealthConfig::default()).await;
        (pool, checker)
    });
    second.block_on(async {
        let started = Instant::now();
        let report = checker.check_health().await;
        assert_eq!(
            (report.to_string().as_str(), started.elapsed()),
            ("unhealthy: the monitor has not answered for 20s", 20 * SECOND)
        );
    });
    first.block_on(async {
        assert!(checker.check_health().await.is_ready());
        drop(checker);
        prove(&pool, &driver).await;
    });
}

/// A server that takes no more connections, and a pool whose callers are served all the same with those that there are.
#[tokio::test(start_paused = true)]
async fn a_pool_that_serves_its_callers_is_busy_though_nothing_can_be_opened() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, std::iter::once(Step::Ok).chain(std::iter::repeat_n(Step::Fail, 100_000)));
    let pool = quiet_pool(&driver, 4);
    let users: Vec<_> = (0..9)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..60 {
                    let lease = pool.acquire_owned_timeout(Duration::from_mins(10)).await.unwrap();
                    sleep(SECOND).await;
                    drop(lease);
                }
            })
        })
        .collect();
    until(&pool, |state| state.leased == 1).await;
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    sleep(Duration::from_mins(3)).await;
    assert_eq!((checker.report().state, checker.stats().failed), (HealthState::Degraded, 0), "{checker:?}");
    for user in users {
        user.await.unwrap();
    }
    drop(checker);
    prove(&pool, &driver).await;
}

/// Callers take every connection as soon as the server is back, and so many wait that a check never gets one in time.
#[tokio::test(start_paused = true)]
async fn a_pool_that_serves_its_callers_after_an_outage_is_not_unhealthy_for_ever() {
    for reserve in [true, false] {
        after_an_outage(reserve).await;
    }
}

async fn after_an_outage(reserve: bool) {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut config = HealthConfig::default();
    config.reserve = reserve;
    let checker = healthy(&pool, config).await;
    driver.always(Call::Ping, Step::Fail);
    driver.always(Call::Connect, Step::Fail);
    sleep(Duration::from_mins(2)).await;
    assert_eq!(checker.report().state, HealthState::Unhealthy);
    driver.recover();
    let user = |_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                let lease = pool.acquire_owned_timeout(Duration::from_mins(10)).await;
                sleep(2 * SECOND).await;
                drop(lease);
            }
        })
    };
    let users: Vec<_> = (0..40).map(user).collect();
    sleep(Duration::from_mins(2)).await;
    let report = checker.report();
    assert_eq!(report.state, HealthState::Degraded, "{report}");
    users.iter().for_each(tokio::task::JoinHandle::abort);
    drop(checker);
    prove(&pool, &driver).await;
}
