//! Acquire: at once if a connection is idle and nobody waits, otherwise by queueing.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::release::Condition;
use super::{Engine, EngineGrant, ensure_janitor, hint};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::gate::Joined;
use crate::handoff::Grant;
use crate::queue::Ticket;
use crate::slot::Claim;

impl<D: Driver> Engine<D> {
    /// The fast path: an idle connection, if there is one and nobody waits.
    #[inline]
    pub(crate) fn acquire_at_once(&self) -> Option<Claim<D::Connection>> {
        loop {
            let mut claim = self.core.claim_at_once(hint::get(self.core.table.id()))?;
            match self.condition(&mut claim) {
                Condition::Usable => return Some(self.leased(claim)),
                // It broke or expired while it was idle: on to the next one.
                other => self.set_aside(claim, other),
            }
        }
    }

    /// Counts one more use of a connection that goes to a caller.
    #[inline]
    fn leased(&self, claim: Claim<D::Connection>) -> Claim<D::Connection> {
        let uses = &self.core.table.facts(claim.index()).uses;
        uses.set(uses.get() + 1);
        claim
    }

    /// Offers an idle connection to the queue, if it is still good.
    fn serve(&self, mut claim: Claim<D::Connection>) {
        let condition = self.condition(&mut claim);
        self.set_aside(claim, condition);
    }
}

/// Queues for a connection, for as long as `limit` or the pool's acquire timeout.
pub(crate) async fn acquire_slow<D: Driver>(
    engine: &Arc<Engine<D>>,
    limit: Option<Duration>,
) -> Result<Claim<D::Connection>, AcquireError> {
    if Handle::try_current().is_err() {
        return Err(AcquireError::NoRuntime { state: engine.state() });
    }
    let limit = limit.unwrap_or_else(|| engine.config.load().acquire_timeout);
    let mut waiting = Waiting { engine, ticket: None, started: Instant::now(), counted: false };
    // Owned across the await: `waiting`. Dropping it leaves the queue and passes on a grant that came first.
    let in_time = timeout(limit, poll_fn(|context| waiting.poll(context))).await;
    // The timer and the grant may be due in the same instant; the grant wins.
    let grant = in_time.ok().or_else(|| waiting.leave());
    if grant.is_none() {
        engine.events.timeouts.add(1);
    }
    match grant {
        Some(Grant::Slot(claim)) => Ok(engine.leased(claim)),
        Some(Grant::Closed) => Err(AcquireError::Closed),
        Some(Grant::Failed(source)) => Err(AcquireError::OpenFailed { state: engine.state(), source }),
        None => Err(AcquireError::Timeout {
            waited: waiting.started.elapsed(),
            state: engine.state(),
            source: engine.last_failure.load_full(),
        }),
    }
}

/// A caller's place in the queue.
struct Waiting<'a, D: Driver> {
    engine: &'a Arc<Engine<D>>,
    ticket: Option<Ticket>,
    started: Instant,
    /// Whether the wait has been counted, which happens once, when it ends.
    counted: bool,
}

impl<D: Driver> Waiting<'_, D> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<EngineGrant<D>> {
        let Some(ticket) = &self.ticket else { return self.join(context) };
        let Some(grant) = self.engine.core.poll(ticket, context.waker()) else {
            // Woken for nothing: the janitor may have ended with its runtime.
            ensure_janitor(self.engine);
            return Poll::Pending;
        };
        self.ticket = None;
        self.count();
        Poll::Ready(grant)
    }

    fn join(&mut self, context: &mut Context<'_>) -> Poll<EngineGrant<D>> {
        let engine = self.engine;
        let (ticket, joined) = engine.core.join(context.waker().clone(), |claim| engine.serve(claim));
        self.ticket = Some(ticket);
        if joined == Joined::Closed {
            if let Some(Grant::Slot(claim)) = self.leave() {
                engine.offer(claim);
            }
            return Poll::Ready(Grant::Closed);
        }
        ensure_janitor(engine);
        engine.ask_for_openers();
        self.poll(context)
    }

    /// Leaves the queue, with the grant that came first, if one did.
    fn leave(&mut self) -> Option<EngineGrant<D>> {
        let ticket = self.ticket.take()?;
        self.count();
        self.engine.core.leave(ticket)
    }

    fn count(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.engine.events.waited.add(1);
            self.engine.events.wait_nanos.add(nanos);
        }
    }
}

impl<D: Driver> Drop for Waiting<'_, D> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        self.engine.events.cancelled.add(1);
        if let Some(Grant::Slot(claim)) = self.leave() {
            self.engine.offer(claim);
        }
    }
}
