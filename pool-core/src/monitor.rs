//! The monitor of a pool's health, and the handle to it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::connection::ConnectionId;
use crate::counters::Counter;
use crate::driver::Driver;
use crate::engine::{Acquiring, Engine, guarded, shielded, tell_watchers, unless, watch as until};
use crate::error::{AcquireError, ConfigError};
use crate::failure::OneLine;
use crate::health::{Checked, HealthConfig, HealthReport, HealthStats, Judge, LOOK, Sample};
use crate::lease::OwnedLease;
use crate::pool::Pool;

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
    stats: watch::Sender<HealthStats>,
    /// What the last monitor knew, for one that goes on in another runtime.
    judge: Mutex<Judge>,
    /// How many checks have been asked for, and answered.
    asked: Counter,
    answered: watch::Sender<u64>,
}

impl Shared {
    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Driver> Pool<D> {
    /// Starts a monitor of the pool's health, on the current runtime. With [`HealthConfig::reserve`] it keeps one of the pool's connections for itself: it shows among the
    /// leased ones. While the pool is paused it gives that back and checks nothing; and it ends when the pool is closed. If its runtime stands still meanwhile, a drain
    /// and a close wait for it as they do for any lease.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    pub fn monitor(&self, config: HealthConfig) -> Result<HealthChecker<D>, ConfigError> {
        config.validate()?;
        let mut judge = Judge::default();
        judge.look(&Sample { at: Instant::now(), pool: self.state(), oldest: None, own: 0 }, &config);
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            report: watch::Sender::new(judge.report()),
            stats: watch::Sender::new(HealthStats::default()),
            judge: Mutex::default(),
            asked: Counter::default(),
            answered: watch::Sender::new(0),
        });
        let task = Mutex::new(Monitor::spawn(&self.engine, &shared));
        Ok(HealthChecker { engine: Arc::clone(&self.engine), shared, task })
    }
}

impl<D: Driver> HealthChecker<D> {
    /// How the pool is, as of the last look, which is made once a second.
    pub fn report(&self) -> HealthReport {
        self.shared.report.borrow().clone()
    }

    /// To be told whenever the state changes or the reasons for it do.
    pub fn subscribe(&self) -> watch::Receiver<HealthReport> {
        self.shared.report.subscribe()
    }

    /// Checks now, and says how the pool is then. If the monitor's runtime has ended, it goes on in this one.
    ///
    /// Takes up to [`HealthConfig::timeout`], twice that if no connection is kept for checks, and as long again if a check is under way. Cancel safety: the check is made all the same.
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
        // Owned across the await: nothing. The sender is in `self`, and its list of wakers is others', too.
        let _ = shielded(answered.wait_for(|answered| *answered >= asked)).await;
        self.report()
    }

    /// What has come of the checks so far.
    pub fn stats(&self) -> HealthStats {
        *self.shared.stats.borrow()
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<HealthConfig> {
        self.shared.config.load_full()
    }

    /// Puts other settings in force, from the next look on: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    pub fn reconfigure(&self, config: HealthConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.shared.config.store(Arc::new(config));
        self.engine.tell();
        Ok(())
    }

    /// Whether callers can be sent here: as [`HealthReport::is_ready`] of the last look, unless the pool has been closed since.
    pub fn is_ready(&self) -> bool {
        !self.engine.is_closed() && self.shared.report.borrow().is_ready()
    }

    /// Whether the process is in order, whatever the backend does: the pool's background work goes on. If it does not, for ten seconds, a restart helps; a backend
    /// that is gone is none of its faults.
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
        f.debug_struct("HealthChecker").field("report", &self.report()).finish_non_exhaustive()
    }
}

/// The task.
struct Monitor<D: Driver> {
    engine: Arc<Engine<D>>,
    shared: Arc<Shared>,
    judge: Judge,
    own: Own<D>,
    /// The last check that was asked for and is answered.
    answered: u64,
}

impl<D: Driver> Drop for Monitor<D> {
    fn drop(&mut self) {
        *self.shared.judge() = std::mem::take(&mut self.judge);
        // Whoever has asked meanwhile gets no other answer.
        tell_watchers(|| self.shared.answered.send_replace(u64::MAX));
    }
}

/// The connection that is kept for the checks.
struct Own<D: Driver> {
    engine: Arc<Engine<D>>,
    lease: Option<OwnedLease<D>>,
    /// Its name, which the engine knows as long as a check has it, too.
    id: Option<ConnectionId>,
}

impl<D: Driver> Own<D> {
    fn keep(&mut self, lease: Option<OwnedLease<D>>) {
        self.forget();
        self.id = lease.as_ref().map(OwnedLease::connection_id);
        if let Some(id) = self.id {
            self.engine.reserve_for_checks(id);
        }
        self.lease = lease;
    }

    /// Gives it back unless it is good for another check, and to be kept for that.
    fn keep_if_good(&mut self, config: &HealthConfig) {
        if !config.reserve || is_spent(&self.engine, self.id) {
            self.keep(None);
        }
    }

    fn forget(&mut self) {
        if let Some(id) = self.id.take() {
            self.engine.end_reserve(id);
        }
    }
}

impl<D: Driver> Drop for Own<D> {
    fn drop(&mut self) {
        self.forget();
    }
}

fn is_spent<D: Driver>(engine: &Engine<D>, reserve: Option<ConnectionId>) -> bool {
    reserve.is_some_and(|reserve| engine.is_reserve_spent(reserve))
}

