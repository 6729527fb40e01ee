//! The task that looks, and puts sizes in force.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::observer::Observer;
use super::{Knowledge, Shared};
use crate::adapt::{AdaptConfig, AdaptReason, AdaptReport, Decision, Limits, Look};
use crate::config::Config;
use crate::driver::Driver;
use crate::engine::{Engine, report, watch as until};

/// Where the connections are is read so often from one look to the next.
const GLANCES: u32 = 10;

/// The task.
pub(super) struct Task<D: Driver> {
    engine: Arc<Engine<D>>,
    shared: Arc<Shared>,
    knowledge: Knowledge,
    observer: Observer,
}

impl<D: Driver> Drop for Task<D> {
    fn drop(&mut self) {
        *self.shared.knowledge() = std::mem::take(&mut self.knowledge);
    }
}

/// What is said before the first look.
pub(super) fn first_report(size: usize, at: Instant) -> AdaptReport {
    AdaptReport {
        size,
        wanted: 0,
        reason: AdaptReason::Learning,
        in_use: 0.0,
        arrivals: 0.0,
        wait: std::time::Duration::ZERO,
        hold: std::time::Duration::ZERO,
        slowness: 1.0,
        changes: 0,
        at,
    }
}

impl<D: Driver> Task<D> {
    pub(super) fn spawn(engine: &Arc<Engine<D>>, shared: &Arc<Shared>) -> JoinHandle<()> {
        let knowledge = std::mem::take(&mut *shared.knowledge());
        let observer = Observer::new(engine);
        let task = Self { engine: Arc::clone(engine), shared: Arc::clone(shared), knowledge, observer };
        tokio::spawn(task.run())
    }

    async fn run(mut self) {
        let mut config = self.shared.config.load_full();
        self.keep_within(&config);
        while !self.engine.is_closed() {
            // Owned across the await: nothing but what is known, which is kept for the next task if this one is dropped.
            self.watch(&config).await;
            let settings = self.shared.config.load_full();
            if !Arc::ptr_eq(&settings, &config) {
                // Whoever sets these says anew what is allowed.
                self.knowledge.ceiling = None;
                self.knowledge.own = Some(self.engine.config.load().max_size);
                config = settings;
            }
            if !self.engine.is_closed() {
                self.look(&config);
            }
        }
        self.end();
    }

    /// Sees where the connections are, until it is time to look; or until there are other settings, or the pool is closed.
    async fn watch(&mut self, config: &Arc<AdaptConfig>) {
        for _ in 0..GLANCES {
            let next = Instant::now() + config.interval / GLANCES;
            let (engine, shared) = (&self.engine, &self.shared);
            let look = || (engine.is_closed() || !Arc::ptr_eq(&shared.config.load(), config)).then_some(());
            // Owned across the await: nothing.
            if timeout_at(next, until(engine, look)).await.is_ok() {
                return;
            }
            self.observer.glance(&self.engine);
        }
    }

    /// The first size is one within the limits.
    fn keep_within(&mut self, config: &AdaptConfig) {
        let settings = self.engine.config.load_full();
        self.hear_operator(settings.max_size);
        let size = self.limits(&settings, config).fit(settings.max_size);
        if size != settings.max_size {
            self.put_in_force(&settings, Decision { size, reason: AdaptReason::Limits });
            let (last, at, changes) = (*self.shared.report.borrow(), Instant::now(), self.knowledge.changes);
            self.shared.show(AdaptReport { size, reason: AdaptReason::Limits, at, changes, ..last });
        }
    }

    /// Another size than that which was put in force last is an operator's, who allows no more.
    fn hear_operator(&mut self, size: usize) {
        if self.knowledge.own.replace(size).is_some_and(|own| own != size) {
            self.knowledge.ceiling = Some(size);
        }
    }

    /// The sizes that can be put in force beside the other settings of the pool.
    fn limits(&self, settings: &Config, config: &AdaptConfig) -> Limits {
        let openers = if settings.max_openers > 255 { settings.max_openers } else { 0 };
        let most = Config::MAX_SIZE_LIMIT.saturating_sub(settings.rotation_headroom);
        Limits {
            min: config.min_size.max(settings.min_size).max(settings.min_idle).max(openers),
            max: config.max_size.min(self.knowledge.ceiling.unwrap_or(most)).min(most),
        }
    }

    fn look(&mut self, config: &AdaptConfig) {
        let settings = self.engine.config.load_full();
        self.hear_operator(settings.max_size);
        let limits = self.limits(&settings, config);
        // Of these settings, whatever others are in force by now: then nothing comes of it.
        let look = Look { size: settings.max_size, ..self.observer.look(&self.engine) };
        let decision = self.knowledge.law.look(&look, limits, config);
        if decision.size != settings.max_size {
            self.put_in_force(&settings, decision);
        }
        let report = self.report(&look, decision.reason, config);
        self.shared.show(report);
    }

    fn put_in_force(&mut self, settings: &Arc<Config>, decision: Decision) {
        let (from, Decision { size, reason }) = (settings.max_size, decision);
        let other = Config { max_size: size, ..Config::clone(settings) };
        // If an operator sets others at this moment, those count, and the next look is at them.
        if self.engine.adapt(settings, other) {
            self.knowledge.own = Some(size);
            self.knowledge.changes += 1;
            report(|| tracing::info!(from, size, "the size of the pool is {size} instead of {from}: {reason}"));
        }
    }

    fn report(&self, look: &Look, reason: AdaptReason, config: &AdaptConfig) -> AdaptReport {
        let figures = self.knowledge.law.figures();
        AdaptReport {
            size: self.knowledge.own.unwrap_or(look.size),
            wanted: figures.wanted(config),
            reason,
            in_use: look.in_use,
            arrivals: figures.arrivals(),
            wait: look.wait,
            hold: figures.hold(),
            slowness: figures.slowness().unwrap_or(1.0),
            changes: self.knowledge.changes,
            at: Instant::now(),
        }
    }

    /// The pool is closed.
    fn end(&self) {
        let last = *self.shared.report.borrow();
        self.shared.show(AdaptReport { reason: AdaptReason::Closed, at: Instant::now(), ..last });
    }
}
