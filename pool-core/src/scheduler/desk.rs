//! The line with a lock around it.

use std::collections::VecDeque;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout_at;

use super::asked::{Asked, Turn};
use super::in_line::InLine;
use super::line::Guarded;
use super::permit::Permit;
use super::seat::{Found, Refusal, Seat};
use super::stats::{Counts, KeyStats};
use crate::driver::Driver;
use crate::engine::{Asking, Engine, Follower, InLine as Waiters, Outlook, Warning, ensure_janitor};
use crate::error::AcquireError;
use crate::schedule::{Call, Demand, Entry, Limits, Line, Place, Priority, ScheduleConfig, nanos};
use crate::shed::Shed;

/// Who waits, in order.
pub(super) type Waiting<D> = Line<Arc<Seat<D>>>;

/// What the scheduler, its permits and those who wait share.
pub(super) struct Desk<D: Driver> {
    pub(super) engine: Arc<Engine<D>>,
    pub(super) config: ArcSwap<ScheduleConfig>,
    /// Held for the time of one decision, and never while anybody is told of it.
    line: Guarded<D>,
    /// Those who have been called and may not have heard it, if somebody wants to know.
    called: Mutex<Vec<Arc<Seat<D>>>>,
    /// Held by the one who collects several connections.
    collecting: tokio::sync::Mutex<()>,
    pub(super) counts: Counts,
}

impl<D: Driver> Desk<D> {
    pub(super) fn new(engine: &Arc<Engine<D>>, config: ScheduleConfig) -> Arc<Self> {
        let config = Arc::new(config);
        let line = Line::new(Arc::clone(&config), limits(engine, &config));
        Arc::new(Self {
            engine: Arc::clone(engine),
            config: ArcSwap::new(config),
            line: Guarded::new(line),
            called: Mutex::default(),
            collecting: tokio::sync::Mutex::default(),
            counts: Counts::default(),
        })
    }

