//! A pool that follows its demand, and what it does when the backend is slow.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{AdaptConfig, AdaptReason, Adapter, Pool, Recorder, Request, ScheduleConfig};
use pool_testkit::fake::{Call, FakeDriver, Step};
use pool_testkit::random::Random;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::common::{SECOND, prove_nothing_lost, quiet, until};

const MS: Duration = Duration::from_millis(1);
/// What an answer takes when all is well.
const SERVICE: Duration = Duration::from_millis(50);
/// The fewest and the most connections.
const SIZES: (usize, usize) = (4, 64);

/// A backend that takes longer when it does more at once than it can.
struct Backend {
    /// In milliseconds.
    service: AtomicU64,
    /// So much it can do at once.
    knee: AtomicUsize,
    busy: AtomicUsize,
    served: AtomicU64,
    waits: Mutex<Vec<Duration>>,
    recorder: Mutex<Option<Recorder>>,
}

impl Backend {
    fn new(knee: usize) -> Arc<Self> {
        Arc::new(Self {
            service: AtomicU64::new(50),
            knee: AtomicUsize::new(knee),
            busy: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            waits: Mutex::default(),
            recorder: Mutex::default(),
        })
    }

    fn becomes(&self, service: Duration, knee: usize) {
        self.service.store(service.as_millis().try_into().unwrap(), Ordering::SeqCst);
        self.knee.store(knee, Ordering::SeqCst);
    }

    /// Notes from now on how long answers take.
    fn records(&self, recorder: Option<Recorder>) {
        *self.recorder.lock().unwrap() = recorder;
    }

    /// Beyond the knee the time grows with the square of what is done at once: so what is done in a second falls.
    #[allow(clippy::cast_precision_loss)]
    async fn answer(&self) {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        let over = (busy as f64 / self.knee.load(Ordering::SeqCst) as f64).max(1.0);
        let time = Duration::from_millis(self.service.load(Ordering::SeqCst)).mul_f64(over * over);
        sleep(time).await;
        if let Some(recorder) = &*self.recorder.lock().unwrap() {
            recorder.record_execution(time);
        }
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
    }

    /// How many have been served since the last time, and how long 99 % of those waited at most.
    fn since(&self) -> (u64, Duration) {
        let mut waits = std::mem::take(&mut *self.waits.lock().unwrap());
        waits.sort_unstable();
        let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
        (self.served.swap(0, Ordering::SeqCst), p99)
    }
}

/// Callers that come at random, so many in a second, until the time is over; each waits for two seconds at most.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
async fn callers(pool: &Pool<FakeDriver>, backend: &Arc<Backend>, rate: u32, time: Duration) {
    let mut random = Random::new(rate.into());
    let (mut at, end) = (Instant::now(), Instant::now() + time);
    loop {
        let chance = (random.below(1 << 32) as f64 + 1.0) / (1_u64 << 32) as f64;
        at += Duration::from_secs_f64(-chance.ln() / f64::from(rate));
        if at > end {
            return sleep_until(end).await;
        }
        sleep_until(at).await;
        let (pool, backend) = (pool.clone(), Arc::clone(backend));
        tokio::spawn(async move {
            let came = Instant::now();
            let lease = pool.acquire_owned_timeout(2 * SECOND).await;
            backend.waits.lock().unwrap().push(came.elapsed());
            if lease.is_ok() {
                backend.answer().await;
            }
        });
    }
}

/// Grows whenever somebody waits.
async fn naive(pool: Pool<FakeDriver>, sizes: Shown<usize>) {
    loop {
        sleep(SECOND).await;
        if pool.state().waiting > 0 {
            let size = pool.config().max_size;
            resize(&pool, (size * 3 / 2).min(SIZES.1));
            sizes.lock().unwrap().push(pool.config().max_size);
        }
    }
}

fn resize(pool: &Pool<FakeDriver>, size: usize) {
    let mut config = (*pool.config()).clone();
    config.max_size = size;
    pool.reconfigure(config).unwrap();
}

fn settings(change: impl FnOnce(&mut AdaptConfig)) -> AdaptConfig {
    let mut config = AdaptConfig::default();
    (config.min_size, config.max_size) = SIZES;
    change(&mut config);
    config
}

fn pool_of(driver: &FakeDriver, size: usize) -> Pool<FakeDriver> {
    let mut config = quiet(size);
    config.idle_timeout = Some(30 * SECOND);
    driver.limit(SIZES.1);
    Pool::builder(driver.clone()).config(config).build().unwrap()
}

type Shown<T> = Arc<Mutex<Vec<T>>>;

