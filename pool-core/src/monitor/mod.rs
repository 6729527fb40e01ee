//! The monitor of a pool's health, and the handle to it.

mod task;
mod told;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::counters::Counter;
use crate::driver::Driver;
use crate::engine::{Engine, shielded, tell_watchers};
use crate::error::ConfigError;
use crate::health::{HealthConfig, HealthReport, HealthStats, Judge, LOOK, Sample};
#[cfg(doc)]
use crate::health::{HealthReason, HealthState};
use crate::pool::Pool;
use task::Monitor;

/// Watches over a pool: asks its backend for a sign of life now and then, looks at how busy the pool is, and says what it thinks of it. Made by
/// [`Pool::monitor`]; dropping it ends the monitor.
///
/// # Example
///
/// ```no_run
/// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
/// let checker = pool.monitor(pool_core::HealthConfig::default())?;
/// let mut health = checker.subscribe();
/// while health.changed().await.is_ok() {
///     println!("{}", *health.borrow_and_update());
/// }
/// # Ok(())
/// # }
/// ```
pub struct HealthChecker<D: Driver> {
    engine: Arc<Engine<D>>,
    shared: Arc<Shared>,
    task: Mutex<JoinHandle<()>>,
}

struct Shared {
    config: ArcSwap<HealthConfig>,
    report: watch::Sender<HealthReport>,
    stats: Mutex<HealthStats>,
    /// What the last monitor knew, for one that goes on in another runtime.
    judge: Mutex<Judge>,
    /// How many checks have been asked for, and answered.
    asked: Counter,
    answered: watch::Sender<u64>,
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, HealthStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, asked: u64) {
        tell_watchers(|| self.answered.send_replace(asked));
    }

    fn show(&self, health: HealthReport) {
        tell_watchers(|| {
            self.report.send_if_modified(|shown| {
                let changed = !shown.says_the_same(&health);
                *shown = health;
                changed
            })
        });
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Driver> Pool<D> {
    /// Starts a monitor of the pool's health, on the current runtime. With [`HealthConfig::reserve`] it keeps one of the pool's connections for itself, within [`Config::max_size`](crate::Config::max_size): it
    /// shows as [reserved](crate::PoolState::reserved), and leaves one at least for callers. To get it, it stands in the queue as everybody does; but it is no caller, and neither counted in [`Stats`](crate::Stats) as one nor seen
    /// waiting. While the pool is paused it gives that back, checks nothing, and says [degraded](HealthReason::Paused); and it ends when the pool is closed. If its runtime stands still meanwhile, a drain
    /// and a close wait for it as they do for any lease.
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
    /// # fn watch<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = pool_core::HealthConfig::default();
    /// config.leak_after = None;
    /// let checker = pool.monitor(config)?;
    /// println!("{}", checker.report());
    /// # Ok(())
    /// # }
    /// ```
    pub fn monitor(&self, config: HealthConfig) -> Result<HealthChecker<D>, ConfigError> {
        config.validate()?;
        let mut judge = Judge::default();
        judge.look(&Sample { at: Instant::now(), pool: self.state(), oldest: None }, &config);
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            report: watch::Sender::new(judge.report()),
            stats: Mutex::default(),
            judge: Mutex::default(),
            asked: Counter::default(),
            answered: watch::Sender::new(0),
        });
        let task = Mutex::new(Monitor::spawn(&self.engine, &shared));
        Ok(HealthChecker { engine: Arc::clone(&self.engine), shared, task })
    }
}

impl<D: Driver> HealthChecker<D> {
    /// How the pool is, as of the last look, which is made once a second. If the monitor's runtime has ended, it goes on in this one, if there is one.
    ///
    /// If nobody has looked for longer than a check can take, four times [`HealthConfig::timeout`] and three seconds, since that runtime has ended or stands still, the report is
    /// [unhealthy](HealthState::Unhealthy) for [that reason](HealthReason::NoAnswer). Once the pool is closed it is [closing](HealthState::Closing), whoever looks.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn log<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) {
    /// let report = checker.report();
    /// println!("{report}, {:?} ago", report.at.elapsed());
    /// # }
    /// ```
    pub fn report(&self) -> HealthReport {
        if !self.engine.is_closed() && Handle::try_current().is_ok() {
            self.ensure_monitor();
        }
        self.seen()
    }

