//! The janitor: one background task per pool that hands out all other background work and never does any itself.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::maintain::{Closing, Tended};
use super::panics::wake;
use super::random::random;
use super::release::Condition;
use super::{Engine, Job};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::driver::{Driver, ErrorClass};
use crate::error::OpenFailure;
use crate::handoff::Grant;
use crate::lifetime::{IdleFacts, RetireReason, Verdict, judge, maintenance_interval, millis};
use crate::queue::Resumed;
use crate::slot::Claim;

/// Starts a janitor on the current runtime unless one runs, there is no runtime, or there is nothing left to do.
///
/// A janitor ends with its runtime. The next caller that has to wait starts another one, which takes over what the last one left.
pub(crate) fn ensure_janitor<D: Driver>(engine: &Arc<Engine<D>>) {
    if engine.janitor.is_taken() || engine.all_closed.is_cancelled() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    if engine.janitor.occupy() {
        // Made before the spawn: a runtime that is shutting down drops the task unpolled, and the seat must become free then.
        let duty = Duty(Arc::clone(engine));
        runtime.spawn(Janitor::new(duty).run());
    }
}

/// The janitor's seat, left on drop.
struct Duty<D: Driver>(Arc<Engine<D>>);

impl<D: Driver> Drop for Duty<D> {
    fn drop(&mut self) {
        let Self(engine) = self;
        engine.janitor.leave();
        engine.janitor_left.notify_waiters();
        // Those who wait on another runtime start the next janitor.
        engine.core.take_wakers().into_iter().for_each(|waker| wake(Some(waker)));
    }
}

/// What came of a look at an idle connection.
#[derive(PartialEq, Eq)]
enum Attended {
    Kept,
    Retired,
}

struct Janitor<D: Driver> {
    duty: Duty<D>,
    backoff: Backoff,
    /// No attempt to open a connection starts before.
    open_not_before: Instant,
    /// When to look after the idle connections next.
    next_round: Instant,
    started: Instant,
    /// The epoch when this janitor started: an epoch never goes back, even if the clock of another runtime does.
    first_epoch: u64,
}

impl<D: Driver> Janitor<D> {
    fn new(duty: Duty<D>) -> Self {
        let (now, first_epoch) = (Instant::now(), duty.0.epoch.get());
        Self { duty, backoff: Backoff::default(), open_not_before: now, next_round: now, started: now, first_epoch }
    }

    async fn run(mut self) {
        loop {
            self.drain_jobs();
            self.make_round();
            self.start_openers();
            if self.is_done() {
                self.duty.0.all_closed.cancel();
                return;
            }
            // Owned across the await: the seat, by `self.duty`. What the janitor has dispatched lives in tasks of its own.
            let _ = timeout_at(self.next_wake_up(), self.duty.0.bell.notified()).await;
        }
    }

    fn drain_jobs(&mut self) {
        while let Some(job) = self.duty.0.jobs.pop() {
            match job {
                Job::Close(claim) => self.close(claim),
                Job::Reset(claim) => drop(tokio::spawn(Tended::new(&self.duty.0, claim).reset())),
                Job::OpenerDone(None) => self.backend_recovered(),
                Job::OpenerDone(Some(failure)) => self.backend_failed(&failure),
            }
        }
    }

    fn close(&self, claim: Claim<D::Connection>) {
        let (closing, connection) = Closing::new(&self.duty.0, claim);
        drop(tokio::spawn(closing.close(connection)));
    }

    fn backend_recovered(&mut self) {
        let failures = self.backoff.failures();
        if failures > 0 {
            tracing::info!(failures, "connections can be opened again");
        }
        self.backoff.succeeded();
        self.open_not_before = Instant::now();
    }

    fn backend_failed(&mut self, failure: &Arc<OpenFailure>) {
        let engine = &self.duty.0;
        let pause = self.backoff.failed(&engine.config.load(), random());
        self.open_not_before = Instant::now() + pause;
        if self.backoff.is_notable() {
            tracing::warn!(error = %failure, failures = self.backoff.failures(), ?pause, "could not open a connection");
        }
        let counts = engine.core.table.counts();
        let nobody_returns = counts.idle + counts.leased + counts.resetting == 0;
        if failure.class() == ErrorClass::Permanent && nobody_returns {
            self.deny_waiters(failure);
        }
    }

    /// Tells everybody who waits now why there is no connection, instead of letting each find out by its timeout.
    fn deny_waiters(&self, failure: &Arc<OpenFailure>) {
        let core = &self.duty.0.core;
        for _ in 0..core.gate.glance().waiting {
            match core.deny(Grant::Failed(Arc::clone(failure))) {
                Some(Resumed::Delivered(waker)) => wake(waker),
                Some(Resumed::Refused(_)) => {}
                None => return,
            }
        }
    }

    /// Advances the epoch and looks after every idle connection, the coldest first.
    fn make_round(&mut self) {
        let engine = Arc::clone(&self.duty.0);
        let now = Instant::now();
        engine.epoch.set(self.first_epoch + millis(now - self.started));
        let closed = engine.core.gate.look_after_publishing().closed;
        if now < self.next_round && !closed {
            return;
        }
        let config = engine.config.load();
        self.next_round = now + maintenance_interval(&config);
        let counts = engine.core.table.counts();
        let mut surplus =
            (counts.opening + counts.idle + counts.leased + counts.resetting).saturating_sub(config.min_size);
        for index in (0..engine.core.table.size()).rev() {
            // Claimed first, judged after: the slot may have been used since it was last looked at.
            if let Some(claim) = engine.core.table.claim_at(index)
                && self.attend(claim, closed, surplus > 0, &config) == Attended::Retired
            {
                surplus = surplus.saturating_sub(1);
            }
        }
    }

    /// Does what an idle connection needs.
    fn attend(&self, mut claim: Claim<D::Connection>, closed: bool, surplus: bool, config: &Config) -> Attended {
        let engine = &self.duty.0;
        let condition = engine.condition(&mut claim);
        let verdict = match condition {
            _ if closed => Verdict::Retire(RetireReason::Closed),
            Condition::Usable => judge(self.idle_facts(claim.index(), surplus), engine.epoch.get(), config),
            _ => Verdict::Keep,
        };
        match verdict {
            Verdict::Keep => engine.set_aside(claim, condition),
            Verdict::Ping => drop(tokio::spawn(Tended::new(engine, claim).ping())),
            Verdict::Retire(reason) => {
                engine.retire(claim, reason);
                return Attended::Retired;
            }
        }
        Attended::Kept
    }

    fn idle_facts(&self, index: usize, surplus: bool) -> IdleFacts {
        let facts = self.duty.0.core.table.facts(index);
        let (released_at, checked_at, expires_at) =
            (facts.released_at.get(), facts.checked_at.get(), facts.expires_at.get());
        IdleFacts { released_at, checked_at, expires_at, surplus }
    }

    fn start_openers(&mut self) {
        if Instant::now() < self.open_not_before {
            return;
        }
        let config = self.duty.0.config.load();
        while let Some(opener) = self.duty.0.reserve_opener(&config, self.backoff.openers(&config)) {
            drop(tokio::spawn(opener.run()));
        }
    }

    /// Whether the pool is closed and nothing is open. Only the janitor opens, so nothing will be.
    fn is_done(&self) -> bool {
        let core = &self.duty.0.core;
        core.gate.glance().closed && core.capacity.read().open == 0
    }

    fn next_wake_up(&self) -> Instant {
        let now = Instant::now();
        if self.open_not_before > now { self.next_round.min(self.open_not_before) } else { self.next_round }
    }
}
