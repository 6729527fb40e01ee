//! A pool as those see it who run it: metrics, samples over time, and all that can be known of it at one moment.
//!
//! It reads what the engine keeps anyway: counters, words of slots, and the journal. Nothing here is in the way of who acquires.

mod config;
mod families;
mod snapshot;
mod task;
mod window;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::driver::Driver;
use crate::engine::{Engine, JOURNAL, Observation, Written};
use crate::error::ConfigError;
use crate::health::HealthState;
use crate::monitor::HealthChecker;
use crate::pool::Pool;
use crate::stats::Stats;
use crate::wall;

pub use config::ObserveConfig;
pub use snapshot::Snapshot;
pub use window::{HistoryPoint, Window};

/// Looks at a pool for those who run it; made by [`Pool::observe`]. Cheap to clone; all clones are the same, and dropping the last one ends the samples. It keeps the pool as a clone of it
/// would.
///
/// # Example
///
/// ```no_run
/// # fn look<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
/// let observer = pool.observe(pool_core::ObserveConfig::default())?;
/// for family in observer.families() {
///     println!("{}: {}", family.name, family.help);
/// }
/// # Ok(())
/// # }
/// ```
pub struct PoolObserver<D: Driver> {
    pool: Pool<D>,
    name: Arc<str>,
    shared: Arc<Shared<D>>,
    health: Option<Arc<HealthChecker<D>>>,
}

/// What all clones have, and the task.
struct Shared<D: Driver> {
    config: ObserveConfig,
    began: SystemTime,
    memory: Arc<Mutex<Memory>>,
    task: AbortHandle,
    _observation: Observation<D>,
}

impl<D: Driver> Drop for Shared<D> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is remembered. Locked by those who look, and by the task that samples; nobody who uses the pool does.
#[derive(Default)]
struct Memory {
    /// The oldest first.
    history: VecDeque<HistoryPoint>,
    /// When the last sample was taken.
    sampled: Option<Instant>,
    /// The newest first.
    journal: VecDeque<Written>,
    /// Asks the monitor, if there is one.
    health: Option<AskHealth>,
    shown: Shown,
}

/// Counts that are made of several which are read one after the other, as they were shown last. One that went back would look like the count of another process.
#[derive(Default)]
struct Shown {
    immediate: u64,
    served_late: u64,
}

impl Shown {
    /// None of them goes back.
    fn steady(&mut self, stats: &Stats) -> Steady {
        self.immediate = self.immediate.max(stats.immediate);
        self.served_late = self.served_late.max(stats.acquired.saturating_sub(stats.immediate));
        Steady { immediate: self.immediate, served_late: self.served_late }
    }
}

/// The same, for one page.
#[derive(Clone, Copy)]
struct Steady {
    /// Acquires that were served at once.
    immediate: u64,
    /// Those that were served after a wait.
    served_late: u64,
}

type AskHealth = Arc<dyn Fn() -> HealthState + Send + Sync>;

impl Memory {
    fn remember(&mut self, point: HistoryPoint, most: usize) {
        self.sampled = Some(Instant::now());
        self.history.push_back(point);
        while self.history.len() > most {
            self.history.pop_front();
        }
    }

    /// The last sample, unless it is from before these two intervals: then nobody takes any.
    fn latest(&self, interval: Duration) -> Option<&HistoryPoint> {
        let is_fresh = self.sampled.is_some_and(|sampled| sampled.elapsed() <= 2 * interval);
        self.history.back().filter(|_| is_fresh)
    }

    /// What happens again and again takes one place, so that it does not hide the rest.
    fn note(&mut self, mut new: Written) {
        let before = self.journal.iter().position(|one| one.is_as(&new)).and_then(|place| self.journal.remove(place));
        if let Some(Written { entry: before, .. }) = before {
            (new.entry.since, new.entry.times) = (before.since, before.times + new.entry.times);
        }
        self.journal.push_front(new);
    }

    /// Takes what has been written down.
    fn read<D: Driver>(&mut self, engine: &Engine<D>) {
        engine.read_journal().for_each(|entry| self.note(entry));
        self.journal.truncate(JOURNAL);
    }
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Driver> Pool<D> {
    /// Looks at the pool from now on: samples are taken on the current runtime, until the last clone of what is returned is dropped, or the pool is closed.
    ///
    /// Only what happens while somebody looks is written down in the [journal](Snapshot::journal). One observer is meant for each pool: of several, each journal has a part.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = pool_core::ObserveConfig::default();
    /// config.name = "alerts".to_owned();
    /// let observer = pool.observe(config)?;
    /// println!("{:?}", observer.snapshot().oldest_waiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(&self, config: ObserveConfig) -> Result<PoolObserver<D>, ConfigError> {
        config.validate()?;
        let memory = Arc::<Mutex<Memory>>::default();
        let observation = self.engine.begin_observation();
        let task = task::spawn(&self.engine, &memory, &config);
        let name = config.name.as_str().into();
        let shared = Shared { config, began: wall::now(), memory, task, _observation: observation };
        Ok(PoolObserver { pool: self.clone(), name, shared: Arc::new(shared), health: None })
    }
}

impl<D: Driver> PoolObserver<D> {
    /// With the monitor of the same pool, whose findings are shown, too.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let checker = pool.monitor(pool_core::HealthConfig::default())?;
    /// let observer = pool.observe(pool_core::ObserveConfig::default())?.with_health(checker.into());
    /// assert!(observer.snapshot().health.is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_health(mut self, checker: Arc<HealthChecker<D>>) -> Self {
        let asked = Arc::downgrade(&checker);
        let ask = move || asked.upgrade().map_or(HealthState::Closing, |checker| checker.report().state);
        locked(&self.shared.memory).health = Some(Arc::new(ask));
        self.health = Some(checker);
        self
    }

    /// What the pool is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, under another name.
    #[cfg(feature = "http")]
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The pool.
    pub fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// The monitor, if there is one that this knows.
    pub fn health(&self) -> Option<&HealthChecker<D>> {
        self.health.as_deref()
    }

    /// How it looks.
    pub fn config(&self) -> &ObserveConfig {
        &self.shared.config
    }

    /// To be told what happens from one moment to the next, at one's own pace.
    pub fn window(&self) -> Window<D> {
        Window::new(&self.pool.engine)
    }
}

impl<D: Driver> Clone for PoolObserver<D> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            name: Arc::clone(&self.name),
            shared: Arc::clone(&self.shared),
            health: self.health.clone(),
        }
    }
}

impl<D: Driver> fmt::Debug for PoolObserver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolObserver")
            .field("name", &self.name)
            .field("pool", &self.pool.state())
            .finish_non_exhaustive()
    }
}

impl<D: Driver> fmt::Debug for Window<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_goes_back_that_is_made_of_several() {
        let mut shown = Shown::default();
        let stats = |acquired, immediate| Stats { acquired, immediate, ..Stats::default() };
        let steady = [stats(10, 8), stats(10, 7), stats(12, 9)].map(|stats| {
            let Steady { immediate, served_late } = shown.steady(&stats);
            [immediate, served_late]
        });
        assert_eq!(steady, [[8, 2], [8, 3], [9, 3]]);
    }
}
