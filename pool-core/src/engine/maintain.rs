//! Reset, ping and close: one task each, with its own budget, so that one frozen backend holds up nobody else.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::budget::within;
use super::clock::nanos;
use super::panics::{guarded, report};
use super::release::{Condition, Occasion};
use super::warnings::Warning;
use crate::driver::Driver;
use crate::failure::{Chain, OneLine};
use crate::foreign::drop_quietly;
use crate::hooks::{ConnectionFacts, HookPoint};
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Vacancy};

/// How long those who wait rely on a check, unless it has to answer before: then another connection is opened beside it, or checked.
const MOMENT: Duration = Duration::from_millis(100);

/// A connection in the hands of a background task. Dropped before the task has decided, it is closed: nobody knows
/// in what state the call left it.
pub(super) struct Tended<D: Driver> {
    engine: Arc<Engine<D>>,
    claim: Claim<D::Connection>,
    /// What those who wait know of it, if they do.
    check: Option<Check>,
}

/// A check before a hand-over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Those who wait rely on it.
    Promising,
    /// It should have answered by now.
    Late,
    /// It was not to be made.
    Spared,
}

impl<D: Driver> Tended<D> {
    pub(super) fn new(engine: &Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        engine.core.table.show_resetting(&claim);
        Self { engine: Arc::clone(engine), claim, check: None }
    }

    /// As `new`, for a connection that is [checked](Engine::checks) before it is handed out.
    pub(super) fn to_be_checked(engine: &Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        let mut tended = Self::new(engine, claim);
        tended.check = Some(Check::Promising);
        tended
    }

    /// Resets a dirty session and gives the connection back.
    pub(super) async fn reset(mut self) {
        // Owned across the await: `self`. Dropping it closes the connection.
        if self.tidy().await {
            self.give_back();
        }
    }

    /// Resets the session of a connection that has come back, if it is dirty, and calls the hook.
    pub(super) async fn release(mut self) {
        let condition = self.engine.condition(&mut self.claim, Occasion::Round);
        // Not looked at again: whoever asks twice may be told that it stays, which no hook has seen then.
        if let Condition::Retired(reason) = condition {
            return self.retire(reason);
        }
        // Owned across the awaits: `self`. Dropping it closes the connection.
        if condition == Condition::Dirty && !self.tidy().await {
            return;
        }
        let engine = Arc::clone(&self.engine);
        let facts = engine.facts_of_claim(&self.claim);
        match engine.on_release(engine.core.table.get_mut(&mut self.claim), &facts).await {
            Ok(()) => self.give_back(),
            Err(failure) => {
                self.engine.count_failure("reset");
                self.engine.warn(Warning::Unfit, |suppressed| {
                    tracing::warn!(%failure, suppressed, "the connection will be closed");
                });
                drop_quietly(failure);
            }
        }
    }

    async fn tidy(&mut self) -> bool {
        let budget = self.engine.config.load().reset_timeout;
        let engine = Arc::clone(&self.engine);
        let connection = engine.core.table.get_mut(&mut self.claim);
        // Owned across the await: the connection, by whoever has `self`.
        let outcome = guarded(within(budget, async { engine.driver.reset(connection).await })).await;
        let is_reset = self.succeeded("reset", budget, outcome);
        if is_reset {
            engine.drop_what_is_reset(&self.claim);
        }
        is_reset
    }

    /// Asks an idle connection for a sign of life and gives it back.
    pub(super) async fn ping(mut self) {
        let engine = Arc::clone(&self.engine);
        if engine.core.gate().glance().is_paused() {
            return self.spare();
        }
        let config = engine.config.load_full();
        let budget = if self.check.is_some() { config.check_timeout } else { config.health_check_timeout };
        let started = engine.clock.now();
        let outcome = {
            let connection = engine.core.table.get_mut(&mut self.claim);
            let mut ping = pin!(guarded(within(budget, async { engine.driver.ping(connection).await })));
            // Owned across the awaits: `self`. Dropping it closes the connection.
            let soon = if self.check.is_some() { timeout(MOMENT.min(budget / 10), &mut ping).await.ok() } else { None };
            if soon.is_none() && self.check.is_some() {
                self.check = Some(Check::Late);
                engine.note_late_check();
            }
            match soon {
                Some(outcome) => outcome,
                None => ping.await,
            }
        };
        let took = engine.clock.now().saturating_sub(started);
        engine.measures.check.note(took, 1);
        engine.usual_check.note(took.min(nanos(budget)));
        if self.succeeded("ping", budget, outcome) {
            engine.was_answered();
            self.give_back();
        }
    }

    /// Gives the connection back as it is: in a pause nothing is pinged.
    fn spare(&mut self) {
        self.check = self.check.map(|_| Check::Spared);
        if let Some(claim) = self.claim.take() {
            self.engine.core.table.show_leased(&claim);
            self.engine.put_back(claim);
        }
    }

