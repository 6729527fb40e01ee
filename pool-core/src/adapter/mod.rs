//! What adapts the size of a pool to its demand, and the handle to it.

mod observer;
mod task;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

#[cfg(doc)]
use crate::adapt::AdaptReason;
use crate::adapt::{AdaptConfig, AdaptReport, Law};
use crate::driver::Driver;
use crate::engine::{Engine, tell_watchers};
use crate::error::ConfigError;
use crate::pool::Pool;
use task::Task;

/// Adapts the size of a pool to its demand, between a minimum and a maximum. Made by [`Pool::adapt`]; dropping it ends that, and the pool keeps the size that it has.
///
/// It grows when callers wait, and never because the backend is slow; `docs/policies.md` has the whole rule. It changes [`Config::max_size`](crate::Config::max_size) as
/// [`Pool::reconfigure`] does, so nobody loses a lease. One for a pool: two would take each other for an operator.
///
/// # Example
///
/// ```no_run
/// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
/// let adapter = pool.adapt(pool_core::AdaptConfig::default())?;
/// let mut size = adapter.subscribe();
/// while size.changed().await.is_ok() {
///     println!("{}", *size.borrow_and_update());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Adapter<D: Driver> {
    engine: Arc<Engine<D>>,
    shared: Arc<Shared>,
    task: Mutex<JoinHandle<()>>,
}

struct Shared {
    config: ArcSwap<AdaptConfig>,
    report: watch::Sender<AdaptReport>,
    /// What the last task knew, for one that goes on in another runtime.
    knowledge: Mutex<Knowledge>,
}

/// What a task knows.
#[derive(Default)]
struct Knowledge {
    law: Law,
    /// The size that was put in force last; another one is an operator's.
    own: Option<usize>,
    /// What an operator allows.
    ceiling: Option<usize>,
    changes: u64,
}

impl Shared {
    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, report: AdaptReport) {
        tell_watchers(|| {
            self.report.send_if_modified(|shown| {
                let changed = !shown.says_the_same(&report);
                *shown = report;
                changed
            })
        });
    }
}

impl<D: Driver> Pool<D> {
    /// Adapts the size of the pool to its demand from now on, by a task on the current runtime. If that ends, it goes on in the next one that [asks](Adapter::report) it for anything. While the pool is
    /// paused, or fails to open connections, nothing is changed; and it ends when the pool is closed.
    ///
    /// The pool begins with the size that it has, or the nearest that is within the limits. What an operator sets as [`Config::max_size`](crate::Config::max_size) from then on, by [`Pool::reconfigure`], is
    /// in force at once, and the pool grows no further than that until the operator sets more or [`Adapter::reconfigure`] is called.
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
    /// # fn adapt<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = pool_core::AdaptConfig::default();
    /// (config.min_size, config.max_size) = (4, 64);
    /// let adapter = pool.adapt(config)?;
    /// println!("{}", adapter.report());
    /// # Ok(())
    /// # }
    /// ```
    pub fn adapt(&self, config: AdaptConfig) -> Result<Adapter<D>, ConfigError> {
        config.validate()?;
        let report = task::first_report(self.engine.config.load().max_size, Instant::now());
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            report: watch::Sender::new(report),
            knowledge: Mutex::default(),
        });
        let task = Mutex::new(Task::spawn(&self.engine, &shared));
        Ok(Adapter { engine: Arc::clone(&self.engine), shared, task })
    }
}

impl<D: Driver> Adapter<D> {
    /// The size of the pool and why, as of the last look. If the runtime of the adapter has ended, it goes on in this one, if there is one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn log<D: pool_core::Driver>(adapter: &pool_core::Adapter<D>) {
    /// let report = adapter.report();
    /// println!("{} of {} wanted: {}", report.size, report.wanted, report.reason);
    /// # }
    /// ```
    pub fn report(&self) -> AdaptReport {
        self.ensure_task();
        *self.shared.report.borrow()
    }

    /// To be told whenever the size changes or the [reason](AdaptReason) for it does. Otherwise as [`report`](Self::report).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn alert<D: pool_core::Driver>(adapter: &pool_core::Adapter<D>) {
    /// let mut size = adapter.subscribe();
    /// let slow = size.wait_for(|report| report.reason == pool_core::AdaptReason::Slow).await.is_ok();
    /// # let _ = slow;
    /// # }
    /// ```
    pub fn subscribe(&self) -> watch::Receiver<AdaptReport> {
        self.ensure_task();
        self.shared.report.subscribe()
    }

    /// The settings in force.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn most<D: pool_core::Driver>(adapter: &pool_core::Adapter<D>) -> usize {
    /// adapter.config().max_size
    /// # }
    /// ```
    pub fn config(&self) -> Arc<AdaptConfig> {
        self.shared.config.load_full()
    }

    /// Puts other settings in force, all of them or none: from the next look on, which is made at once. What an operator has set before as the maximum of the pool does not count any longer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn more<D: pool_core::Driver>(adapter: &pool_core::Adapter<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = (*adapter.config()).clone();
    /// config.max_size *= 2;
    /// adapter.reconfigure(config)
    /// # }
    /// ```
    pub fn reconfigure(&self, config: AdaptConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.shared.config.store(Arc::new(config));
        self.ensure_task();
        self.engine.tell();
        Ok(())
    }

    fn ensure_task(&self) {
        let mut task = self.task();
        if task.is_finished() && !self.engine.is_closed() && Handle::try_current().is_ok() {
            *task = Task::spawn(&self.engine, &self.shared);
        }
    }

    fn task(&self) -> MutexGuard<'_, JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Driver> Drop for Adapter<D> {
    fn drop(&mut self) {
        self.task().abort();
    }
}

impl<D: Driver> fmt::Debug for Adapter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("report", &*self.shared.report.borrow()).finish_non_exhaustive()
    }
}