/// The sizes that are shown from now on, one after the other, and the reasons.
fn follow(adapter: &Adapter<FakeDriver>) -> (Shown<usize>, Shown<AdaptReason>) {
    let shown = (Shown::default(), Shown::default());
    shown.0.lock().unwrap().push(adapter.report().size);
    let (sizes, reasons) = shown.clone();
    let mut reports = adapter.subscribe();
    tokio::spawn(async move {
        while reports.changed().await.is_ok() {
            let report = *reports.borrow_and_update();
            let mut sizes = sizes.lock().unwrap();
            if sizes.last() != Some(&report.size) {
                sizes.push(report.size);
            }
            reasons.lock().unwrap().push(report.reason);
        }
    });
    shown
}

/// A pool whose size changes, one way or the other.
struct Growing {
    adapter: Option<Adapter<FakeDriver>>,
    shown: (Shown<usize>, Shown<AdaptReason>),
}

impl Growing {
    fn begin(pool: &Pool<FakeDriver>, growth: Growth) -> Self {
        if growth == Growth::Adaptive {
            let adapter = pool.adapt(settings(|_| {})).unwrap();
            let shown = follow(&adapter);
            return Self { adapter: Some(adapter), shown };
        }
        let shown = (Shown::default(), Shown::default());
        tokio::spawn(naive(pool.clone(), Arc::clone(&shown.0)));
        Self { adapter: None, shown }
    }

    fn end(self, served: u64) -> Outcome {
        drop(self.adapter);
        let (sizes, reasons) = self.shown;
        Outcome { sizes: sizes.lock().unwrap().clone(), reasons: reasons.lock().unwrap().clone(), served }
    }
}

