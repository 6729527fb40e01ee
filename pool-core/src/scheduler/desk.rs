//! The line with a lock around it, and those who wait in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::timeout_at;

use super::stats::{Counts, KeyStats};
use crate::driver::Driver;
use crate::engine::{Engine, Follower, tell_watchers};
use crate::error::AcquireError;
use crate::schedule::{Call, Demand, Entry, Line, Pass, Place, ScheduleConfig, nanos};
use crate::shed::Shed;

/// What one who waits is told.
type Answer<D> = Result<Permit<D>, Refusal>;

/// Why one is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    Shed(Shed),
    Closed,
}

/// What the scheduler, its permits and those who wait share.
pub(super) struct Desk<D: Driver> {
    pub(super) engine: Arc<Engine<D>>,
    pub(super) config: ArcSwap<ScheduleConfig>,
    /// Held for the time of one decision, and never while anybody is told of it.
    line: Mutex<Line<Sender<Answer<D>>>>,
    /// Held by the one who collects several connections.
    collecting: tokio::sync::Mutex<()>,
    pub(super) counts: Counts,
}

impl<D: Driver> Desk<D> {
    pub(super) fn new(engine: &Arc<Engine<D>>, config: ScheduleConfig) -> Arc<Self> {
        let config = Arc::new(config);
        let line = Line::new(Arc::clone(&config), limit(engine, &config));
        Arc::new(Self {
            engine: Arc::clone(engine),
            config: ArcSwap::new(config),
            line: Mutex::new(line),
            collecting: tokio::sync::Mutex::default(),
            counts: Counts::default(),
        })
    }

    fn line(&self) -> MutexGuard<'_, Line<Sender<Answer<D>>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the line, and tells those who are called then.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Line<Sender<Answer<D>>>) -> T) -> T {
        let mut line = self.line();
        let outcome = change(&mut line);
        let calls = line.calls(self.engine.now());
        drop(line);
        self.tell(calls);
        outcome
    }

    /// Tells those who have been called, in that order. One who has gone in this moment gives back what he was called for.
    fn tell(self: &Arc<Self>, calls: Vec<(Sender<Answer<D>>, Call)>) {
        let mut calls = VecDeque::from(calls);
        while let Some((sender, call)) = calls.pop_front() {
            let answer = match call {
                Call::Passes(pass) => Ok(self.permit(pass)),
                Call::Shed(shed) => Err(Refusal::Shed(shed)),
            };
            let mut unheard = None;
            // Whom that wakes is foreign.
            tell_watchers(|| unheard = sender.send(answer).err());
            if let Some(Ok(mut permit)) = unheard
                && let Some(pass) = permit.pass.take()
            {
                let mut line = self.line();
                line.forget(pass);
                calls.extend(line.calls(self.engine.now()));
            }
        }
    }

    /// One who waits leaves the line. Whether it did: if it has been called, that was before.
    fn leave(self: &Arc<Self>, place: Place) -> bool {
        let gone = self.change(|line| line.leave(place));
        let has_left = gone.is_some();
        gone.into_iter().for_each(dismiss);
        has_left
    }

    fn permit(self: &Arc<Self>, pass: Pass) -> Permit<D> {
        Permit { desk: Arc::clone(self), pass: Some(pass), since: self.engine.now(), is_used: false }
    }

    /// How many wait, how many connections are in use, and how many may be.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        let line = self.line();
        (line.waiting(), line.in_use(), line.limit())
    }

    /// The keys that are known.
    pub(super) fn keys(&self) -> Vec<KeyStats> {
        let keys = self.line().keys();
        keys.into_iter().map(|(key, in_use, waiting)| KeyStats { key, in_use, waiting }).collect()
    }

    /// Other settings are in force.
    pub(super) fn follow(self: &Arc<Self>, config: ScheduleConfig) {
        let config = Arc::new(config);
        self.change(|line| {
            // Within the lock: of two that change them, the later one stays in force.
            self.config.store(Arc::clone(&config));
            line.follow(Arc::clone(&config));
            line.limit_to(limit(&self.engine, &config));
        });
    }

    /// Waits for a permit until the deadline.
    ///
    /// Cancel safety: whoever is dropped leaves the line, and gives back what he was called for.
    pub(super) async fn admit(self: &Arc<Self>, demand: Demand<'_>) -> Result<Permit<D>, AcquireError> {
        let started = self.engine.now();
        let (sender, answer) = oneshot::channel();
        // Within the lock: whoever closes the pool sends those away who are in the line by then.
        let is_closed = || self.engine.is_closed();
        let entry = self.change(|line| (!is_closed()).then(|| line.enter(started, &demand, move || sender)));
        let Some(entry) = entry else { return Err(self.refuse(Refusal::Closed, started)) };
        match entry {
            Entry::Passes(pass) => {
                self.counts.passed(demand.priority, 0);
                Ok(self.permit(pass))
            }
            Entry::Shed(shed) => Err(self.refuse(Refusal::Shed(shed), started)),
            Entry::Waits(place) => {
                // Owned across the await: the place in the line. Dropping it leaves the line.
                let outcome =
                    InLine { desk: self, place, answer, deadline: demand.deadline, is_told: false }.wait().await;
                let waited = self.engine.now().saturating_sub(started);
                match outcome {
                    Some(Ok(permit)) => {
                        self.counts.passed(demand.priority, waited);
                        Ok(permit)
                    }
                    Some(Err(refusal)) => Err(self.refuse(refusal, started)),
                    None => {
                        self.counts.timeouts.add(1);
                        Err(self.engine.timed_out(waited))
                    }
                }
            }
        }
    }

    /// Waits until nobody else collects several connections, until the deadline at most: if the pool has shrunk since they were let through, two would wait for what the other has.
    ///
    /// Cancel safety: whoever is dropped is waited for no more.
    pub(super) async fn collect(&self, deadline: u64) -> Result<tokio::sync::MutexGuard<'_, ()>, AcquireError> {
        if let Ok(turn) = self.collecting.try_lock() {
            return Ok(turn);
        }
        let started = self.engine.now();
        // Owned across the await: a place among those who want to collect. Dropping it leaves it.
        let turn = timeout_at(self.engine.moment(deadline), self.collecting.lock()).await;
        turn.map_err(|_| self.engine.timed_out(self.engine.now().saturating_sub(started)))
    }

    /// What one is told who is sent away.
    fn refuse(&self, refusal: Refusal, started: u64) -> AcquireError {
        let waited = self.engine.now().saturating_sub(started);
        match refusal {
            Refusal::Closed => AcquireError::Closed,
            Refusal::Shed(why) => {
                self.counts.shed(&why);
                AcquireError::Shed { why: Box::new(why), situation: self.engine.situation(waited) }
            }
        }
    }
}

