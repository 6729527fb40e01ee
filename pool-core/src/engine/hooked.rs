//! Calls of the service's hooks.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::acquire::Waiting;
use super::budget::within;
use super::clock::nanos;
use super::notes::Opened;
use super::panics::{caught, guarded, report};
use super::usual::Usual;
use super::want::Want;
use super::warnings::Warning;
use crate::attempt::Attempt;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::foreign::drop_quietly;
use crate::handoff::Grant;
use crate::hooks::{AnyHooks, ConnectionFacts, HandOut, HookError, HookFailure, HookPoint};
use crate::lifetime::RetireReason;
use crate::slot::{Claim, Facts, Vacancy};

/// The hooks, and where they are called.
pub(super) struct Hooked<C> {
    hooks: Arc<dyn AnyHooks<C>>,
    points: Vec<HookPoint>,
    /// How long the hook before the hand-out takes.
    usual: Usual,
}

/// What has become of a connection that was to be handed out.
pub(super) enum Prepared<C> {
    Ready(Claim<C>),
    Refused(HookFailure),
    Another,
}

/// A connection in the hands of a hook. Dropped before that has ended, it is closed: nobody knows in what state the hook left it.
struct Preparing<'a, D: Driver> {
    engine: &'a Engine<D>,
    claim: Claim<D::Connection>,
}

impl<D: Driver> Drop for Preparing<'_, D> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.engine.retire(claim, RetireReason::Broken);
        }
    }
}

impl<C: Send + 'static> Hooked<C> {
    pub(super) fn new(hooks: Arc<dyn AnyHooks<C>>) -> Self {
        let points = caught(|| hooks.points().to_vec()).unwrap_or_else(|message| {
            report(|| tracing::error!(panic = message, "asking for the points of hooks panicked; none is called"));
            Vec::new()
        });
        Self { hooks, points, usual: Usual::default() }
    }

    fn budget(&self, point: HookPoint) -> Duration {
        caught(|| self.hooks.timeout(point)).unwrap_or_default()
    }

    /// Waits for a hook, within its budget. It is called in the future: that may panic, too.
    async fn call<T>(&self, point: HookPoint, most: Duration, hook: impl Future<Output = T>) -> Result<T, HookFailure> {
        let after = self.budget(point).min(most);
        // Owned across the await: nothing. What the hook has in its hands is the caller's.
        match guarded(within(after, hook)).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(HookFailure::TimedOut { point, after }),
            Err(message) => Err(HookFailure::Panicked { point, message }),
        }
    }

    async fn call_fallible(
        &self,
        point: HookPoint,
        hook: impl Future<Output = Result<(), HookError>>,
    ) -> Result<(), HookFailure> {
        let outcome = self.call(point, Duration::MAX, hook).await?;
        outcome.map_err(|source| HookFailure::Failed { point, source })
    }
}

impl<D: Driver> Engine<D> {
    /// The hooks, if they are to be called here.
    #[inline]
    pub(super) fn hooks_at(&self, point: HookPoint) -> Option<&Hooked<D::Connection>> {
        self.hooked.as_ref().filter(|hooked| hooked.points.contains(&point))
    }

    /// Whether connections have to be looked at whenever they are handed out and come back.
    pub(super) fn is_hooked(&self) -> bool {
        self.hooks_at(HookPoint::BeforeHandOut).is_some() || self.hooks_at(HookPoint::OnRelease).is_some()
    }

    /// Before a connection is opened.
    pub(super) async fn before_open(&self, attempt: &Attempt) -> Result<(), HookFailure> {
        let Some(hooked) = self.hooks_at(HookPoint::BeforeOpen) else { return Ok(()) };
        attempt.hook("the hook before the open");
        hooked.call_fallible(HookPoint::BeforeOpen, async { hooked.hooks.before_open().await }).await?;
        attempt.opening("");
        Ok(())
    }

    /// When one has been opened that is to come into this vacancy. If that fails it is closed.
    pub(super) async fn after_open(
        &self,
        mut connection: D::Connection,
        id: ConnectionId,
        attempt: &Attempt,
    ) -> Result<D::Connection, HookFailure> {
        let Some(hooked) = self.hooks_at(HookPoint::AfterOpen) else { return Ok(connection) };
        attempt.hook("the hook after the open");
        let facts = self.facts_of(id, &connection, None);
        // Owned across the awaits: the connection. Dropping it closes it.
        let hook = async { hooked.hooks.after_open(&mut connection, &facts).await };
        match hooked.call_fallible(HookPoint::AfterOpen, hook).await {
            Ok(()) => {
                self.approve(&mut connection);
                Ok(connection)
            }
            Err(failure) => {
                self.driver.close(connection).await;
                Err(failure)
            }
        }
    }

    /// Before one is handed out, in the future of its caller, who has so much time left.
    pub(super) async fn prepare(&self, claim: Claim<D::Connection>, left: Duration) -> Prepared<D::Connection> {
        let Some(hooked) = self.hooks_at(HookPoint::BeforeHandOut) else { return Prepared::Ready(claim) };
        let facts = self.facts_of_claim(&claim);
        let mut preparing = Preparing { engine: self, claim };
        let connection = self.core.table.get_mut(&mut preparing.claim);
        // Owned across the await: `preparing`. Dropping it closes the connection.
        let hook = async { hooked.hooks.before_hand_out(connection, &facts).await };
        let (point, begun) = (HookPoint::BeforeHandOut, self.clock.now());
        // The clock may have jumped meanwhile.
        let most = nanos(hooked.budget(point));
        let took = || self.clock.now().saturating_sub(begun).min(most);
        let answer = match hooked.call(point, left, hook).await {
            Ok(answer) => {
                hooked.usual.note(took());
                answer
            }
            Err(failure) => {
                if matches!(failure, HookFailure::TimedOut { .. }) {
                    hooked.usual.note_at_least(took());
                }
                return Prepared::Refused(failure);
            }
        };
        match answer {
            HandOut::Use => match preparing.claim.take() {
                Some(claim) => Prepared::Ready(claim),
                None => Prepared::Another,
            },
            HandOut::Refuse(source) => {
                preparing.claim.take().into_iter().for_each(|claim| self.release(claim));
                Prepared::Refused(HookFailure::Failed { point, source })
            }
            HandOut::CloseAndRefuse(source) => Prepared::Refused(HookFailure::Failed { point, source }),
            HandOut::CloseAndTryAnother => Prepared::Another,
        }
    }