    /// As of the last look, unless that says nothing any more.
    fn seen(&self) -> HealthReport {
        let report = self.shared.report.borrow().clone();
        let age = report.at.elapsed();
        let is_out_of_date = age > self.patience().saturating_add(3 * LOOK);
        if self.engine.is_closed() {
            report.of_a_closed_pool()
        } else if is_out_of_date {
            report.without_answer(age)
        } else {
            report
        }
    }

    /// For how long an answer is waited for: a check takes half of that at most, and another one may be under way.
    fn patience(&self) -> Duration {
        self.config().timeout.saturating_mul(4)
    }

    /// To be told whenever the state changes or the reasons for it do: by the monitor, which says nothing while nobody drives its runtime. [`report`](Self::report) says that.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn ready<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) {
    /// let mut health = checker.subscribe();
    /// let ready = health.wait_for(|report| report.is_ready()).await.is_ok();
    /// # let _ = ready;
    /// # }
    /// ```
    pub fn subscribe(&self) -> watch::Receiver<HealthReport> {
        self.shared.report.subscribe()
    }

    /// Checks now, and says how the pool is then. If the monitor's runtime has ended, it goes on in this one.
    ///
    /// Takes up to [`HealthConfig::timeout`], twice that if no connection is kept for checks, and as long again if a check is under way. If the monitor's runtime stands still, so that nobody answers
    /// within that time, the report is [unhealthy](HealthState::Unhealthy) for [that reason](HealthReason::NoAnswer). Cancel safety: the check is made all the same.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn probe<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) -> u16 {
    /// if checker.check_health().await.is_ready() { 200 } else { 503 }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    pub async fn check_health(&self) -> HealthReport {
        let mut answered = self.shared.answered.subscribe();
        self.shared.asked.add(1);
        let asked = self.shared.asked.get();
        self.ensure_monitor();
        self.engine.tell();
        let limit = self.patience();
        // Owned across the await: nothing. The sender is in `self`, and its list of wakers is others', too.
        let answer = timeout(limit, shielded(answered.wait_for(|answered| *answered >= asked))).await;
        if answer.is_ok() { self.seen() } else { self.shared.report.borrow().clone().without_answer(limit) }
    }

    /// What has come of the checks so far.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn answered<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) {
    /// let stats = checker.stats();
    /// let share = stats.succeeded as f64 / (stats.succeeded + stats.failed).max(1) as f64;
    /// # let _ = share;
    /// # }
    /// ```
    pub fn stats(&self) -> HealthStats {
        *self.shared.stats()
    }

    /// The settings in force.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn interval<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) -> std::time::Duration {
    /// checker.config().interval
    /// # }
    /// ```
    pub fn config(&self) -> Arc<HealthConfig> {
        self.shared.config.load_full()
    }

    /// Puts other settings in force, from the next look on: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn sooner<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = (*checker.config()).clone();
    /// config.interval = std::time::Duration::from_secs(10);
    /// checker.reconfigure(config)
    /// # }
    /// ```
    pub fn reconfigure(&self, config: HealthConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.shared.config.store(Arc::new(config));
        self.engine.tell();
        Ok(())
    }

    /// Whether callers can be sent here: as [`HealthReport::is_ready`] of the [report](Self::report).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn ready<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) -> u16 {
    /// if checker.is_ready() { 200 } else { 503 }
    /// # }
    /// ```
    pub fn is_ready(&self) -> bool {
        self.report().is_ready()
    }

    /// Whether the process is in order, whatever the backend does: the pool's background work goes on. If it does not, for ten seconds, a restart helps; a backend
    /// that is gone is none of its faults.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn live<D: pool_core::Driver>(checker: &pool_core::HealthChecker<D>) -> u16 {
    /// if checker.is_live() { 200 } else { 503 }
    /// # }
    /// ```
    pub fn is_live(&self) -> bool {
        self.engine.has_a_pulse()
    }

    fn ensure_monitor(&self) {
        let mut task = self.task();
        if task.is_finished() {
            // For a pool that is closed it ends at once.
            *task = Monitor::spawn(&self.engine, &self.shared);
        }
    }

    fn task(&self) -> MutexGuard<'_, JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Driver> Drop for HealthChecker<D> {
    fn drop(&mut self) {
        self.task().abort();
    }
}

impl<D: Driver> fmt::Debug for HealthChecker<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChecker").field("report", &self.seen()).finish_non_exhaustive()
    }
}