/// How often the sizes turn from growth to shrinking, or back.
fn turns(sizes: &[usize]) -> usize {
    let grows: Vec<_> = sizes.windows(2).map(|pair| pair[1] > pair[0]).collect();
    grows.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[tokio::test(start_paused = true)]
async fn the_size_follows_a_demand_that_rises_and_falls() {
    let (driver, backend) = (FakeDriver::new(), Backend::new(1_000));
    let pool = pool_of(&driver, SIZES.0);
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    let (sizes, _following) = follow(&adapter);
    callers(&pool, &backend, 20, 30 * SECOND).await;
    assert_eq!(adapter.report().size, SIZES.0, "{}", adapter.report());
    callers(&pool, &backend, 200, 30 * SECOND).await;
    let (risen, changes) = (adapter.report(), adapter.report().changes);
    assert!((13..=20).contains(&risen.size), "ten are in use on average: {risen}");
    backend.since();
    callers(&pool, &backend, 200, 30 * SECOND).await;
    let (_, p99) = backend.since();
    assert!(p99 < SERVICE, "{p99:?}");
    assert_eq!(adapter.report().changes, changes, "it does not flap");
    callers(&pool, &backend, 20, 150 * SECOND).await;
    let (_, p99) = backend.since();
    let (fallen, sizes) = (adapter.report(), sizes.lock().unwrap().clone());
    assert!(fallen.size <= 8 && p99 < SERVICE, "{fallen}, {p99:?}");
    assert_eq!(turns(&sizes), 1, "up, and down: {sizes:?}");
    assert!(fallen.changes <= 10, "{sizes:?}");
    drop(adapter);
    prove_nothing_lost(&pool, &driver).await;
}

/// How a pool grows.
#[derive(Clone, Copy, PartialEq)]
enum Growth {
    Adaptive,
    Naive,
}

/// What came of it: the sizes it had, and how many callers were served while the backend did not keep up.
struct Outcome {
    sizes: Vec<usize>,
    reasons: Vec<AdaptReason>,
    served: u64,
}

/// A pool of ten that is half used; then every answer takes three times as long, and more than eight at a time hinder each other; then all is well.
async fn slowed(growth: Growth, records: bool) -> Outcome {
    let (driver, backend) = (FakeDriver::new(), Backend::new(1_000));
    let pool = pool_of(&driver, 10);
    if records {
        backend.records(driver.recorder());
    }
    let growing = Growing::begin(&pool, growth);
    callers(&pool, &backend, 100, 20 * SECOND).await;
    backend.becomes(3 * SERVICE, 8);
    callers(&pool, &backend, 100, 10 * SECOND).await;
    backend.since();
    callers(&pool, &backend, 100, 50 * SECOND).await;
    let (served, _) = backend.since();
    backend.becomes(SERVICE, 1_000);
    callers(&pool, &backend, 100, 20 * SECOND).await;
    growing.end(served)
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_gets_slow_is_no_reason_to_grow() {
    let naive = slowed(Growth::Naive, false).await;
    assert_eq!(naive.sizes.last(), Some(&SIZES.1), "whoever grows whenever somebody waits");
    for records in [true, false] {
        let adaptive = slowed(Growth::Adaptive, records).await;
        assert_eq!(adaptive.sizes, [10], "it neither grows nor flaps: {:?}", adaptive.reasons);
        assert!(adaptive.reasons.contains(&AdaptReason::Slow), "{:?}", adaptive.reasons);
        assert!(adaptive.served > 3 * naive.served, "{} served, and {}", adaptive.served, naive.served);
    }
}

/// More callers than the backend can serve, which does eight things at a time as fast as one.
async fn overwhelmed(growth: Growth) -> Outcome {
    let (driver, backend) = (FakeDriver::new(), Backend::new(8));
    let pool = pool_of(&driver, 4);
    let growing = Growing::begin(&pool, growth);
    callers(&pool, &backend, 30, 20 * SECOND).await;
    callers(&pool, &backend, 240, 30 * SECOND).await;
    backend.since();
    callers(&pool, &backend, 240, 60 * SECOND).await;
    let (served, _) = backend.since();
    growing.end(served)
}

#[tokio::test(start_paused = true)]
async fn growth_beyond_what_the_backend_can_do_ends() {
    let (adaptive, naive) = (overwhelmed(Growth::Adaptive).await, overwhelmed(Growth::Naive).await);
    assert_eq!(naive.sizes.last(), Some(&SIZES.1));
    let last = *adaptive.sizes.last().unwrap();
    assert!((6..=9).contains(&last), "{:?} {:?}", adaptive.sizes, adaptive.reasons);
    assert!(adaptive.sizes.len() <= 8, "{:?}", adaptive.sizes);
    // Eight at a time are 160 in a second.
    assert!(adaptive.served > 60 * 120, "{}", adaptive.served);
    assert!(adaptive.served > 3 * naive.served, "{} served, and {}", adaptive.served, naive.served);
}

/// One that has never seen the backend at its best tries what growth is good for, and takes it back.
#[tokio::test(start_paused = true)]
async fn growth_in_vain_is_taken_back() {
    let (driver, backend) = (FakeDriver::new(), Backend::new(8));
    let pool = pool_of(&driver, 8);
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    let (sizes, _following) = follow(&adapter);
    // All that it has ever seen is a backend at its limit.
    callers(&pool, &backend, 240, 30 * SECOND).await;
    let sizes = sizes.lock().unwrap().clone();
    assert_eq!((sizes.len(), sizes[0], sizes[2]), (3, 8, 8), "once up, and down again: {sizes:?}");
    assert_eq!((adapter.report().reason, adapter.report().changes), (AdaptReason::NotAgain, 2));
}

/// Callers for ten seconds: 30 in a second find a connection out of four, and 200 do not.
async fn crowd(pool: &Pool<FakeDriver>, backend: &Arc<Backend>, rate: u32) {
    callers(pool, backend, rate, 10 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_sets_bounds_it_from_then_on() {
    let (driver, backend) = (FakeDriver::new(), Backend::new(1_000));
    let pool = pool_of(&driver, 4);
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    crowd(&pool, &backend, 30).await;
    resize(&pool, 6);
    crowd(&pool, &backend, 200).await;
    let report = adapter.report();
    assert_eq!((report.size, report.reason, pool.config().max_size), (6, AdaptReason::AtMaximum, 6), "{report}");
    // Below the minimum of the adapter.
    resize(&pool, 2);
    crowd(&pool, &backend, 200).await;
    assert_eq!(pool.config().max_size, 2);
    // Another setting is no limit.
    let mut config = (*pool.config()).clone();
    config.connect_timeout = SECOND;
    pool.reconfigure(config).unwrap();
    adapter.reconfigure(settings(|config| config.max_size = 12)).unwrap();
    crowd(&pool, &backend, 200).await;
    crowd(&pool, &backend, 300).await;
    assert_eq!((pool.config().max_size, pool.config().connect_timeout), (12, SECOND), "{}", adapter.report());
    // More than it may have.
    resize(&pool, 20);
    sleep(2 * SECOND).await;
    assert_eq!(pool.config().max_size, 12, "{}", adapter.report());
    drop(adapter);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_begins_within_its_limits_and_those_of_the_pool() {
    let driver = FakeDriver::new();
    for (size, min_size, expected) in [(2, 0, 4), (8, 0, 8), (64, 9, 64)] {
        let mut config = quiet(size);
        config.min_size = min_size.min(size);
        let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
        let adapter = pool.adapt(settings(|config| config.shrink_after = 2)).unwrap();
        tokio::task::yield_now().await;
        let report = adapter.report();
        assert_eq!((report.size, report.changes), (expected, u64::from(size != expected)));
        sleep(SECOND).await;
        assert_eq!(adapter.report().size, expected);
        sleep(60 * SECOND).await;
        assert_eq!((adapter.report().size, pool.config().max_size), (pool.config().max_size, adapter.report().size));
        assert!(pool.config().max_size >= min_size.max(4));
    }
}

#[tokio::test(start_paused = true)]
async fn in_trouble_nothing_is_changed() {
    let (driver, backend) = (FakeDriver::new(), Backend::new(1_000));
    let pool = pool_of(&driver, 4);
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    crowd(&pool, &backend, 30).await;
    pool.pause();
    crowd(&pool, &backend, 200).await;
    assert_eq!((adapter.report().size, adapter.report().reason), (4, AdaptReason::Trouble));
    pool.resume();
    // All connections go, and no others can be opened.
    driver.always(Call::Connect, Step::Fail);
    pool.retire_all();
    crowd(&pool, &backend, 200).await;
    let report = adapter.report();
    assert_eq!((report.size, report.reason, report.changes), (4, AdaptReason::Trouble, 0), "{report}");
    driver.recover();
    crowd(&pool, &backend, 200).await;
    crowd(&pool, &backend, 200).await;
    assert!(adapter.report().size > 4, "{}", adapter.report());
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_pool_and_with_its_handle() {
    let (driver, backend) = (FakeDriver::new(), Backend::new(1_000));
    let pool = pool_of(&driver, 4);
    drop(pool.adapt(settings(|_| {})).unwrap());
    crowd(&pool, &backend, 30).await;
    crowd(&pool, &backend, 200).await;
    assert_eq!(pool.config().max_size, 4, "nobody adapts it");
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    let mut reports = adapter.subscribe();
    until(&pool, |state| state.leased + state.waiting == 0).await;
    let closed = timeout(60 * SECOND, reports.wait_for(|report| report.reason == AdaptReason::Closed));
    let (closed, ()) = tokio::join!(closed, pool.close());
    assert!(closed.expect("it says so").is_ok());
    assert_eq!(adapter.report().reason, AdaptReason::Closed, "and is not begun anew");
    // The last handle of a pool closes it, whoever adapts it.
    let pool = pool_of(&driver, 4);
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    drop(pool.acquire().await.unwrap());
    drop(pool);
    sleep(SECOND).await;
    assert_eq!((driver.ledger().live(), adapter.report().reason), (0, AdaptReason::Closed));
}

#[test]
fn it_goes_on_in_another_runtime_with_what_it_knew() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (driver, backend, first) = (FakeDriver::new(), Backend::new(1_000), runtime());
    let pool = pool_of(&driver, 4);
    let adapter = first.block_on(async {
        let adapter = pool.adapt(settings(|_| {})).unwrap();
        crowd(&pool, &backend, 30).await;
        resize(&pool, 7);
        adapter
    });
    drop(first);
    let before = adapter.report();
    assert_eq!(before.at, adapter.report().at, "there is no runtime to go on in");
    runtime().block_on(async {
        adapter.report();
        crowd(&pool, &backend, 200).await;
        let report = adapter.report();
        assert!(report.at > before.at && report.size == 7, "the operator's limit is known: {report}");
        assert_eq!(report.reason, AdaptReason::AtMaximum, "and how fast the backend is");
    });
}

/// Those who wait in front of the pool, for a scheduler, are callers like any others; those who wait for a quota need no connection.
#[tokio::test(start_paused = true)]
async fn callers_of_a_scheduler_count() {
    for (quota, expected) in [(None, 6..=20), (Some(2), 4..=4)] {
        let driver = FakeDriver::new();
        let pool = pool_of(&driver, 4);
        let adapter = pool.adapt(settings(|_| {})).unwrap();
        let mut config = ScheduleConfig::default();
        config.quota.max = quota;
        let scheduler = pool.schedule(config).unwrap();
        let users = (0..8_u32).map(|user| {
            let scheduler = scheduler.clone();
            tokio::spawn(async move {
                // Two at first, and then all.
                sleep(if user < 2 { Duration::ZERO } else { 10 * SECOND }).await;
                for _ in 0..300 {
                    let lease = scheduler.acquire(Request::new().key("a")).await.unwrap();
                    sleep(SERVICE).await;
                    drop(lease);
                    sleep(MS).await;
                }
            })
        });
        let users: Vec<_> = users.collect();
        sleep(25 * SECOND).await;
        assert!(expected.contains(&pool.config().max_size), "{quota:?}: {}", adapter.report());
        for user in users {
            user.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_wrong_are_refused_and_change_nothing() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 4);
    let wrong = settings(|config| (config.min_size, config.grow_after) = (0, 0));
    let error = pool.adapt(wrong.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "min_size = 0 is not allowed; allowed: 1 to max_size; grow_after = 0 is not allowed; allowed: 1 and more"
    );
    let adapter = pool.adapt(settings(|_| {})).unwrap();
    assert_eq!(adapter.reconfigure(wrong).unwrap_err(), error);
    assert_eq!(*adapter.config(), settings(|_| {}));
}