    /// Whether so many nanoseconds may be too few for the hook before the hand-out: it would cost the connection.
    pub(super) fn is_short_for_hook(&self, left: u64) -> bool {
        self.hooks_at(HookPoint::BeforeHandOut).is_some_and(|hooked| hooked.usual.is_short(left))
    }

    /// How long the hook before the hand-out takes, or a conversion if there is to be one, if that is more than so many nanoseconds.
    pub(crate) fn takes_more_than(&self, left: u64, converts: bool) -> Option<u64> {
        let hook = self.hooks_at(HookPoint::BeforeHandOut).and_then(|hooked| hooked.usual.more_than(left));
        hook.or_else(|| if converts { self.usual_convert.more_than(left) } else { None })
    }

    /// When one has come back and is in order.
    pub(super) async fn on_release(
        &self,
        connection: &mut D::Connection,
        facts: &ConnectionFacts,
    ) -> Result<(), HookFailure> {
        let Some(hooked) = self.hooks_at(HookPoint::OnRelease) else { return Ok(()) };
        // Owned across the await: nothing. The connection is in the hands of whoever calls.
        hooked.call_fallible(HookPoint::OnRelease, async { hooked.hooks.on_release(connection, facts).await }).await?;
        self.approve(connection);
        Ok(())
    }

    /// What a hook has left in a session is meant to be there.
    fn approve(&self, connection: &mut D::Connection) {
        if let Err(message) = caught(|| self.driver.approve(connection)) {
            self.panicked(Warning::Approve, &message, "approving what a hook has done panicked");
        }
    }

    /// Before one is closed.
    pub(super) async fn before_close(&self, connection: &mut D::Connection, facts: &ConnectionFacts) {
        let Some(hooked) = self.hooks_at(HookPoint::BeforeClose) else { return };
        let hook = async { hooked.hooks.before_close(connection, facts).await };
        if let Err(failure) = hooked.call(HookPoint::BeforeClose, Duration::MAX, hook).await {
            self.warn(Warning::SlowClose, |suppressed| {
                tracing::warn!(%failure, suppressed, "a connection is closed without its hook");
            });
            drop_quietly(failure);
        }
    }

    /// What is known about a connection that somebody has.
    pub(super) fn facts_of_claim(&self, claim: &Claim<D::Connection>) -> ConnectionFacts {
        let (connection, facts) = (self.core.table.get(claim), self.core.table.facts(claim));
        self.facts_of(self.id(claim), connection, Some(facts))
    }

    fn facts_of(&self, id: ConnectionId, connection: &D::Connection, facts: Option<&Facts>) -> ConnectionFacts {
        let host = caught(|| self.driver.host(connection).map(str::to_owned)).unwrap_or_default();
        let now = self.epoch.get();
        let tags = facts.map(|facts| self.tags.of(facts.index())).unwrap_or_default();
        let (age, uses, idle) = facts.map_or_else(Default::default, |facts| {
            let since = |epoch: u64| Duration::from_millis(now.saturating_sub(epoch));
            let opened = self.notes.opened(facts).unwrap_or(Opened { at: now, uses: facts.uses.get() });
            (since(opened.at), facts.uses.get() - opened.uses, since(facts.released_at.get()))
        });
        ConnectionFacts { id, age, uses, idle, host, tags }
    }

    /// The name of the connection that comes into this vacancy.
    pub(super) fn id_in(&self, vacancy: &Vacancy) -> ConnectionId {
        let (slot, life) = self.core.table.next_life(vacancy);
        ConnectionId { pool: self.core.table.id(), slot, life }
    }
}

/// # What becomes of somebody who waits
impl<D: Driver, W: Want<D::Connection>> Waiting<'_, D, W> {
    /// What comes of a hook; `None` if there is to be another connection, and time for it.
    pub(super) fn take_prepared(
        &mut self,
        prepared: Prepared<D::Connection>,
    ) -> Option<Result<W::Taken, AcquireError>> {
        match prepared {
            Prepared::Ready(claim) => Some(self.conclude(Grant::Slot(claim))),
            Prepared::Another => {
                self.refused += 1;
                self.take_another()
            }
            Prepared::Refused(failure) => Some(Err(self.fail(failure))),
        }
    }

    /// `None` if there is to be another one. Not for ever: each costs a connection, and a hook that likes none of as many as there can be likes none at all.
    fn take_another(&self) -> Option<Result<W::Taken, AcquireError>> {
        let refused = self.refused;
        if refused > self.engine.config.load().max_size {
            return Some(Err(self.fail(HookFailure::LikesNone { refused })));
        }
        if self.engine.clock.now() < self.deadline { None } else { Some(self.conclude(Grant::Expired)) }
    }

    #[cold]
    fn fail(&self, failure: HookFailure) -> AcquireError {
        let waited = self.waited();
        self.count_end(waited, |events| &events.failed);
        AcquireError::Hook { situation: self.engine.situation(waited), failure: Arc::new(failure) }
    }
}
