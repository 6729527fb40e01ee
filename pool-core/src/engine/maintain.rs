//! Reset, ping and close: one task each, with its own budget, so that one frozen backend holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::panics::{guarded, report};
use super::release::Condition;
use crate::driver::Driver;
use crate::foreign::drop_quietly;
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Vacancy};

/// A connection in the hands of a background task. Dropped before the task has decided, it is closed: nobody knows
/// in what state the call left it.
pub(super) struct Tended<D: Driver> {
    engine: Arc<Engine<D>>,
    claim: Claim<D::Connection>,
}

impl<D: Driver> Tended<D> {
    pub(super) fn new(engine: &Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        engine.core.table.show_resetting(&claim);
        Self { engine: Arc::clone(engine), claim }
    }

    /// Resets a dirty session and gives the connection back.
    pub(super) async fn reset(mut self) {
        let budget = self.engine.config.load().reset_timeout;
        let engine = Arc::clone(&self.engine);
        let connection = engine.core.table.get_mut(&mut self.claim);
        // Owned across the await: `self`. Dropping it closes the connection.
        let outcome = guarded(timeout(budget, async { engine.driver.reset(connection).await })).await;
        self.finish("reset", budget, outcome);
    }

    /// Asks an idle connection for a sign of life and gives it back.
    pub(super) async fn ping(mut self) {
        let budget = self.engine.config.load().health_check_timeout;
        let engine = Arc::clone(&self.engine);
        let connection = engine.core.table.get_mut(&mut self.claim);
        // Owned across the await: `self`. Dropping it closes the connection.
        let outcome = guarded(timeout(budget, async { engine.driver.ping(connection).await })).await;
        self.finish("ping", budget, outcome);
    }

    fn finish<E>(&mut self, what: &str, budget: Duration, outcome: Result<Result<Result<(), D::Error>, E>, String>) {
        match outcome {
            Ok(Ok(Ok(()))) => self.give_back(),
            Ok(Ok(Err(error))) => report(|| tracing::debug!(%error, "{what} failed; the connection will be closed")),
            Ok(Err(_)) => report(|| tracing::warn!(?budget, "{what} took too long; the connection will be closed")),
            Err(message) => report(|| tracing::error!(message, "{what} panicked; the connection will be closed")),
        }
    }

    fn give_back(&mut self) {
        let engine = &self.engine;
        if engine.condition(&mut self.claim) == Condition::Usable
            && let Some(claim) = self.claim.take()
        {
            engine.core.table.facts(&claim).checked_at.set(engine.epoch.get());
            engine.core.table.show_leased(&claim);
            engine.offer(claim);
        }
    }
}

impl<D: Driver> Drop for Tended<D> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.engine.retire(claim, RetireReason::Broken);
        }
    }
}

/// A slot whose connection is being closed. It stays taken until the driver says that the backend has let go, or
/// until the budget is over: the backend never sees more than `max_size` connections.
pub(super) struct Closing<D: Driver> {
    engine: Arc<Engine<D>>,
    vacancy: Option<Vacancy>,
    /// Until the driver has it.
    connection: Option<D::Connection>,
}

impl<D: Driver> Closing<D> {
    /// Takes the connection out of its slot.
    pub(super) fn new(engine: &Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        let (connection, vacancy) = engine.core.table.take(claim);
        Self { engine: Arc::clone(engine), vacancy: Some(vacancy), connection: Some(connection) }
    }

    /// Closes the connection and frees the slot.
    pub(super) async fn close(mut self) {
        let Some(connection) = self.connection.take() else { return };
        let engine = &self.engine;
        let budget = engine.config.load().close_timeout;
        // Owned across the await: the connection, by the call, and the slot, by `self`. Dropping both closes and frees.
        match guarded(timeout(budget, async { engine.driver.close(connection).await })).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => report(|| tracing::warn!(?budget, "close took too long; the connection was dropped")),
            Err(message) => report(|| tracing::error!(message, "close panicked")),
        }
    }
}

impl<D: Driver> Drop for Closing<D> {
    fn drop(&mut self) {
        // Before the slot is free, for a task that has never been polled: the backend has to let go first.
        drop_quietly(self.connection.take());
        if let Some(vacancy) = self.vacancy.take() {
            self.engine.core.table.publish_closed(vacancy);
            self.engine.core.capacity.closed();
            // There is room now, and a closing pool may be done.
            self.engine.bell.notify_one();
        }
    }
}
