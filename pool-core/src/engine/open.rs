//! Openers: attempts to open one connection each, for the pool and not for the caller who wanted it.

use std::sync::Arc;

use super::budget::within;
use super::notes::Opened;
use super::panics::{caught, guarded};
use super::part::Demanded;
use super::reach::Heard;
use super::spans::tell_unopened;
use super::warnings::Warning;
use super::{Engine, Job};
use crate::attempt::Attempt;
use crate::config::Config;
use crate::counters::Figure;
use crate::driver::{Driver, ErrorClass};
use crate::failure::OpenFailure;
use crate::foreign::drop_quietly;
use crate::gate::{Generation, Sight};
use crate::lifetime::expires_at;
use crate::rotation::due_at;
use crate::sizes::Demand;
use crate::slot::{Claim, Vacancy};
use crate::trace::Traced;

impl<D: Driver> Engine<D> {
    /// Calls the janitor if waiters outnumber openers and there is room for another one. Every waiter asks, or the pool
    /// would grow by one connection at a time.
    pub(super) fn ask_for_openers(&self) {
        let room = self.core.capacity.read();
        if room.open < room.max && room.opening < self.unprovided(self.core.gate().glance()) {
            self.bell.notify_one();
        }
    }

    /// Those who wait and for whom no idle connection is being checked. Once a check has failed or is late, nobody relies on the next.
    pub(super) fn unprovided(&self, sight: Sight) -> usize {
        let checks = if self.doubtful.is_up() { 0 } else { self.checks_relied_on() };
        sight.waiting().saturating_sub(checks)
    }

    /// How many connections are being checked, those left out that should have answered by now.
    pub(super) fn checks_relied_on(&self) -> usize {
        let late = self.late_checks.under_way();
        usize::try_from(self.checks.under_way().saturating_sub(late)).unwrap_or(usize::MAX)
    }

    /// Reserves room for an opener if one is wanted: somebody waits for whom none is under way, or the pool is below a minimum, or has fewer than `warm`, or too many share each connection, which is no need.
    pub(super) fn reserve_opener(self: &Arc<Self>, at_once: usize, warm: usize) -> Option<Opener<D>> {
        let config = self.config.load();
        // After the fence: an opener that has just made room and a waiter that has just come cannot miss each other.
        let sight = self.core.gate().look_after_publishing();
        // Looked up if it matters: it takes a look at every slot.
        let idle = if config.min_idle > 0 { self.core.table.counts().idle_soon() } else { 0 };
        let waiting = self.unprovided(sight).max(self.needs_to_know());
        let demand = Demand { waiting, idle, used: self.used.is_up() };
        let crowded = self.crowded();
        let need = self.has_a_budget() && self.would_miss_one(&Demanded { warm, at_once });
        let wanted = self.core.capacity.reserve(|room| {
            let one_more = demand.wants_another(room.open, room.opening, &config) || room.open < warm.max(crowded);
            room.opening < at_once && one_more
        });
        if wanted { self.opener(Purpose::Demand, sight, need) } else { None }
    }

    /// Reserves room for an opener that replaces a connection, with so many more than the maximum. One connection is counted as leaving for that.
    pub(super) fn reserve_replacement(self: &Arc<Self>, at_once: usize, headroom: usize) -> Option<Opener<D>> {
        // Not more than these, whatever the maximum is in the next moment: there is a slot for whoever reserves, and its index is none of the queue's notes.
        let slots = self.core.capacity.read().max.saturating_add(headroom).min(Config::MAX_SIZE_LIMIT);
        self.core.grow_to(slots);
        let sight = self.core.gate().look_after_publishing();
        if !self.core.capacity.reserve_replacement(headroom, slots, |room| room.opening < at_once) {
            return None;
        }
        let opener = self.opener(Purpose::Rotation, sight, false);
        if opener.is_none() {
            self.recall(1);
        }
        opener
    }

    /// Reserves room for an opener in place of a connection that has left to be replaced.
    pub(super) fn reserve_again(self: &Arc<Self>, at_once: usize) -> Option<Opener<D>> {
        let sight = self.core.gate().look_after_publishing();
        let reserved = self.core.capacity.reserve(|room| room.opening < at_once);
        if reserved { self.opener(Purpose::Rotation, sight, true) } else { None }
    }

