//! Openers: attempts to open one connection each, for the pool and not for the caller who wanted it.

use std::sync::Arc;

use tokio::time::timeout;

use super::panics::{caught, guarded};
use super::random::random;
use super::{Engine, Job};
use crate::config::Config;
use crate::driver::{Driver, ErrorClass};
use crate::error::OpenFailure;
use crate::foreign::drop_quietly;
use crate::gate::Generation;
use crate::lifetime::expires_at;
use crate::slot::Vacancy;

impl<D: Driver> Engine<D> {
    /// Calls the janitor if waiters outnumber openers and there is room for another one. Every waiter asks, or the pool
    /// would grow by one connection at a time.
    pub(super) fn ask_for_openers(&self) {
        let room = self.core.capacity.read();
        if room.open < room.max && room.opening < self.core.gate().glance().waiting() {
            self.bell.notify_one();
        }
    }

    /// Reserves room for an opener if one is wanted: somebody waits for whom none is under way, or the pool is below its minimum.
    pub(super) fn reserve_opener(self: &Arc<Self>, config: &Config, at_once: usize) -> Option<Opener<D>> {
        // After the fence: an opener that has just made room and a waiter that has just come cannot miss each other.
        let sight = self.core.gate().look_after_publishing();
        let wanted = self
            .core
            .capacity
            .reserve(|room| room.opening < at_once && (room.opening < sight.waiting() || room.open < config.min_size));
        if sight.is_closed() && wanted {
            self.core.capacity.open_failed();
        }
        (wanted && !sight.is_closed()).then(|| Opener {
            engine: Arc::clone(self),
            vacancy: Some(self.vacancy()),
            generation: sight.generation(),
        })
    }

    fn vacancy(&self) -> Vacancy {
        loop {
            // A reservation guarantees a vacant slot; a search can still miss it while others come and go.
            match self.core.table.claim_vacant() {
                Some(vacancy) => return vacancy,
                None => std::hint::spin_loop(),
            }
        }
    }
}

/// One attempt. Whatever happens to it, its slot and its share of the capacity come back.
pub(super) struct Opener<D: Driver> {
    engine: Arc<Engine<D>>,
    vacancy: Option<Vacancy>,
    /// The one in which it began: what a driver connected to before the next one began is outdated.
    generation: Generation,
}

impl<D: Driver> Opener<D> {
    /// Opens a connection and sends it through the door of a release.
    pub(super) async fn run(mut self) {
        let engine = Arc::clone(&self.engine);
        let budget = engine.config.load().connect_timeout;
        // Owned across the await: `self`. If the runtime ends here, dropping it gives the vacancy and the capacity back.
        let outcome = guarded(timeout(budget, async { engine.driver.connect().await })).await;
        match outcome {
            Ok(Ok(Ok(connection))) => self.succeed(connection),
            Ok(Ok(Err(error))) => {
                let class = caught(|| engine.driver.classify(&error)).unwrap_or(ErrorClass::Transient);
                self.fail(OpenFailure::Driver { class, source: Box::new(error) });
            }
            Ok(Err(_)) => self.fail(OpenFailure::TimedOut { after: budget }),
            Err(message) => self.fail(OpenFailure::Panicked { message }),
        }
    }

    fn succeed(&mut self, connection: D::Connection) {
        let Some(vacancy) = self.vacancy.take() else { return };
        let engine = &self.engine;
        let claim = engine.core.fill(vacancy, connection, self.generation);
        let (now, facts) = (engine.epoch.get(), engine.core.table.facts(&claim));
        facts.expires_at.set(expires_at(now, engine.config.load().max_lifetime, random()));
        facts.released_at.set(now);
        facts.checked_at.set(now);
        engine.core.capacity.opened();
        engine.offer(claim);
        drop_quietly(engine.last_failure.swap(None));
        engine.call_janitor(Job::OpenerDone(None));
    }

    fn fail(&mut self, failure: OpenFailure) {
        let Some(vacancy) = self.vacancy.take() else { return };
        let (engine, failure) = (&self.engine, Arc::new(failure));
        engine.core.table.publish_vacant(vacancy);
        engine.core.capacity.open_failed();
        engine.events.open_failures.add(1);
        drop_quietly(engine.last_failure.swap(Some(Arc::clone(&failure))));
        engine.call_janitor(Job::OpenerDone(Some(failure)));
    }
}

impl<D: Driver> Drop for Opener<D> {
    fn drop(&mut self) {
        self.fail(OpenFailure::Abandoned);
    }
}
