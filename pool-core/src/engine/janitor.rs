//! The janitor: one background task per pool that hands out all other background work and never does any itself.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};

use super::maintain::{Closing, Tended};
use super::panics::{report, wake};
use super::random::random;
use super::release::Condition;
use super::{Engine, Job};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::driver::{Driver, ErrorClass};
use crate::error::OpenFailure;
use crate::foreign::drop_quietly;
use crate::handoff::{Denial, Denied};
use crate::lifetime::{IdleFacts, RetireReason, Verdict, judge, maintenance_interval, millis};
use crate::slot::Claim;

/// Starts a janitor on the current runtime unless one runs, there is no runtime, or there is nothing left to do.
///
/// # Panics
///
/// In a runtime without a timer.
///
/// A janitor ends with its runtime. The next caller that has to wait starts another one, which takes over what the last one left.
pub(crate) fn ensure_janitor<D: Driver>(engine: &Arc<Engine<D>>) {
    if engine.janitor.is_taken() || engine.all_closed.is_cancelled() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    // Panics in a runtime without a timer: here and now, and not in the janitor, whose panic nobody would see.
    drop(sleep(Duration::ZERO));
    if !accepts_tasks(&runtime) {
        return;
    }
    if engine.janitor.occupy(runtime_key(runtime.id())) {
        // Made before the spawn: a runtime that is shutting down drops the task unpolled, and the seat must become free then.
        let duty = Duty(Arc::clone(engine));
        runtime.spawn(Janitor::new(duty).run());
    }
}

/// Whether the runtime has not begun to end. A janitor that is dropped where it was spawned would call those who wait for one, who spawn the next one.
fn accepts_tasks(runtime: &Handle) -> bool {
    let probe = runtime.spawn(std::future::pending::<()>());
    let accepted = !probe.is_finished();
    probe.abort();
    accepted
}

impl<D: Driver> Engine<D> {
    /// Whether a janitor runs on this runtime.
    pub(super) fn janitor_is_on(&self, runtime: tokio::runtime::Id) -> bool {
        self.janitor.occupant() == runtime_key(runtime)
    }
}

/// A number for a runtime, not 0. That two have the same one does no harm: a caller then relies on the janitor for its time.
fn runtime_key(runtime: tokio::runtime::Id) -> u64 {
    BuildHasherDefault::<Key>::default().hash_one(runtime).max(1)
}

/// An id of a runtime is a number that only a hasher gets to see.
#[derive(Default)]
struct Key(u64);

impl Hasher for Key {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |key, byte| key.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

/// The janitor's seat, left on drop.
struct Duty<D: Driver>(Arc<Engine<D>>);

impl<D: Driver> Drop for Duty<D> {
    fn drop(&mut self) {
        let Self(engine) = self;
        engine.janitor.leave_first();
        // Nobody keeps their time any more. Those who can still run join again, and one of them starts the next janitor.
        let _ = engine.core.expire(u64::MAX, wake, |claim| engine.serve(claim));
        engine.janitor_left.notify_waiters();
    }
}

/// A millisecond, in nanoseconds: the step of timers.
const SOON: u64 = 1_000_000;

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
    /// The settings by which that was decided.
    settings: u64,
    started: Instant,
    /// The epoch when this janitor started: an epoch never goes back, even if the clock of another runtime does.
    first_epoch: u64,
}

impl<D: Driver> Janitor<D> {
    fn new(duty: Duty<D>) -> Self {
        let (now, first_epoch) = (Instant::now(), duty.0.epoch.get());
        Self {
            duty,
            backoff: Backoff::default(),
            open_not_before: now,
            next_round: now,
            settings: 0,
            started: now,
            first_epoch,
        }
    }