    /// An opener, for which room has been reserved; unless the pool is closed, or paused, or its budget has none for it.
    fn opener(self: &Arc<Self>, purpose: Purpose, sight: Sight, need: bool) -> Option<Opener<D>> {
        if sight.is_closed() || sight.is_paused() || !self.take_share(need) {
            self.core.capacity.open_failed();
            return None;
        }
        let (engine, vacancy, attempt) = (Arc::clone(self), Some(self.vacancy()), self.attempts.begin());
        let (generation, started, opening) = (sight.generation(), self.clock.now(), Traced::none());
        Some(Opener { engine, vacancy, attempt, generation, purpose, started, asks_since: Figure::default(), opening })
    }

    pub(super) fn vacancy(&self) -> Vacancy {
        loop {
            // A reservation guarantees a vacant slot; a search can still miss it while others come and go.
            match self.core.table.claim_vacant() {
                Some(vacancy) => return vacancy,
                None => std::hint::spin_loop(),
            }
        }
    }

    /// Puts a connection that was opened for this generation into its slot. It counts as open from now on.
    pub(super) fn settle_in(
        &self,
        vacancy: Vacancy,
        connection: D::Connection,
        generation: Generation,
    ) -> Claim<D::Connection> {
        let claim = self.core.fill(vacancy, connection, generation);
        let config = self.config.load();
        let (now, facts) = (self.epoch.get(), self.core.table.facts(&claim));
        let expires_at = expires_at(now, config.max_lifetime, self.random.next());
        facts.expires_at.set(expires_at);
        facts.set_due(due_at(expires_at, config.max_lifetime, config.max_size).max(now), false);
        facts.released_at.set(now);
        facts.checked_at.set(now);
        facts.first_use.set(facts.uses.get());
        facts.held_since.set(0);
        facts.next_look.set(0);
        self.trust(facts);
        self.used.raise();
        self.core.capacity.opened();
        self.keep_aborter(&claim);
        let opened = Opened { at: now, uses: facts.uses.get() };
        self.notes.begin(self.id(&claim), opened, self.session_of(&claim));
        claim
    }

    fn keep_aborter(&self, claim: &Claim<D::Connection>) {
        match caught(|| self.driver.aborter(self.core.table.get(claim))) {
            Ok(aborter) => aborter.into_iter().for_each(|aborter| self.tasks.keep(self.id(claim), aborter)),
            Err(message) => self.panicked(Warning::Aborter, &message, "asking for what aborts a connection panicked"),
        }
    }

    /// The number by which the server knows a connection that has just been opened.
    fn session_of(&self, claim: &Claim<D::Connection>) -> Option<u64> {
        caught(|| self.driver.session_id(self.core.table.get(claim))).unwrap_or_else(|message| {
            self.panicked(Warning::Session, &message, "asking for the number of a session panicked; it counts as none");
            None
        })
    }

    fn driver_failed(&self, error: D::Error) -> OpenFailure {
        let class = self.classify(&error);
        OpenFailure::Driver { class, source: Box::new(error) }
    }

    fn classify(&self, error: &D::Error) -> ErrorClass {
        caught(|| self.driver.classify(error)).unwrap_or_else(|message| {
            self.panicked(Warning::Classify, &message, "classifying an error panicked; it counts as transient");
            ErrorClass::Transient
        })
    }

    /// Counts an attempt that failed, while the backend was asked or not.
    fn count_open_failure(&self, failure: &OpenFailure, was_asking: bool) {
        let errors = &self.events.errors;
        let counter = match failure {
            OpenFailure::Driver { class: ErrorClass::Permanent, .. } => &errors.permanent,
            OpenFailure::Driver { .. } => &errors.transient,
            OpenFailure::TimedOut { .. } if was_asking => &errors.open_timeouts,
            OpenFailure::TimedOut { .. } | OpenFailure::Hook(_) => &errors.open_hooks,
            OpenFailure::Panicked { .. } => &errors.open_panics,
            OpenFailure::Abandoned => &errors.abandoned,
        };
        counter.add(1);
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody waits, or a minimum is to be kept.
    Demand,
    /// To take the place of one that is due.
    Rotation,
}

impl Purpose {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Rotation => "rotation",
        }
    }
}

