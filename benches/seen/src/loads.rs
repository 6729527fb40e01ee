//! What is measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pool_core::{Attempt, Config, Driver, ErrorClass, Pool, SessionState};
use tokio::runtime::{Builder, Runtime};

/// A driver whose connections are numbers.
struct Numbers(AtomicU64);

impl Driver for Numbers {
    type Connection = u64;
    type Error = io::Error;

    async fn connect(&self, _: &Attempt) -> Result<u64, io::Error> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn inspect(&self, _: &mut u64) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, _: &io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// So many callers.
const CALLERS: usize = 64;
/// On so many connections.
const CONNECTIONS: usize = 16;
/// From one page of metrics to the next.
const SCRAPES: Duration = Duration::from_millis(10);

/// For how long a caller has its connection.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    /// As a query on a server does.
    AMillisecond,
    /// Until others have had their turn: then the processors are what is scarce.
    ATurn,
}

impl Hold {
    async fn hold(self) {
        match self {
            Self::AMillisecond => tokio::time::sleep(Duration::from_millis(1)).await,
            Self::ATurn => tokio::task::yield_now().await,
        }
    }
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_time().build().expect("a runtime")
}

/// A pool; the one that is seen has somebody who looks at it.
fn pool(size: usize) -> (Pool<Numbers>, impl Page + Send + 'static + use<>) {
    let mut config = Config::default();
    (config.max_size, config.min_size) = (size, size);
    let pool =
        Pool::builder(Numbers(AtomicU64::new(0))).config(config).build().expect("its settings are in their range");
    let observer = observer(&pool);
    (pool, observer)
}

#[cfg(feature = "seeing")]
fn observer(pool: &Pool<Numbers>) -> pool_core::PoolObserver<Numbers> {
    pool.observe(pool_core::ObserveConfig::default()).expect("its settings are in their range")
}

#[cfg(not(feature = "seeing"))]
fn observer(_: &Pool<Numbers>) {}

/// Nanoseconds of an acquire and a release that need not wait, on one thread.
pub(crate) fn claims(time: Duration) -> f64 {
    const TURN: u32 = 10_000;
    let runtime = runtime(1);
    let _context = runtime.enter();
    let (pool, _observer) = pool(CONNECTIONS);
    runtime.block_on(async {
        pool.ready(Duration::from_secs(5)).await.expect("it opens numbers");
        let (started, mut rounds) = (Instant::now(), 0);
        while started.elapsed() < time {
            for _ in 0..TURN {
                drop(pool.acquire().await.expect("one is idle"));
            }
            rounds += TURN;
        }
        started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
    })
}

/// Nanoseconds of the same for one of many who have to wait for each other.
#[allow(clippy::cast_precision_loss)] // of less than 2^52
pub(crate) fn waits(time: Duration) -> f64 {
    let (latencies, took) = callers(time, Hold::ATurn, false);
    took.as_secs_f64() * 1e9 / latencies.len() as f64
}

/// Of how long acquires take when all connections are in use, the 99th percentile, in microseconds; while somebody reads the metrics a hundred times a second, or nobody does.
#[allow(clippy::cast_precision_loss)] // as above
pub(crate) fn full(time: Duration, hold: Hold, scraped: bool) -> f64 {
    callers(time, hold, scraped).0.value_at_quantile(0.99) as f64 / 1e3
}

/// How long acquires took, in nanoseconds, and all together.
fn callers(time: Duration, hold: Hold, scraped: bool) -> (Histogram<u64>, Duration) {
    let runtime = runtime(2);
    let _context = runtime.enter();
    let (pool, observer) = pool(CONNECTIONS);
    let reader = scraped.then(|| Scraper::of(observer));
    let outcome = runtime.block_on(async {
        pool.ready(Duration::from_secs(5)).await.expect("it opens numbers");
        let started = Instant::now();
        let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(caller(pool.clone(), started + time, hold))).collect();
        let mut all = blank();
        for caller in callers {
            all.add(caller.await.expect("no caller panics")).expect("of the same bounds");
        }
        (all, started.elapsed())
    });
    drop(reader);
    outcome
}

fn blank() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

async fn caller(pool: Pool<Numbers>, until: Instant, hold: Hold) -> Histogram<u64> {
    let mut latencies = blank();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return latencies;
        }
        let lease = pool.acquire().await.expect("the others do not take long");
        latencies.saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        hold.hold().await;
        drop(lease);
    }
}

/// Reads the metrics on a thread of its own, until it is dropped.
struct Scraper(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Scraper {
    fn of(observer: impl Page + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                assert!(observer.page() > 0);
                thread::sleep(SCRAPES);
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            thread.join().expect("it does not panic");
        }
    }
}

/// Whoever has a page of metrics; how long it is.
trait Page {
    fn page(&self) -> usize;
}

#[cfg(feature = "seeing")]
impl Page for pool_core::PoolObserver<Numbers> {
    fn page(&self) -> usize {
        pool_core::prometheus::text(&self.families()).len()
    }
}

#[cfg(not(feature = "seeing"))]
impl Page for () {
    fn page(&self) -> usize {
        unreachable!("a pool that is not seen has no page")
    }
}