    async fn run(mut self) {
        loop {
            self.drain_jobs();
            self.find_surplus();
            self.keep_time();
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

    /// Takes back the idle connections that are too many, as long as there may be any: a release may have left one while somebody who saw a surplus
    /// leave took it for the last.
    fn find_surplus(&self) {
        let engine = &self.duty.0;
        if engine.core.gate().glance().is_oversize() {
            engine.offer_all_idle();
        }
    }

    /// Ends the waits whose time is over.
    fn keep_time(&self) {
        let engine = &self.duty.0;
        let now = engine.clock.now();
        if engine.alarm.rings_at() > now {
            return;
        }
        engine.alarm.silence();
        let earliest = engine.core.expire(now, wake, |claim| engine.serve(claim));
        // One that is due and was not ended: somebody is on the way to it at this moment.
        engine.alarm.advance(earliest.max(now + SOON));
    }

    fn drain_jobs(&mut self) {
        while let Some(job) = self.duty.0.jobs.pop() {
            match job {
                Job::Close(claim) => self.close(claim),
                Job::Reset(claim) => drop(tokio::spawn(Tended::new(&self.duty.0, claim).reset())),
                Job::OpenerDone(None) => self.backend_recovered(),
                Job::OpenerDone(Some(failure)) => {
                    self.backend_failed(&failure);
                    drop_quietly(failure);
                }
            }
        }
    }

    fn close(&self, claim: Claim<D::Connection>) {
        drop(tokio::spawn(Closing::new(&self.duty.0, claim).close()));
    }

    fn backend_recovered(&mut self) {
        let failures = self.backoff.failures();
        if failures > 0 {
            report(|| tracing::info!(failures, "connections can be opened again"));
        }
        self.backoff.succeeded();
        self.open_not_before = Instant::now();
    }

    fn backend_failed(&mut self, failure: &Arc<OpenFailure>) {
        let engine = &self.duty.0;
        let pause = self.backoff.failed(&engine.config.load(), random());
        self.open_not_before = Instant::now() + pause;
        if self.backoff.is_notable() {
            let failures = self.backoff.failures();
            report(|| tracing::warn!(error = %failure, failures, ?pause, "could not open a connection"));
        }
        let counts = engine.core.table.counts();
        let nobody_returns = counts.idle + counts.leased + counts.resetting == 0;
        if failure.class() == ErrorClass::Permanent && nobody_returns {
            self.deny_waiters(failure);
        }
    }

    /// Tells everybody who waits now why there is no connection, instead of letting each find out by its timeout.
    fn deny_waiters(&self, failure: &Arc<OpenFailure>) {
        let engine = &self.duty.0;
        drop_quietly(engine.denial.swap(Some(Arc::clone(failure))));
        for _ in 0..engine.core.gate().glance().waiting() {
            match engine.core.deny(Denial::Failed) {
                Denied::Told(waker) => waker.into_iter().for_each(wake),
                Denied::Nobody => return,
            }
        }
    }

    /// Advances the epoch and looks after every idle connection, the coldest first.
    fn make_round(&mut self) {
        let engine = Arc::clone(&self.duty.0);
        let now = Instant::now();
        engine.epoch.set(self.first_epoch + millis(now - self.started));
        let closed = engine.core.gate().look_after_publishing().is_closed();
        let settings = engine.reconfigured.get();
        if now < self.next_round && settings == self.settings && !closed {
            return;
        }
        self.settings = settings;
        let config = engine.config.load();
        self.next_round = now + maintenance_interval(&config);
        engine.core.table.tidy_line(2 * engine.core.table.size());
        let counts = engine.core.table.counts();
        let mut surplus =
            (counts.opening + counts.idle + counts.leased + counts.resetting).saturating_sub(config.min_size);
        let _inspection = engine.inspections.begin();
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
            Condition::Usable => judge(self.idle_facts(&claim, surplus), engine.epoch.get(), config),
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

    fn idle_facts(&self, claim: &Claim<D::Connection>, surplus: bool) -> IdleFacts {
        let facts = self.duty.0.core.table.facts(claim);
        let (released_at, checked_at, expires_at) =
            (facts.released_at.get(), facts.checked_at.get(), facts.expires_at.get());
        IdleFacts { released_at, checked_at, expires_at, surplus }
    }

    fn start_openers(&mut self) {
        if Instant::now() < self.open_not_before {
            return;
        }
        let config = self.duty.0.config.load();
        let at_once = self.backoff.openers(&config);
        // No more than may be under way at once: a runtime that is ending drops what it is given, and the next one would be wanted at once, for ever.
        for opener in (0..at_once).map_while(|_| self.duty.0.reserve_opener(&config, at_once)) {
            drop(tokio::spawn(opener.run()));
        }
    }

    /// Whether the pool is closed and nothing is open. Only the janitor opens, so nothing will be.
    fn is_done(&self) -> bool {
        let core = &self.duty.0.core;
        core.gate().glance().is_closed() && core.capacity.read().open == 0
    }

    fn next_wake_up(&self) -> Instant {
        let now = Instant::now();
        let opener = Some(self.open_not_before).filter(|moment| *moment > now);
        let alarm = self.duty.0.clock.moment(self.duty.0.alarm.rings_at());
        [opener, Some(alarm)].into_iter().flatten().fold(self.next_round, Instant::min)
    }
}