/// One attempt. Whatever happens to it, its slot and its share of the capacity come back.
pub(super) struct Opener<D: Driver> {
    engine: Arc<Engine<D>>,
    vacancy: Option<Vacancy>,
    attempt: Arc<Attempt>,
    /// The one in which it began: what a driver connected to before the next one began is outdated.
    generation: Generation,
    purpose: Purpose,
    started: u64,
    /// Since when the backend is asked for a connection; 0 if it is not: before, in a hook, and afterwards.
    asks_since: Figure,
    opening: Traced,
}

impl<D: Driver> Opener<D> {
    /// As it is, seen by those who trace it, after so many attempts that have failed.
    pub(super) fn traced(mut self, failures: u32) -> Self {
        self.opening = self.engine.begin_opening(self.purpose, failures);
        self
    }

    /// The engine that it opens for.
    pub(super) fn engine(&self) -> Arc<Engine<D>> {
        Arc::clone(&self.engine)
    }

    /// Opens a connection and sends it through the door of a release.
    pub(super) async fn run(mut self) {
        let engine = Arc::clone(&self.engine);
        let budget = engine.config.load().connect_timeout;
        // Owned across the await: `self`. If the runtime ends here, dropping it gives the vacancy and the capacity back.
        let attempt = Arc::clone(&self.attempt);
        attempt.begin(budget);
        let outcome = self.opening.around(guarded(within(budget, self.connect()))).await;
        match outcome {
            Ok(Ok(Ok(connection))) => self.succeed(connection),
            Ok(Ok(Err(failure))) => self.fail(failure),
            Ok(Err(_)) => self.fail(OpenFailure::TimedOut { after: budget, progress: attempt.progress() }),
            Err(message) => self.fail(OpenFailure::Panicked { message }),
        }
    }

    /// With the hooks around it.
    async fn connect(&self) -> Result<D::Connection, OpenFailure> {
        let (engine, attempt) = (&self.engine, &self.attempt);
        // Owned across the awaits: the connection, once there is one. Dropping it closes it.
        engine.before_open(attempt).await.map_err(OpenFailure::Hook)?;
        // In here, and not by whoever had it begin: that may be somebody who acquires, and those who read metrics take this lock.
        self.asks_since.set(engine.begin_to_reach());
        let connection = engine.driver.connect(attempt).await.map_err(|error| engine.driver_failed(error))?;
        self.hear(Heard::Answer);
        let Some(vacancy) = &self.vacancy else { return Ok(connection) };
        engine.after_open(connection, engine.id_in(vacancy), attempt).await.map_err(OpenFailure::Hook)
    }

    /// The backend is not asked any more. Whether it was.
    fn hear(&self, heard: Heard) -> bool {
        let since = self.asks_since.get();
        if since > 0 {
            self.asks_since.set(0);
            self.engine.end_to_reach(since, heard);
        }
        since > 0
    }

    fn succeed(&mut self, connection: D::Connection) {
        let Some(vacancy) = self.vacancy.take() else { return };
        let engine = &self.engine;
        engine.attempts.end(&self.attempt);
        let took = engine.clock.now().saturating_sub(self.started);
        engine.measures.open.note(took, 1);
        let claim = engine.settle_in(vacancy, connection, self.generation);
        engine.tell_opened(&self.opening, &claim, took);
        engine.offer(claim);
        engine.end_opening();
        let failure = engine.last_failure.swap(None);
        if failure.is_some() {
            drop_quietly(failure);
            engine.tell_followers();
        }
        engine.call_janitor(Job::OpenerDone(self.purpose, None));
    }

    fn fail(&mut self, failure: OpenFailure) {
        let Some(vacancy) = self.vacancy.take() else { return };
        let (engine, failure) = (&self.engine, Arc::new(failure));
        engine.attempts.end(&self.attempt);
        let was_asking = self.hear(Heard::of(&failure, self.attempt.progress().step));
        engine.core.table.publish_vacant(vacancy);
        engine.give_up_opening();
        engine.count_open_failure(&failure, was_asking);
        tell_unopened(&self.opening, &failure, engine.clock.now().saturating_sub(self.started));
        drop_quietly(engine.last_failure.swap(Some(Arc::clone(&failure))));
        engine.call_janitor(Job::OpenerDone(self.purpose, Some(failure)));
    }
}

impl<D: Driver> Drop for Opener<D> {
    fn drop(&mut self) {
        self.fail(OpenFailure::Abandoned);
    }
}