    fn called(&self) -> MutexGuard<'_, Vec<Arc<Seat<D>>>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the line, and tells those who are called then.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Waiting<D>) -> T) -> T {
        let mut line = self.line.lock();
        let is_scarce = self.engine.is_scarce();
        let wish = |line: &Waiting<D>| is_scarce.then(|| (line.wanted(), line.wanted_at_once()));
        let before = wish(&line);
        if is_scarce {
            line.limit_to(limits(&self.engine, &self.config.load()));
        }
        let outcome = change(&mut line);
        let calls = line.calls(self.engine.now());
        let is_wish_changed = wish(&line) != before;
        drop(line);
        self.tell(calls);
        if is_wish_changed {
            self.engine.others_wish();
        }
        outcome
    }

    /// Tells those who have been called, in that order. What one was called for who has gone is given back.
    fn tell(self: &Arc<Self>, calls: Vec<(Arc<Seat<D>>, Call)>) {
        let mut calls = VecDeque::from(calls);
        while let Some((seat, call)) = calls.pop_front() {
            let answer = match call {
                Call::Passes(pass) => Ok(Permit::new(self, pass)),
                Call::Shed(shed) => Err(Refusal::Shed(shed)),
            };
            match seat.tell(&self.engine, answer, self.engine.now()) {
                Ok(()) if self.engine.config.load().collect_within.is_some() => self.called().push(seat),
                Ok(()) => {}
                Err(unheard) => {
                    if let Some(pass) = unheard.ok().and_then(Permit::into_pass) {
                        let mut line = self.line.lock();
                        line.forget(pass);
                        calls.extend(line.calls(self.engine.now()));
                    }
                }
            }
        }
    }

    /// How many wait, how many connections are in use, and how many may be.
    pub(super) fn figures(self: &Arc<Self>) -> (usize, usize, usize) {
        self.change(|line| (line.waiting(), line.in_use(), line.limit()))
    }

    /// The keys that are known.
    pub(super) fn keys(&self) -> Vec<KeyStats> {
        let keys = self.line.lock().keys();
        keys.into_iter().map(|(key, in_use, waiting)| KeyStats { key, in_use, waiting }).collect()
    }

    /// Other settings are in force.
    pub(super) fn follow(self: &Arc<Self>, config: ScheduleConfig) {
        let config = Arc::new(config);
        self.change(|line| {
            // Within the lock: of two that change them, the later one stays in force.
            self.config.store(Arc::clone(&config));
            line.follow(Arc::clone(&config));
            line.limit_to(limits(&self.engine, &config));
        });
    }

    /// A permit for one who does not wait, if nobody who waits comes before. Whoever has a use for it [counts](Self::count_at_once) that.
    pub(super) fn admit_at_once(self: &Arc<Self>, demand: &Demand<'_>) -> Option<Permit<D>> {
        let now = self.engine.now();
        let is_closed = || self.engine.is_closed();
        let pass = self.change(|line| if is_closed() { None } else { line.enter_at_once(now, demand) })?;
        Some(Permit::new(self, pass))
    }

    /// One has been served at once.
    pub(super) fn count_at_once(self: &Arc<Self>, priority: Priority) {
        self.counts.passed(priority, 0);
        let now = self.engine.now();
        self.change(|line| line.serves_at_once(now, priority));
    }

    /// Waits for a permit until the deadline; `converts`: its connection may have to be converted.
    ///
    /// Cancel safety: whoever is dropped leaves the line, and gives back what it was called for.
    pub(super) async fn admit(
        self: &Arc<Self>,
        demand: Demand<'_>,
        converts: bool,
        asks: &'static Location<'static>,
    ) -> Result<Turn<D>, AcquireError> {
        let (asked, mut asking) = (Asked::begin(&self.engine, asks), Asking::begin_in_line(&self.engine, asks));
        // Owned across the await: the place in the line. Dropping it leaves the line.
        let outcome = self.admit_from(asked.since, demand, converts, asks).await;
        if let Some(asking) = &mut asking {
            match &outcome {
                Ok(_) => asking.admitted(),
                Err(error) => asking.failed(error),
            }
        }
        asked.told(outcome)
    }

    async fn admit_from(
        self: &Arc<Self>,
        started: u64,
        demand: Demand<'_>,
        converts: bool,
        asks: &'static Location<'static>,
    ) -> Result<Turn<D>, AcquireError> {
        let mut since = None;
        // If it has to wait, and before it has a place in the line, as this may panic. The janitor takes back what is not collected.
        if !self.line.lock().has_room_for(started, &demand) {
            ensure_janitor(&self.engine);
        }
        loop {
            let seat = Seat::new(asks);
            // Owned across the await: the place in the line. Dropping it leaves the line.
            let place = match self.enter(&demand, &seat, started)? {
                Ok(permit) => return Ok(Turn { permit: self.passes(permit, &demand, started), since }),
                Err(place) => place,
            };
            since = Some(started);
            match self.in_line(place, seat, &demand, started, asks)?.wait().await {
                Some(Found::Answer(answer)) => {
                    let permit = answer.and_then(|permit| self.has_time(demand.deadline, converts).map(|()| permit));
                    let permit = permit.map_err(|refusal| self.refuse(refusal, started))?;
                    return Ok(Turn { permit: self.passes(permit, &demand, started), since });
                }
                Some(Found::TakenBack) => {}
                None => {
                    self.counts.timeouts.add(1);
                    return Err(self.engine.timed_out(self.engine.now().saturating_sub(started)));
                }
            }
        }
    }

    fn passes(&self, permit: Permit<D>, demand: &Demand<'_>, started: u64) -> Permit<D> {
        self.counts.passed(demand.priority, self.engine.now().saturating_sub(started));
        permit
    }

    /// Who is called so late that there is no time to prepare a connection leaves its turn to those who wait: it would cost the connection.
    fn has_time(&self, deadline: u64, converts: bool) -> Result<(), Refusal> {
        let left = deadline.saturating_sub(self.engine.now());
        let others_wait = || self.config.load().foresee && self.line.lock().waiting() > 0;
        match self.engine.takes_more_than(left, converts).filter(|_| others_wait()) {
            None => Ok(()),
            Some(expected) => {
                let (expected, left) = (Duration::from_nanos(expected), Duration::from_nanos(left));
                Err(Refusal::Shed(Shed::Hopeless { expected, left }))
            }
        }
    }

    /// A permit, or a place in the line.
    fn enter(
        self: &Arc<Self>,
        demand: &Demand<'_>,
        seat: &Arc<Seat<D>>,
        started: u64,
    ) -> Result<Result<Permit<D>, Place>, AcquireError> {
        let now = self.engine.now();
        // Within the lock: whoever closes the pool sends those away who are in the line by then.
        let is_closed = || self.engine.is_closed();
        let entry = self.change(|line| (!is_closed()).then(|| line.enter(now, demand, || Arc::clone(seat))));
        match entry {
            None => Err(self.refuse(Refusal::Closed, started)),
            Some(Entry::Shed(shed)) => Err(self.refuse(Refusal::Shed(shed), started)),
            Some(Entry::Passes(pass)) => Ok(Ok(Permit::new(self, pass))),
            Some(Entry::Waits(place)) => {
                self.engine.tell_the_patient();
                Ok(Err(place))
            }
        }
    }

    /// One who waits from now on, unless its task would wait for itself.
    fn in_line(
        self: &Arc<Self>,
        place: Place,
        seat: Arc<Seat<D>>,
        demand: &Demand<'_>,
        started: u64,
        asks: &'static Location<'static>,
    ) -> Result<InLine<'_, D>, AcquireError> {
        let waits = InLine::new(self, place, seat, demand.deadline);
        if self.engine.is_watched()
            && self.is_at_its_most()
            && let Some(held_at) = self.engine.look_at_who_waits_in_front(asks)
        {
            waits.give_up();
            let waited = self.engine.now().saturating_sub(started);
            return Err(self.engine.refuse_self_wait(waited, held_at));
        }
        Ok(waits)
    }

    /// Whether whoever waits, waits because others have all that the pool can have, and not for a quota.
    fn is_at_its_most(&self) -> bool {
        let (is_full, is_all) = self.line.lock().fullness();
        is_full && (is_all || self.engine.is_at_its_most())
    }

    /// Waits until nobody else collects several connections, until the deadline at most: if the pool has shrunk since they were let through, two would wait for what the other has. If connections are taken back that
    /// somebody has not collected, that one may be a future that is not polled: nobody waits for it any more then.
    ///
    /// `since`: when it has begun to wait, if it has, also afterwards.
    ///
    /// Cancel safety: whoever is dropped is waited for no more.
    pub(super) async fn collect(
        &self,
        deadline: u64,
        since: &mut Option<u64>,
        asks: &'static Location<'static>,
    ) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, AcquireError> {
        if let Ok(turn) = self.collecting.try_lock() {
            return Ok(Some(turn));
        }
        let asked = Asked::since(&self.engine, *since, asks);
        *since = Some(asked.since);
        // Owned across the await: a place among those who want to collect. Dropping it leaves it.
        let outcome = self.collect_from(asked.since, deadline).await;
        asked.told(outcome)
    }

    async fn collect_from(
        &self,
        started: u64,
        deadline: u64,
    ) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, AcquireError> {
        let uncollected = self.engine.uncollected();
        let patience = self.engine.config.load().collect_within.map_or(u64::MAX, nanos);
        let mut turn = pin!(self.collecting.lock());
        loop {
            let now = self.engine.now();
            let until = deadline.min(now.saturating_add(patience));
            // Owned across the await: a place among those who want to collect. Dropping it leaves it.
            if let Ok(turn) = timeout_at(self.engine.moment(until), &mut turn).await {
                return Ok(Some(turn));
            }
            if self.engine.uncollected() > uncollected {
                return Ok(None);
            }
            if until >= deadline {
                return Err(self.engine.timed_out(self.engine.now().saturating_sub(started)));
            }
        }
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

    /// Takes back what was not collected in time, for the next one.
    fn look_after_called(&self) {
        let limit = self.engine.config.load().collect_within.map_or(u64::MAX, nanos);
        let now = self.engine.now();
        let mut called = std::mem::take(&mut *self.called());
        let late: Vec<_> = called.iter().filter_map(|seat| seat.take_back(now, limit)).collect();
        called.retain(|seat| seat.is_unheard());
        self.called().extend(called);
        for (permit, lay, place) in late {
            // Before anything else, which may be foreign code.
            drop(permit);
            self.engine.count_uncollected();
            self.engine.warn(Warning::Uncollected, |suppressed| {
                tracing::warn!(%place, ?lay, suppressed, "a turn was taken back that a scheduled request did not take; is its future polled?");
            });
        }
    }
}

/// As many as the pool can have, but at most one less for each that is kept for others; one is for requests at least.
fn limits<D: Driver>(engine: &Engine<D>, config: &ScheduleConfig) -> Limits {
    let Outlook { now, most } = engine.outlook();
    let most = most.saturating_sub(engine.reserved() + config.kept).max(1);
    Limits { now: now.min(most), most }
}

impl<D: Driver> Follower for Desk<D> {
    fn wanted(&self) -> usize {
        self.line.lock().wanted()
    }

    fn wanted_at_once(&self) -> usize {
        self.line.lock().wanted_at_once()
    }

    fn in_line(&self) -> Waiters {
        self.line.shown()
    }

    fn changed(self: Arc<Self>) {
        if self.engine.is_closed() {
            let gone = self.line.lock().send_away();
            let now = self.engine.now();
            for seat in gone {
                // One who has gone has no use for it.
                let _ = seat.tell(&self.engine, Err(Refusal::Closed), now);
            }
        } else {
            self.change(|line| line.limit_to(limits(&self.engine, &self.config.load())));
        }
    }

    fn looked_after(self: Arc<Self>) {
        // Nobody tells of everything that makes it more.
        Arc::clone(&self).changed();
        self.look_after_called();
    }
}