    /// Whether a call has; if not, why not is told.
    fn succeeded<E>(
        &self,
        what: &'static str,
        budget: Duration,
        outcome: Result<Result<Result<(), D::Error>, E>, String>,
    ) -> bool {
        match outcome {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => {
                self.engine.write_down(what, &format_args!("{what} failed: {}", Chain(&error)));
                report(|| tracing::debug!(%error, "{what} failed; the connection will be closed"));
            }
            Ok(Err(_)) => {
                self.engine.write_down(what, &format_args!("{what} took longer than {budget:?}"));
                self.engine.warn(Warning::Unfit, |suppressed| {
                    tracing::warn!(?budget, suppressed, "{what} took too long; the connection will be closed");
                });
            }
            Err(message) => {
                self.engine.write_down(what, &format_args!("{what} panicked: {}", OneLine(&message)));
                let text = format!("{what} panicked; the connection will be closed");
                self.engine.panicked(Warning::LookAfter, &message, &text);
            }
        }
        self.engine.count_failure(what);
        false
    }

    fn retire(&mut self, reason: RetireReason) {
        self.claim.take().into_iter().for_each(|claim| self.engine.retire(claim, reason));
    }

    fn give_back(&mut self) {
        let engine = &self.engine;
        match engine.condition(&mut self.claim, Occasion::Round) {
            Condition::Usable => {}
            // Still, or still not.
            Condition::Dirty
            | Condition::Unchecked
            | Condition::Unprepared
            | Condition::Returned
            | Condition::Tagged => return,
            Condition::Retired(reason) => return self.retire(reason),
        }
        if let Some(claim) = self.claim.take() {
            let facts = engine.core.table.facts(&claim);
            facts.checked_at.set(engine.epoch.get());
            engine.trust(facts);
            engine.core.table.show_leased(&claim);
            engine.offer(claim);
        }
    }
}

impl<D: Driver> Drop for Tended<D> {
    fn drop(&mut self) {
        let failed = self.claim.take().map(|claim| self.engine.retire(claim, RetireReason::Broken)).is_some();
        let Some(check) = self.check else { return };
        self.engine.checks.leave();
        match check {
            _ if failed => self.engine.doubtful.raise(),
            Check::Spared => {}
            _ => self.engine.doubtful.lower(),
        }
        if check == Check::Late {
            self.engine.late_checks.leave();
        }
        // Those for whom it was not enough.
        self.engine.bell.notify_one();
    }
}

impl<D: Driver> Engine<D> {
    /// A check should have answered by now: those who wait do not rely on it any more.
    fn note_late_check(&self) {
        self.late_checks.enter();
        self.doubtful.raise();
        self.bell.notify_one();
    }
}

/// A slot whose connection is being closed. It stays taken until the driver says that the backend has let go, or
/// until the budget is over: the backend never sees more than `max_size` connections.
pub(super) struct Closing<D: Driver> {
    engine: Arc<Engine<D>>,
    vacancy: Option<Vacancy>,
    /// Until the driver has it.
    connection: Option<D::Connection>,
    /// For the hook, if there is one.
    facts: Option<ConnectionFacts>,
}

impl<D: Driver> Closing<D> {
    /// Takes the connection out of its slot.
    pub(super) fn new(engine: &Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        let facts = engine.hooks_at(HookPoint::BeforeClose).map(|_| engine.facts_of_claim(&claim));
        engine.forget(&claim);
        let (connection, vacancy) = engine.core.table.take(claim);
        Self { engine: Arc::clone(engine), vacancy: Some(vacancy), connection: Some(connection), facts }
    }

    /// Closes the connection and frees the slot.
    pub(super) async fn close(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (engine, facts) = (&self.engine, self.facts.take());
        let budget = engine.config.load().close_timeout;
        // Owned across the await: the connection, by the call, and the slot, by `self`. Dropping both closes and frees.
        let closing = async {
            if let Some(facts) = facts {
                engine.before_close(&mut connection, &facts).await;
            }
            engine.driver.close(connection).await;
        };
        match guarded(within(budget, closing)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => engine.warn(Warning::SlowClose, |suppressed| {
                tracing::warn!(?budget, suppressed, "close took too long; the connection was dropped");
            }),
            Err(message) => engine.panicked(Warning::Close, &message, "close panicked"),
        }
    }
}

impl<D: Driver> Drop for Closing<D> {
    fn drop(&mut self) {
        // Before the slot is free, for a task that has never been polled: the backend has to let go first.
        drop_quietly(self.connection.take());
        if let Some(vacancy) = self.vacancy.take() {
            self.engine.core.table.publish_closed(vacancy);
            self.engine.end_leaving();
            // There is room now, and a closing pool may be done.
            self.engine.bell.notify_one();
            self.engine.tell();
        }
    }
}
