//! Acquire: at once if a connection is idle and nobody waits, otherwise by queueing.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout_at;

use super::clock::nanos;
use super::release::Condition;
use super::{Engine, EngineGrant, ensure_janitor, hint};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::gate::Joined;
use crate::handoff::{Entry, Grant, Left};
use crate::queue::Ticket;
use crate::slot::{Claim, Facts};

impl<D: Driver> Engine<D> {
    /// The fast path: an idle connection, if there is one and nobody waits.
    #[inline(always)] // see `AtOnceOr`
    pub(crate) fn acquire_at_once(&self) -> Option<Claim<D::Connection>> {
        let mut claim = self.core.claim_at_once(hint::get(self.core.table.id()))?;
        let slot = self.core.table.open(&mut claim);
        match self.condition_of(slot.facts, slot.connection) {
            Condition::Usable => {
                slot.facts.uses.set(slot.facts.uses.get() + 1);
                Some(claim)
            }
            other => self.acquire_another(claim, other),
        }
    }

    /// The connection broke or expired while it was idle: on to the next one.
    #[cold]
    fn acquire_another(&self, claim: Claim<D::Connection>, condition: Condition) -> Option<Claim<D::Connection>> {
        self.set_aside(claim, condition);
        self.acquire_at_once()
    }

    /// Offers an idle connection to the queue, if it is still good.
    pub(super) fn serve(&self, mut claim: Claim<D::Connection>) {
        let condition = self.condition(&mut claim);
        self.set_aside(claim, condition);
    }
}

/// Queues for a connection, for as long as `limit` or the pool's acquire timeout.
pub(crate) async fn acquire_slow<D: Driver>(
    engine: &Arc<Engine<D>>,
    limit: Option<Duration>,
) -> Result<Claim<D::Connection>, AcquireError> {
    let Ok(runtime) = Handle::try_current().map(|handle| handle.id()) else {
        return Err(AcquireError::NoRuntime { state: Box::new(engine.state()) });
    };
    let started = engine.clock.now();
    let limit = limit.map_or_else(|| engine.acquire_timeout.get(), nanos);
    let deadline = started.saturating_add(limit);
    let mut waiting = Waiting { engine, ticket: None, started, deadline, runtime, own_timer: false };
    // Owned across the awaits: `waiting`. Dropping it leaves the queue and passes on a grant that came first.
    let mut grant = poll_fn(|context| waiting.poll(context)).await;
    if grant.is_none() {
        let deadline = engine.clock.moment(deadline);
        grant = Box::pin(timeout_at(deadline, poll_fn(|context| waiting.poll(context)))).await.unwrap_or_default();
        // The timer and the grant may be due in the same instant; the grant wins.
        grant = grant.or_else(|| waiting.leave());
    }
    waiting.conclude(grant)
}

/// A caller's place in the queue.
///
/// Its time is kept by the janitor if that runs on the same runtime, which costs nothing here: the deadline is in the queue. A timer of
/// its own is for a caller on another runtime, because nobody promises that the janitor's is being driven.
struct Waiting<'a, D: Driver> {
    engine: &'a Arc<Engine<D>>,
    ticket: Option<Ticket>,
    started: u64,
    deadline: u64,
    runtime: tokio::runtime::Id,
    own_timer: bool,
}

impl<D: Driver> Waiting<'_, D> {
    /// The grant; or `None` if the caller has to keep the time from now on.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<EngineGrant<D>>> {
        if self.ticket.is_none() {
            return self.join(context);
        }
        match self.engine.core.look(&mut self.ticket, context.waker()) {
            None => self.rest(),
            // The one who kept the time has gone before it was over.
            Some(Grant::Expired) if self.engine.clock.now() < self.deadline => self.join(context),
            grant => Poll::Ready(grant),
        }
    }

    fn join(&mut self, context: &mut Context<'_>) -> Poll<Option<EngineGrant<D>>> {
        let engine = self.engine;
        // Before anything is counted: a waker is foreign code, and may panic.
        let waker = context.waker().clone();
        ensure_janitor(engine);
        let deadline = if self.needs_own_timer() { u64::MAX } else { self.deadline };
        let (entry, joined) = engine.core.join(waker, deadline, |claim| engine.serve(claim));
        match entry {
            Entry::Served(grant) => return Poll::Ready(Some(grant)),
            Entry::Queued(ticket) => self.ticket = Some(ticket),
        }
        if joined == Joined::Closed {
            return Poll::Ready(Some(self.leave().unwrap_or(Grant::Closed)));
        }
        if engine.alarm.advance(deadline) {
            engine.bell.notify_one();
        }
        engine.ask_for_openers();
        self.rest()
    }

    /// Nothing has come. Looks after those who are relied on to change that.
    fn rest(&mut self) -> Poll<Option<EngineGrant<D>>> {
        ensure_janitor(self.engine);
        if !self.own_timer && self.needs_own_timer() {
            self.own_timer = true;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn needs_own_timer(&self) -> bool {
        self.own_timer || !self.engine.janitor_is_on(self.runtime)
    }

    /// Leaves the queue, with the grant that came first, if one did.
    fn leave(&mut self) -> Option<EngineGrant<D>> {
        match self.engine.core.leave(self.ticket.take()?) {
            Left::Nothing => None,
            Left::Grant(grant) => Some(grant),
            Left::PassedOn(offered) => {
                self.engine.follow_up(offered);
                None
            }
        }
    }

    /// Turns the grant into an answer, and counts the wait.
    fn conclude(self, grant: Option<EngineGrant<D>>) -> Result<Claim<D::Connection>, AcquireError> {
        let engine = self.engine;
        let grant = grant.unwrap_or(Grant::Expired);
        if let Grant::Slot(claim) = grant {
            self.count_success(engine.core.table.facts(&claim));
            return Ok(claim);
        }
        let waited = self.waited();
        engine.events.count_wait(waited);
        Err(match grant {
            Grant::Closed => AcquireError::Closed,
            Grant::Failed if let Some(source) = engine.denial.load_full() => {
                AcquireError::OpenFailed { state: Box::new(engine.state()), source }
            }
            _ => {
                engine.events.timeouts.add(1);
                AcquireError::Timeout {
                    waited: Duration::from_nanos(waited),
                    state: Box::new(engine.state()),
                    source: engine.last_failure.load_full(),
                }
            }
        })
    }

    /// Written by the one who holds the slot, as everything that is counted about it.
    fn count_success(&self, facts: &Facts) {
        let waits = facts.waits.get();
        facts.uses.set(facts.uses.get() + 1);
        facts.waits.set(waits + 1);
        // Reading a clock costs as much as a hand-over: once there are many waits, one stands for several.
        let stands_for = if waits < ALL_MEASURED { 1 } else { SAMPLE };
        if waits.is_multiple_of(stands_for) {
            facts.wait_nanos.set(facts.wait_nanos.get() + self.waited() * stands_for);
        }
    }

    /// For how long, in nanoseconds.
    fn waited(&self) -> u64 {
        self.engine.clock.now().saturating_sub(self.started)
    }
}

/// How many waits for a slot are all measured.
const ALL_MEASURED: u64 = 256;
/// After these, one in so many.
const SAMPLE: u64 = 16;

impl<D: Driver> Drop for Waiting<'_, D> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        self.engine.events.cancelled.add(1);
        self.engine.events.count_wait(self.waited());
        if let Some(Grant::Slot(claim)) = self.leave() {
            self.engine.offer(claim);
        }
    }
}
