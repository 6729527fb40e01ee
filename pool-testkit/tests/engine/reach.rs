//! For how long the server could be reached.
#![allow(clippy::float_cmp)] // nothing is zero

use std::sync::Arc;
use std::time::Duration;

use pool_core::{
    Attempt, Config, ConnectionFacts, Driver, ErrorClass, HealthConfig, HookError, HookPoint, Hooks, MetricValue,
    ObserveConfig, Pool, PoolObserver, SessionState,
};
use pool_testkit::fake::{Call, FakeConnection, FakeDriver, Step, quiet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{SECOND, is_pending, pool_with};

const HOUR: Duration = Duration::from_hours(1);

/// Seconds in which it could be reached, and in which it could not.
fn reach<D: Driver>(observer: &PoolObserver<D>) -> (f64, f64) {
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
    sleep(50 * SECOND).await;
    driver.script(Call::Connect, [Step::Hang]);
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let waits = tokio::time::timeout(SECOND, pool.acquire()).await;
    assert!(waits.is_err(), "it is being opened");
    drop(leases);
    pool.close().await;
    sleep(100 * SECOND).await;
    let (reached, missed) = reach(&observer);
    assert!((49.0..52.0).contains(&reached) && missed == 0.0, "{reached} {missed}");
}

fn seconds_are((reached, missed): (f64, f64), wanted: (f64, f64)) {
    let near = |is: f64, wanted: f64| (is - wanted).abs() <= 4.0;
    assert!(near(reached, wanted.0) && near(missed, wanted.1), "{reached} {missed}, not {wanted:?}");
}

/// Nobody asks the server while the pool is paused, whatever it was like before.
#[tokio::test(start_paused = true)]
async fn while_the_pool_is_paused_nothing_is_known() {
    for gone_before in [false, true] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, Config::default());
        let observer = observed(&pool);
        sleep(100 * SECOND).await;
        if gone_before {
            fall_silent(&driver, Step::Fail);
            sleep(60 * SECOND).await;
        }
        let at_pause = reach(&observer);
        pool.pause();
        fall_silent(&driver, Step::Fail);
        sleep(600 * SECOND).await;
        seconds_are(reach(&observer), at_pause);
        driver.recover();
        pool.resume();
        sleep(100 * SECOND).await;
        let after = reach(&observer);
        assert!((after.1 - at_pause.1).abs() < 4.0, "the outage was over: {after:?}, {at_pause:?} before");
        assert!(
            (65.0..104.0).contains(&(after.0 - at_pause.0)),
            "from the first check on: {after:?}, {at_pause:?} before"
        );
    }
}

/// An attempt that began before a pause ends in it, or after it.
#[tokio::test(start_paused = true)]
async fn an_attempt_over_a_pause_says_nothing_about_the_pause() {
    for pause in [2, 10] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, quiet(2));
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        drop(pool.acquire().await.unwrap());
        sleep(20 * SECOND).await;
        let lease = pool.acquire().await.unwrap();
        driver.script(Call::Connect, [Step::Hang]);
        let waits = tokio::time::timeout(SECOND, pool.acquire()).await;
        assert!(waits.is_err(), "it is being opened");
        pool.pause();
        sleep(pause * SECOND).await;
        pool.resume();
        seconds_are(reach(&observer), (20.0, 0.0));
        sleep(100 * SECOND).await;
        let (reached, missed) = reach(&observer);
        let wanted = if pause == 2 { 62.0 } else { 0.0 };
        assert!(missed <= wanted && (missed > 0.0) == (pause == 2), "{reached} {missed}");
        drop(lease);
    }
}

/// Stands in the way of each open.
struct InTheWay {
    at: HookPoint,
    /// Refuses otherwise.
    hangs: bool,
}

impl InTheWay {
    async fn stand(&self) -> Result<(), HookError> {
        if self.hangs { std::future::pending().await } else { Err("not now".into()) }
    }
}

impl Hooks<FakeConnection> for InTheWay {
    fn points(&self) -> &[HookPoint] {
        std::slice::from_ref(&self.at)
    }

    async fn before_open(&self) -> Result<(), HookError> {
        self.stand().await
    }

    async fn after_open(&self, _: &mut FakeConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        self.stand().await
    }
}

/// Before the open nobody has asked the server, and after it it has answered.
#[tokio::test(start_paused = true)]
async fn a_hook_is_not_the_server() {
    for (at, hangs) in
        [HookPoint::BeforeOpen, HookPoint::AfterOpen].into_iter().flat_map(|at| [(at, true), (at, false)])
    {
        let driver = FakeDriver::new();
        driver.limit(2);
        driver.always(Call::Connect, Step::Delay(SECOND / 100));
        let pool = Pool::builder(driver).config(Config::default()).hooks(InTheWay { at, hangs }).build().unwrap();
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        assert!(pool.acquire_timeout(60 * SECOND).await.is_err());
        let (reached, missed) = reach(&observer);
        assert!(missed == 0.0 && (reached > 0.0) == (at == HookPoint::AfterOpen), "{at}, {hangs}: {reached} {missed}");
        let stats = pool.stats();
        assert!(stats.open_failures > 0, "{stats:?}");
        assert_eq!(stats.errors.open_hooks, stats.open_failures, "{at}, {hangs}: {:?}", stats.errors);
    }
}

/// A driver whose credentials are kept elsewhere, where nobody answers, or somebody refuses.
struct Locked {
    hangs: bool,
}

