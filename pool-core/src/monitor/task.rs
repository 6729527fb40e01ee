//! The task that watches.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::told::Told;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::engine::{Engine, KeptFor, guarded, report, unless, watch as until};
use crate::error::AcquireError;
use crate::failure::{OneLine, OpenFailure};
use crate::health::{Checked, HealthConfig, HealthReport, HealthState, Judge, LOOK, Sample};
use crate::lease::OwnedLease;

/// The task.
pub(super) struct Monitor<D: Driver> {
    engine: Arc<Engine<D>>,
    shared: Arc<Shared>,
    judge: Judge,
    told: Told,
    own: Own<D>,
    /// The last check that was asked for and is answered.
    answered: u64,
    /// How much had gone wrong in the pool when it was made.
    troubles: u64,
    /// How many acquires had been served when the last check ended.
    served: u64,
    /// Whether the pool was paused when it was looked at last.
    paused: bool,
}

impl<D: Driver> Drop for Monitor<D> {
    fn drop(&mut self) {
        *self.shared.judge() = std::mem::take(&mut self.judge);
        // Whoever has asked meanwhile gets no other answer.
        self.shared.answer(u64::MAX);
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
    /// Keeps it instead of the last one, unless that would leave none for callers; then it goes back.
    fn keep(&mut self, lease: Option<OwnedLease<D>>) {
        let id = lease.as_ref().map(OwnedLease::connection_id);
        // What is kept already has its place.
        if id != self.id {
            self.forget();
            self.id = id.filter(|id| self.engine.reserve(*id, KeptFor::Checks).is_ok());
        }
        self.lease = lease.filter(|_| self.id.is_some());
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
    pub(super) fn spawn(engine: &Arc<Engine<D>>, shared: &Arc<Shared>) -> JoinHandle<()> {
        let own = Own { engine: Arc::clone(engine), lease: None, id: None };
        let (engine, shared) = (Arc::clone(engine), Arc::clone(shared));
        shared.answer(0);
        let judge = std::mem::take(&mut *shared.judge());
        let told = Told::new(shared.report.borrow().state);
        let (served, paused) = (engine.served(), engine.is_paused());
        tokio::spawn(Self { engine, shared, judge, told, own, answered: 0, troubles: 0, served, paused }.run())
    }

    async fn run(mut self) {
        let mut last = None;
        while !self.engine.is_closed() {
            let config = self.shared.config.load_full();
            // What was so before a pause says nothing about what is so after it.
            if self.was_resumed() || last.is_none_or(|last| self.is_due(last, &config)) || self.is_asked() {
                // A check may take long, and what is so by now, such as that a pause is over, is not told after it alone.
                self.look(&config);
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

    /// Whether it is time for a check: sooner if something has gone wrong since the last one.
    fn is_due(&self, last: Instant, config: &HealthConfig) -> bool {
        let troubled = self.engine.troubles() != self.troubles;
        let pace = self.judge.pace(config);
        last.elapsed() >= if troubled { pace.min(config.retry_interval) } else { pace }
    }

    /// Whether a pause has ended since this was asked last.
    fn was_resumed(&mut self) -> bool {
        let paused = self.engine.is_paused();
        std::mem::replace(&mut self.paused, paused) && !paused
    }

    fn is_asked(&self) -> bool {
        self.shared.asked.get() > self.answered
    }

    /// Waits until it is time for the next look, or something has happened.
    async fn rest(&mut self, next: Instant) {
        let (engine, shared, answered, own) = (&self.engine, &self.shared, self.answered, self.own.id);
        let (breaker, settings, paused) = (engine.breaker(), shared.config.load_full(), self.paused);
        let look = || {
            let moved = engine.breaker() != breaker || engine.is_paused() != paused;
            let other = moved || !Arc::ptr_eq(&settings, &shared.config.load());
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
        self.shared.stats().count(&checked);
        // With what this check itself has found.
        self.troubles = self.engine.troubles();
        self.judge.hear(checked, config);
        self.look(config);
        (self.answered, self.served) = (asked, self.engine.served());
        self.shared.answer(asked);
    }

    /// Asks the backend.
    async fn ask(&mut self, config: &HealthConfig) -> Result<(), Checked> {
        // Owned across the awaits: the lease.
        self.own.keep_if_good(config);
        let mut lease = match self.own.lease.take() {
            Some(lease) => lease,
            None => acquire(&self.engine, config, self.served).await?,
        };
        // Not what is left of the time: whoever got a connection late would take a busy pool for a backend that does not answer.
        let began = self.engine.now();
        if let Err(cause) = self.engine.probe(&mut lease, config.timeout, config.interval).await {
            if self.judge.is_at_the_last_try(config) {
                self.engine.was_missed(began, config.interval);
            }
            self.own.keep(None);
            lease.discard();
            return Err(Checked::Failed(cause));
        }
        self.own.keep(config.reserve.then_some(lease));
        Ok(())
    }

    /// Looks at the pool, and says so if that changes anything.
    fn look(&mut self, config: &HealthConfig) {
        let (pool, oldest) = (self.engine.state(), self.engine.oldest_lease());
        self.judge.look(&Sample { at: Instant::now(), pool, oldest }, config);
        let health = self.judge.report();
        let before = self.shared.report.borrow().state;
        if health.state != before {
            self.engine.write_down_about("health", health.theme(), &health);
            self.told.changes();
        }
        if let Some(left_out) = self.told.ask(health.state, Instant::now()) {
            tell(&health, left_out);
        }
        self.shared.show(health);
    }
}

/// A line in the log for another state.
fn tell(health: &HealthReport, left_out: u64) {
    let suppressed = (left_out > 0).then_some(left_out);
    report(|| match health.state {
        HealthState::Degraded | HealthState::Unhealthy => tracing::warn!(suppressed, "the pool is {health}"),
        _ => tracing::info!(suppressed, "the pool is {health}"),
    });
}

/// A connection, in turn if it is to be kept; otherwise it is one that is idle, or a new one. So many acquires had been served at the last check.
async fn acquire<D: Driver>(
    engine: &Arc<Engine<D>>,
    config: &HealthConfig,
    served_before: u64,
) -> Result<OwnedLease<D>, Checked> {
    let (state, served) = (engine.state(), engine.served());
    let waits_in_turn = config.reserve || state.leased == 0;
    if !waits_in_turn && state.idle == 0 {
        return Err(if served > served_before { Checked::Served } else { Checked::Busy });
    }
    // Owned across the await: a place in the queue. Dropped, it leaves.
    let acquired = engine.acquire_for_check(config.timeout).await;
    let claim = acquired.map_err(|error| judge(&error, engine.served() > served))?;
    Ok(OwnedLease::new(Arc::clone(engine), claim))
}

/// What it means that no connection could be had, while others may have been served.
fn judge(error: &AcquireError, others_were: bool) -> Checked {
    match error {
        AcquireError::Closed => Checked::Busy,
        AcquireError::Timeout { situation, .. } if situation.state.leased > 0 && others_were => Checked::Served,
        AcquireError::Timeout { failure: None, situation } if situation.state.leased > 0 => Checked::Busy,
        // What the breaker and the connections are to it is said besides.
        _ => Checked::Failed(error.failure().map_or_else(|| error.to_string(), OpenFailure::cause_first)),
    }
}
