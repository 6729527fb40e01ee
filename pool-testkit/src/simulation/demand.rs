//! A pool whose size follows the demand, and not the time that the backend takes: callers who come by chance, more of them for a while, or ones that are served more slowly for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pool_core::{AdaptConfig, Adapter, Config, Pool, Request, ScheduleConfig, Scheduler};
use tokio::time::{Instant, sleep, sleep_until};

use super::ensure;
use super::model::Checked;
use crate::fake::FakeDriver;
use crate::random::Random;

/// What is drawn. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is so or not, whatever the others are
pub(super) struct Case {
    seed: u64,
    /// Callers in a second, and for how long each has a connection.
    rate: u64,
    hold: u64,
    /// How many times as many come for a while, or how many times as long each takes.
    factor: u64,
    grows: bool,
    /// Whether the driver says how long its answers take, callers go through a scheduler, and leases are watched.
    records: bool,
    schedules: bool,
    watches: bool,
}

/// Looks are so far apart.
const INTERVAL: Duration = Duration::from_millis(200);
/// So long it is as usual, is not, and is as usual again: in milliseconds.
const USUAL: u64 = 4000;
const UNUSUAL: u64 = 4000;
const AFTER: u64 = 6000;
/// Callers wait for so long at most.
const PATIENCE: Duration = Duration::from_millis(300);

pub(super) fn draw(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let hold = 5 + random.below(11);
    Case {
        seed,
        // Two or three connections are in use.
        rate: (2000 + random.below(1000)) / hold,
        hold,
        factor: 4 + random.below(2),
        grows: random.below(2) == 0,
        records: random.below(2) == 0,
        schedules: random.below(2) == 0,
        watches: random.below(2) == 0,
    }
}

/// The pool and what adapts it.
struct Scene {
    pool: Pool<FakeDriver>,
    driver: FakeDriver,
    scheduler: Option<Scheduler<FakeDriver>>,
    adapter: Adapter<FakeDriver>,
    /// For how long a connection is held now.
    hold: Arc<AtomicU64>,
    random: Random,
}

impl Scene {
    fn new(case: &Case) -> Result<Self, String> {
        let driver = FakeDriver::new();
        let mut config = Config::default();
        (config.max_size, config.min_size) = (6, 1);
        config.leak_after = case.watches.then_some(Duration::from_secs(1));
        let said = |error: pool_core::ConfigError| error.to_string();
        let pool = Pool::builder(driver.clone()).config(config).seed(case.seed).build().map_err(said)?;
        let scheduler = case.schedules.then(|| pool.schedule(ScheduleConfig::default()).map_err(said)).transpose()?;
        let mut config = AdaptConfig::default();
        (config.min_size, config.max_size, config.interval) = (4, 32, INTERVAL);
        (config.target_wait, config.shrink_after) = (Duration::from_millis(5), 5);
        let adapter = pool.adapt(config).map_err(said)?;
        let hold = Arc::new(AtomicU64::new(case.hold));
        Ok(Self { pool, driver, scheduler, adapter, hold, random: Random::new(case.seed) })
    }

    /// Somebody comes, uses a connection, and goes.
    fn come(&self, records: bool) {
        let (pool, scheduler, hold) = (self.pool.clone(), self.scheduler.clone(), Arc::clone(&self.hold));
        let recorder = self.driver.recorder().filter(|_| records);
        tokio::spawn(async move {
            let (mut own, mut given) = (None, None);
            match scheduler {
                Some(scheduler) => given = scheduler.acquire(Request::new().within(PATIENCE)).await.ok(),
                None => own = pool.acquire_owned_timeout(PATIENCE).await.ok(),
            }
            if own.is_some() || given.is_some() {
                let time = Duration::from_millis(hold.load(Ordering::SeqCst));
                sleep(time).await;
                recorder.inspect(|recorder| recorder.record_execution(time));
            }
        });
    }

    /// Callers come for a while, at times that are drawn. The largest and the last size.
    async fn callers(&mut self, rate: u64, time: u64, records: bool) -> (usize, usize) {
        let (mut next, end) = (Instant::now(), Instant::now() + Duration::from_millis(time));
        let mut largest = self.pool.config().max_size;
        while next < end {
            self.come(records);
            next += Duration::from_micros(500_000 / rate + self.random.below(1_000_000 / rate));
            sleep_until(next).await;
            largest = largest.max(self.pool.config().max_size);
        }
        (largest, self.pool.config().max_size)
    }
}

/// Plays one, and tells of it.
pub(super) async fn play(case: &Case, say: &mut dyn FnMut(&str)) -> Checked {
    say(&format!("{case:#?}"));
    let mut scene = Scene::new(case)?;
    let (_, before) = scene.callers(case.rate, USUAL, case.records).await;
    say(&format!("as usual: {}", scene.adapter.report()));
    let rate = if case.grows { case.rate * case.factor } else { case.rate };
    if !case.grows {
        scene.hold.store(case.hold * case.factor, Ordering::SeqCst);
    }
    let (largest, then) = scene.callers(rate, UNUSUAL, case.records).await;
    say(&format!("not as usual: {}", scene.adapter.report()));
    scene.hold.store(case.hold, Ordering::SeqCst);
    let (_, after) = scene.callers(case.rate, AFTER, case.records).await;
    say(&format!("as usual again: {}", scene.adapter.report()));
    let report = scene.adapter.report();
    if case.grows {
        ensure!(then > before, "{} times as many came, and the size is {then}, as before: {report}", case.factor);
        ensure!(after < largest, "nobody came any more, and the size is still {after}: {report}");
    } else {
        ensure!(largest <= before, "it took {} times as long, and {before} grew to {largest}: {report}", case.factor);
    }
    let violations = scene.driver.ledger().violations();
    ensure!(violations.is_empty(), "the backend saw: {}", violations.join("; "));
    let leaks = scene.pool.stats().leaks;
    ensure!(leaks == 0, "{leaks} leaks were reported, and nobody held a connection for long");
    scene.pool.close().await;
    ensure!(scene.driver.ledger().live() == 0, "connections are left after the close");
    Ok(())
}