impl Driver for Locked {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, attempt: &Attempt) -> Result<(), std::io::Error> {
        attempt.preparing("credentials");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(std::io::Error::other("sealed"))
    }
    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_credentials_is_not_the_server() {
    for hangs in [false, true] {
        let pool = Pool::builder(Locked { hangs }).config(quiet(1)).build().unwrap();
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        let error = pool.acquire_timeout(60 * SECOND).await.unwrap_err();
        assert!(!hangs || error.to_string().contains("preparing: credentials"), "{error}");
        assert_eq!(reach(&observer), (0.0, 0.0));
        assert!(pool.stats().open_failures > 0);
        pool.close().await;
    }
}

fn fall_silent(driver: &FakeDriver, how: Step) {
    driver.always(Call::Connect, how);
    driver.always(Call::Ping, how);
    driver.always(Call::Inspect, Step::Fail);
}

/// What nobody asks nobody knows: an answer is no better than a failure.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_follows_up_counts_for_a_minute() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(2));
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    drop(pool.acquire().await.unwrap());
    sleep(HOUR).await;
    seconds_are(reach(&observer), (60.0, 0.0));
    driver.script(Call::Ping, [Step::Fail]);
    sleep(HOUR).await;
    seconds_are(reach(&observer), (60.0, 0.0));

    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(1));
    let mut config = HealthConfig::default();
    config.reserve = false;
    let checker = pool.monitor(config).unwrap();
    let observer = pool.observe(ObserveConfig::default()).unwrap().with_health(Arc::new(checker));
    sleep(10 * SECOND).await;
    let lease = pool.acquire().await.unwrap();
    sleep(HOUR).await;
    let (reached, missed) = reach(&observer);
    assert!(reached <= 75.0 && missed == 0.0, "none of its checks has had a connection: {reached} {missed}");
    drop(lease);
}

/// The monitor asks often enough, whatever that is.
#[tokio::test(start_paused = true)]
async fn what_a_monitor_hears_holds_until_it_asks_again() {
    for interval in [1, 30, 600] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, quiet(2));
        let mut config = HealthConfig::default();
        config.interval = interval * SECOND;
        let checker = pool.monitor(config).unwrap();
        let observer = pool.observe(ObserveConfig::default()).unwrap().with_health(Arc::new(checker));
        sleep(HOUR).await;
        seconds_are(reach(&observer), (3600.0, 0.0));
    }
}

/// Connections that are in use all the time are neither opened nor checked.
#[tokio::test(start_paused = true)]
async fn queries_that_are_answered_say_that_the_server_is_there() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(1));
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let lease = pool.acquire().await.unwrap();
    let recorder = driver.recorder().unwrap();
    for _ in 0..60 {
        sleep(10 * SECOND).await;
        recorder.record_execution(SECOND);
        reach(&observer);
    }
    seconds_are(reach(&observer), (600.0, 0.0));
    for _ in 0..60 {
        sleep(10 * SECOND).await;
        recorder.record_failed_executions(SECOND, 1, "timeout");
        reach(&observer);
    }
    let (reached, missed) = reach(&observer);
    assert!((640.0..662.0).contains(&reached) && missed == 0.0, "{reached} {missed}");
    drop(lease);
}

/// The server refuses one connection, and whoever wanted it gets that of another caller: nobody asks the server again. Or he goes on waiting, and it is asked again and again.
#[tokio::test(start_paused = true)]
async fn a_failure_that_nobody_follows_up_is_outdone_by_queries_that_are_answered() {
    for goes_on in [false, true] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, quiet(2));
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        let mut lease = pool.acquire_owned().await.unwrap();
        driver.always(Call::Connect, Step::Fail);
        let mut waiter = Box::pin(pool.acquire_owned_timeout(HOUR));
        while pool.stats().open_failures == 0 {
            assert!(is_pending(&mut waiter));
            sleep(SECOND / 1000).await;
        }
        if !goes_on {
            drop(lease);
            lease = waiter.as_mut().await.unwrap();
        }
        let recorder = driver.recorder().unwrap();
        for _ in 0..60 {
            sleep(10 * SECOND).await;
            recorder.record_execution(SECOND);
            reach(&observer);
        }
        assert_eq!(pool.stats().open_failures > 1, goes_on);
        let (reached, missed) = reach(&observer);
        let is_as_wanted = if goes_on { missed > 590.0 && reached < 1.0 } else { missed < 1.0 && reached > 580.0 };
        assert!(is_as_wanted, "{goes_on}: {reached} {missed}");
        drop(lease);
    }
}

/// An outage that nobody watches but those who want a connection: of the time of which something is known it is nearly all.
#[tokio::test(start_paused = true)]
async fn without_a_monitor_an_outage_is_seen_by_those_who_want_a_connection() {
    for gone in [Step::Fail, Step::Hang] {
        let driver = FakeDriver::new();
        let pool = pool_with(&driver, quiet(4));
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        let callers: Vec<_> = (0..4).map(|_| tokio::spawn(use_it(pool.clone()))).collect();
        sleep(600 * SECOND).await;
        let (reached, missed) = reach(&observer);
        assert!(missed == 0.0, "{reached} {missed}");
        fall_silent(&driver, gone);
        sleep(300 * SECOND).await;
        let (still, missed) = reach(&observer);
        assert!(still - reached < 7.0 && missed > 280.0, "{gone:?}: {still} {missed}, {reached} before");
        callers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