/// Drops what one who has left would have been told by, without the lock: whom that wakes is foreign.
fn dismiss<T>(sender: Sender<T>) {
    tell_watchers(|| drop(sender));
}

/// As many as the pool has, but for those that are kept for others. One at least.
fn limit<D: Driver>(engine: &Engine<D>, config: &ScheduleConfig) -> usize {
    let max = engine.config.load().max_size.saturating_sub(engine.reserved());
    max.saturating_sub(config.kept).max(1)
}

impl<D: Driver> Follower for Desk<D> {
    fn waiting(&self) -> usize {
        let (waiting, in_use, limit) = self.figures();
        // Otherwise it is a quota that they wait for.
        if in_use >= limit { waiting } else { 0 }
    }

    fn changed(self: Arc<Self>) {
        if self.engine.is_closed() {
            let gone = self.line().send_away();
            for sender in gone {
                tell_watchers(|| drop(sender.send(Err(Refusal::Closed))));
            }
        } else {
            self.change(|line| line.limit_to(limit(&self.engine, &self.config.load())));
        }
    }
}

/// One who waits.
struct InLine<'a, D: Driver> {
    desk: &'a Arc<Desk<D>>,
    place: Place,
    answer: Receiver<Answer<D>>,
    deadline: u64,
    /// Whether it knows what has come of it, and is in the line no more.
    is_told: bool,
}

/// Nobody looks sooner than this again; in nanoseconds.
const BREATH: u64 = 10_000_000;

impl<D: Driver> InLine<'_, D> {
    /// `None` when the time is over.
    async fn wait(mut self) -> Option<Answer<D>> {
        // Owned across the await: `self`, as in there.
        let outcome = self.outcome().await;
        self.is_told = true;
        outcome
    }

    async fn outcome(&mut self) -> Option<Answer<D>> {
        loop {
            let look = self.next_look(self.desk.engine.now());
            // Owned across the await: `self`. What comes while nobody looks is given back when it is dropped.
            if let Ok(answer) = timeout_at(self.desk.engine.moment(look), &mut self.answer).await {
                return answer.ok();
            }
            let now = self.desk.engine.now();
            let (place, left) = (self.place, self.deadline.saturating_sub(now));
            if left == 0 {
                let was_called = !self.desk.leave(place);
                // In this moment: then that is the answer.
                return if was_called { (&mut self.answer).await.ok() } else { None };
            }
            if let Some((sender, shed)) = self.desk.change(|line| line.look(now, place, left)) {
                dismiss(sender);
                return Some(Err(Refusal::Shed(shed)));
            }
        }
    }

    /// When one looks whether the line moves, and whether there is any hope left.
    fn next_look(&self, now: u64) -> u64 {
        let config = self.desk.config.load();
        let half = (self.deadline.saturating_sub(now) / 2).max(BREATH);
        let hope = if config.foresee { half } else { u64::MAX };
        let flow = config.codel.map_or(u64::MAX, |codel| nanos(codel.interval));
        now.saturating_add(hope.min(flow)).min(self.deadline)
    }
}

impl<D: Driver> Drop for InLine<'_, D> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        // Called or not: what it was called for is given back with the answer.
        let place = self.place;
        self.desk.leave(place);
        self.desk.counts.cancelled.add(1);
    }
}

/// May have a connection. The next one is called when this is dropped.
pub(super) struct Permit<D: Driver> {
    desk: Arc<Desk<D>>,
    pass: Option<Pass>,
    since: u64,
    /// Whether it has a connection, or had one.
    is_used: bool,
}

impl<D: Driver> Permit<D> {
    /// One for each connection.
    pub(super) fn split(mut self) -> Vec<Self> {
        let passes = self.pass.take().into_iter().flat_map(Pass::split);
        let one = |pass| Self { desk: Arc::clone(&self.desk), pass: Some(pass), since: self.since, is_used: false };
        passes.map(one).collect()
    }

    /// There is a connection for it.
    pub(super) fn used(mut self) -> Self {
        self.is_used = true;
        self
    }
}

impl<D: Driver> Drop for Permit<D> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let held = self.desk.engine.now().saturating_sub(self.since);
            let is_used = self.is_used;
            self.desk.change(|line| if is_used { line.give_back(pass, held) } else { line.forget(pass) });
        }
    }
}
