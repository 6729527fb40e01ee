//! What the cases share: a runtime whose every step is a moment to drop something, a pool on it, and what has to be so afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use pool_core::{Config, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, prove_nothing_lost, quiet};
use tokio::runtime::{Builder, Runtime};

pub(crate) type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The time after which things happen that happen later.
pub(crate) const SOON: Duration = Duration::from_millis(10);

/// How long a future of the pool may wait: longer than any one call of the driver, whose budgets are of 5 s.
pub(crate) const PATIENT: Duration = Duration::from_secs(7);

/// More turns than it takes to come to rest.
const QUITE_A_FEW: usize = 50;

/// Longer than anything takes that ends.
pub(crate) const AGES: Duration = Duration::from_mins(2);

/// A runtime on a clock that stands still until everybody waits. Whoever is in `block_on` has a turn after each poll of a task, if it wants one.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).event_interval(1).build().unwrap()
}

/// A pool and its driver.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) pool: Pool<FakeDriver>,
    pub(crate) driver: FakeDriver,
}

impl World {
    /// With settings in which nothing happens by itself, changed by `change`.
    pub(crate) fn new(max_size: usize, change: fn(&mut Config)) -> Self {
        let (driver, mut config) = (FakeDriver::new(), quiet(max_size));
        config.acquire_timeout = PATIENT;
        change(&mut config);
        driver.limit(config.max_size);
        driver.share_by(2);
        let pool = Pool::builder(driver.clone()).config(config).seed(7).build().unwrap();
        Self { pool, driver }
    }

    /// From now on calls of this kind do this, and all calls that can wait do it at their second poll.
    pub(crate) fn disturb(&self, call: Call, step: Step) {
        self.driver.dawdle(1);
        self.driver.always(call, step);
    }

    /// Ends what was wrong, and lets what has gone wrong already be heard of. No time passes.
    pub(crate) async fn calm(&self, call: Call) {
        self.driver.recover();
        self.driver.dawdle(0);
        self.driver.let_go(call, 100);
        self.pool.resume();
        turns(QUITE_A_FEW).await;
    }

    /// Proves that nothing is lost, if the pool is open that all of it can be had, and that it can be closed.
    pub(crate) async fn prove(&self) {
        if !self.pool.is_closed() {
            return prove_nothing_lost(&self.pool, &self.driver).await;
        }
        let closed = tokio::time::timeout(AGES, self.pool.close()).await;
        assert!(closed.is_ok(), "close does not end: {:?}", self.pool.stats());
        assert_eq!(self.pool.state().waiting, 0, "nobody waits, and the gate says so");
        self.driver.ledger().settle(&self.pool.stats());
        assert_eq!(self.driver.ledger().live(), 0);
    }
}

/// Lets so many tasks be polled.
pub(crate) async fn turns(number: usize) {
    for _ in 0..number {
        tokio::task::yield_now().await;
    }
}

/// Says which case it was if a test fails in it.
pub(crate) struct Label(String);

impl Label {
    pub(crate) fn new(text: String) -> Self {
        quieten();
        Self(text)
    }
}

impl Drop for Label {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the case was: {}", self.0);
        }
    }
}

/// Panics that the driver was told to have are not reported, thousands as there are.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let message = panic.payload_as_str().unwrap_or_default();
            if !message.contains("the fake backend was told to panic") {
                report(panic);
            }
        }));
    });
}