impl<D: Driver> Monitor<D> {
    fn spawn(engine: &Arc<Engine<D>>, shared: &Arc<Shared>) -> JoinHandle<()> {
        let own = Own { engine: Arc::clone(engine), lease: None, id: None };
        let (engine, shared) = (Arc::clone(engine), Arc::clone(shared));
        shared.answered.send_replace(0);
        let judge = std::mem::take(&mut *shared.judge());
        tokio::spawn(Self { engine, shared, judge, own, answered: 0 }.run())
    }

    async fn run(mut self) {
        let mut last = None;
        while !self.engine.is_closed() {
            let config = self.shared.config.load_full();
            let is_due = |last: Instant| last.elapsed() >= self.judge.pace(&config);
            if last.is_none_or(is_due) || self.is_asked() {
                // Owned across the await: what is kept for the checks. Dropped, it goes back.
                self.check(&config).await;
                last = Some(Instant::now());
            }
            self.look(&config);
            let next = last.map_or_else(Instant::now, |last| last + self.judge.pace(&config));
            // Owned across the await: the same.
            self.rest(next.min(Instant::now() + LOOK)).await;
        }
        self.own.keep(None);
        let config = self.shared.config.load_full();
        self.look(&config);
    }

    fn is_asked(&self) -> bool {
        self.shared.asked.get() > self.answered
    }

    /// Waits until it is time for the next look, or something has happened.
    async fn rest(&mut self, next: Instant) {
        let (engine, shared, answered, own) = (&self.engine, &self.shared, self.answered, self.own.id);
        let (breaker, settings) = (engine.breaker(), shared.config.load_full());
        let look = || {
            let other = !Arc::ptr_eq(&settings, &shared.config.load()) || engine.breaker() != breaker;
            let asked = shared.asked.get() > answered;
            (other || asked || engine.is_closed() || is_spent(engine, own)).then_some(())
        };
        // Owned across the await: what is kept for the checks, by `self`.
        let _ = timeout_at(next, until(engine, look)).await;
        self.own.keep_if_good(&self.shared.config.load());
    }

    /// Makes a check, and answers those who have asked for one.
    async fn check(&mut self, config: &HealthConfig) {
        let (engine, asked) = (Arc::clone(&self.engine), self.shared.asked.get());
        let started = Instant::now();
        // Owned across the await: the connection that is checked. Dropped, because the pool is paused or closed, it goes back.
        let checked = unless(&engine, Engine::is_out_of_service, guarded(self.ask(config))).await;
        if self.own.lease.is_none() {
            self.own.keep(None);
        }
        let checked = match checked {
            None => Checked::Busy,
            Some(Ok(Ok(()))) => Checked::Answered(started.elapsed()),
            Some(Ok(Err(checked))) => checked,
            // By an error that cannot be shown.
            Some(Err(message)) => Checked::Failed(format!("the check panicked: {}", OneLine(message))),
        };
        tell_watchers(|| self.shared.stats.send_modify(|stats| stats.count(&checked)));
        self.judge.hear(checked, config);
        self.look(config);
        self.answered = asked;
        tell_watchers(|| self.shared.answered.send_replace(asked));
    }

    /// Asks the backend.
    async fn ask(&mut self, config: &HealthConfig) -> Result<(), Checked> {
        // Owned across the awaits: the lease.
        self.own.keep_if_good(config);
        let mut lease = match self.own.lease.take() {
            Some(lease) => lease,
            None => acquire(&self.engine, config).await?,
        };
        // Not what is left of the time: whoever got a connection late would take a busy pool for a backend that does not answer.
        if let Err(cause) = self.engine.probe(&mut lease, config.timeout).await {
            self.own.keep(None);
            lease.discard();
            return Err(Checked::Failed(cause));
        }
        let keeps = config.reserve && self.engine.config.load().max_size > 1;
        self.own.keep(keeps.then_some(lease));
        Ok(())
    }

    /// Looks at the pool, and says so if that changes anything.
    fn look(&mut self, config: &HealthConfig) {
        let (pool, oldest) = (self.engine.state(), self.engine.oldest_lease());
        let (at, own) = (Instant::now(), self.engine.reserved());
        self.judge.look(&Sample { at, pool, oldest, own }, config);
        let report = self.judge.report();
        tell_watchers(|| {
            self.shared.report.send_if_modified(|shown| {
                let changed = !shown.says_the_same(&report);
                *shown = report;
                changed
            });
        });
    }
}

/// A connection, in turn if it is to be kept; otherwise it is one that is idle, or a new one.
async fn acquire<D: Driver>(engine: &Arc<Engine<D>>, config: &HealthConfig) -> Result<OwnedLease<D>, Checked> {
    let state = engine.state();
    let waits_in_turn = config.reserve || state.leased == 0;
    if !waits_in_turn && state.idle == 0 {
        return Err(Checked::Busy);
    }
    let lease = |claim| OwnedLease::new(Arc::clone(engine), claim);
    // Owned across the await: a place in the queue. Dropped, it leaves.
    let acquired = Acquiring::new(engine, Some(config.timeout), lease).await;
    acquired.map_err(|error| match &error {
        AcquireError::Closed => Checked::Busy,
        AcquireError::Timeout { failure: None, situation } if situation.state.leased > 0 => Checked::Busy,
        _ => Checked::Failed(error.to_string()),
    })
}
