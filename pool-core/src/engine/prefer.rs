//! Acquire, for somebody who would like to have a certain connection.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout_at;

use super::Engine;
use super::acquire::Waiting;
use super::budget::within;
use super::changes::watch;
use super::clock::nanos;
use super::hooked::Prepared;
use super::limit::Limit;
use super::panics::{caught, guarded, report};
use super::release::{Condition, Occasion};
use super::spans::Asking;
use super::tags::Label;
use super::warnings::Warning;
use crate::connection::ConnectionId;
use crate::counters::Flag;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::hooks::HookPoint;
use crate::preference::{ConvertFailure, Fit, Preference, Wanted};
use crate::slot::Claim;
use crate::tag::Tag;

/// Somebody who prefers something.
struct Seeker<'a, D: Driver> {
    engine: &'a Arc<Engine<D>>,
    wanted: &'a Wanted<D::Connection>,
    /// Under which those that fit are found, unless each has to be looked at.
    label: Option<Label>,
    started: u64,
    deadline: u64,
    /// Until when one that fits may come back.
    patience: u64,
    /// Whether one that fits has been left idle, because there is no time to check it.
    is_hurried: Flag,
}

/// An idle connection that fits, claimed.
struct Found<C> {
    claim: Claim<C>,
    /// It was idle for so long that it has to be checked.
    is_unchecked: bool,
}

/// A connection with which the driver is busy. Dropped before that has ended, it is closed: nobody knows in what state it is.
struct InHand<'a, D: Driver> {
    engine: &'a Engine<D>,
    claim: Claim<D::Connection>,
}

impl<D: Driver> InHand<'_, D> {
    fn keep(mut self) -> Claim<D::Connection> {
        match self.claim.take() {
            Some(claim) => claim,
            None => unreachable!("it has its claim until it is dropped"),
        }
    }
}

impl<D: Driver> Drop for InHand<'_, D> {
    fn drop(&mut self) {
        self.claim.take().into_iter().for_each(|claim| self.engine.discard(claim));
    }
}

/// A wait for one that comes back. Dropped before it has ended, it counts as an acquire that was given up.
struct Patience<'a, D: Driver> {
    seeker: &'a Seeker<'a, D>,
    is_over: bool,
}

impl<D: Driver> Drop for Patience<'_, D> {
    fn drop(&mut self) {
        if !self.is_over {
            self.seeker.engine.events.cancelled.add(1);
            self.seeker.engine.count_wait(self.seeker.waited());
        }
    }
}

/// What is told of one who prefers something. Dropped before it has ended, it was given up.
struct Story<'a, D: Driver> {
    engine: &'a Engine<D>,
    place: &'static Location<'static>,
    started: u64,
    is_over: bool,
    /// If somebody wants to see it.
    asking: Option<Box<Asking>>,
}

impl<'a, D: Driver> Story<'a, D> {
    fn begin(engine: &'a Engine<D>, since: Option<u64>, place: &'static Location<'static>) -> Self {
        let started = since.unwrap_or_else(|| engine.now());
        Self { engine, place, started, is_over: false, asking: Asking::begin(engine, place) }
    }

    fn waited(&self) -> u64 {
        self.engine.now().saturating_sub(self.started)
    }

    fn end(mut self, outcome: &Result<(Claim<D::Connection>, Fit), AcquireError>, has_waited: bool) {
        self.is_over = true;
        if let Some(asking) = &mut self.asking {
            match outcome {
                Ok((claim, _)) => asking.served(self.engine.id(claim), has_waited),
                Err(error) => asking.failed(error),
            }
        }
        self.engine.note_slow_end(self.waited(), self.place, Some(outcome));
    }
}

impl<D: Driver> Drop for Story<'_, D> {
    fn drop(&mut self) {
        if !self.is_over {
            self.engine.note_slow_end::<()>(self.waited(), self.place, None);
        }
    }
}

/// Acquires a connection that fits, or another one, for one who has waited in a line since then, if it has.
pub(crate) async fn prefer<D: Driver>(
    engine: &Arc<Engine<D>>,
    preference: &Preference<D::Connection>,
    limit: Option<Duration>,
    since: Option<u64>,
    place: &'static Location<'static>,
) -> Result<(Claim<D::Connection>, Fit), AcquireError> {
    let story = Story::begin(engine, since, place);
    let mut has_waited = false;
    // Owned across the await: what the call owns.
    let outcome = seek(engine, preference, limit, since, place, &mut has_waited).await;
    story.end(&outcome, has_waited || since.is_some());
    outcome
}

async fn seek<D: Driver>(
    engine: &Arc<Engine<D>>,
    preference: &Preference<D::Connection>,
    limit: Option<Duration>,
    since: Option<u64>,
    place: &'static Location<'static>,
    has_waited: &mut bool,
) -> Result<(Claim<D::Connection>, Fit), AcquireError> {
    let waiting = Waiting::new(engine, limit.map_or(Limit::POOLS, Limit::new), place);
    let mut waiting = waiting.needing(preference.wanted.tag());
    let seeker = Seeker::new(&waiting, preference);
    waiting = waiting.in_line_since(since);
    // Owned across the awaits: nothing, or one that was found, by the call. Dropped in the hands of a hook or of the driver, it is closed.
    while let Some(found) = seeker.find(has_waited).await {
        if seeker.may_have_at_once(&found, *has_waited) {
            engine.count_from_line(&found.claim, since);
            return Ok((seeker.take_at_once(found.claim, place), seeker.hit(*has_waited)));
        }
        let Some(prepared) = seeker.prepare(found).await else { continue };
        if let Some(outcome) = waiting.take_prepared(prepared) {
            return outcome.map(|claim| (claim, seeker.hit(*has_waited)));
        }
    }
    let claim = match engine.acquire_at_once(Occasion::AtOnce) {
        // It would be closed half way.
        Some(claim) if seeker.has_no_time_for(&claim) => {
            engine.put_back(claim);
            return Err(waiting.give_in());
        }
        Some(claim) => {
            engine.count_from_line(&claim, since);
            claim
        }
        None => {
            *has_waited = true;
            // Owned across the await: what `Waiting` says.
            waiting.await?
        }
    };
    // Owned across the await: the connection, by the call.
    seeker.make_fit(claim).await
}

impl<'a, D: Driver> Seeker<'a, D> {
    fn new(waiting: &Waiting<'a, D>, preference: &'a Preference<D::Connection>) -> Self {
        let (engine, wanted) = (waiting.engine, &preference.wanted);
        let label = match wanted {
            Wanted::Tag(tag) => Some(Label::Tag(tag.clone())),
            Wanted::Sticky(key) => Some(Label::Key(key.clone())),
            Wanted::Matching(_) => None,
        };
        let (started, deadline) = (waiting.started, waiting.deadline);
        let patience = started.saturating_add(nanos(preference.grace)).min(deadline);
        Self { engine, wanted, label, started, deadline, patience, is_hurried: Flag::default() }
    }

    fn waited(&self) -> u64 {
        self.engine.now().saturating_sub(self.started)
    }

    /// The time that is left.
    fn left(&self) -> Duration {
        Duration::from_nanos(self.deadline.saturating_sub(self.engine.now()))
    }

    /// An idle connection that fits, now or once it has come back. Those who wait in the queue come before.
    async fn find(&self, has_waited: &mut bool) -> Option<Found<D::Connection>> {
        let found = self.look();
        if found.is_some() || !self.is_worth_waiting() {
            return found;
        }
        *has_waited = true;
        let mut patience = Patience { seeker: self, is_over: false };
        let back = watch(self.engine, || match self.look() {
            Some(found) => Some(Some(found)),
            None if self.may_come_back() => None,
            None => Some(None),
        });
        // Owned across the await: nothing. What is found has been claimed in the last poll.
        let outcome = timeout_at(self.engine.moment(self.patience), back).await;
        patience.is_over = true;
        outcome.ok().flatten()
    }

    fn is_worth_waiting(&self) -> bool {
        self.engine.now() < self.patience && self.may_come_back() && Handle::try_current().is_ok()
    }

    /// Whether there is a connection that fits, and nobody comes before this one.
    fn may_come_back(&self) -> bool {
        let Some(label) = &self.label else { return false };
        !self.is_hurried.is_up()
            && self.is_let_pass()
            && self.engine.in_front() == 0
            && self.engine.tags.with(label).into_iter().any(|id| self.engine.is_there(id))
    }

    fn is_let_pass(&self) -> bool {
        self.engine.core.gate().glance().lets_pass_in_order()
    }

    /// One that the driver would convert, if there is too little time for that.
    fn has_no_time_for(&self, claim: &Claim<D::Connection>) -> bool {
        let converts = matches!(self.wanted, Wanted::Tag(_)) && !self.fits(claim);
        converts && self.engine.usual_convert.more_than(nanos(self.left())).is_some()
    }

    /// An idle connection that fits.
    fn look(&self) -> Option<Found<D::Connection>> {
        match &self.label {
            _ if !self.is_let_pass() => None,
            Some(label) => self.engine.tags.with(label).into_iter().find_map(|id| self.claim(id)),
            None => self.look_at_all(),
        }
    }

    /// Claimed first, judged after: it may be another one by then.
    fn claim(&self, id: ConnectionId) -> Option<Found<D::Connection>> {
        let claim = self.engine.core.table.claim_at(id.slot)?;
        let is_it = self.engine.id(&claim) == id;
        self.judge(claim, is_it)
    }

    fn look_at_all(&self) -> Option<Found<D::Connection>> {
        let engine = self.engine;
        let _inspection = engine.inspections.begin();
        let mut idle = (0..engine.core.table.size()).filter_map(|index| engine.core.table.claim_at(index));
        idle.find_map(|claim| self.judge(claim, true))
    }

    /// What is idle is looked at as whatever is handed to somebody who has waited.
    fn judge(&self, mut claim: Claim<D::Connection>, is_it: bool) -> Option<Found<D::Connection>> {
        let engine = self.engine;
        // The pool may have been paused or closed meanwhile, or be about to replace it.
        let may_keep = engine.core.may_keep(engine.core.table.facts(&claim));
        if !is_it || !may_keep || !self.fits(&claim) {
            engine.put_back(claim);
            return None;
        }
        match engine.condition(&mut claim, Occasion::HandOver) {
            Condition::Usable => Some(Found { claim, is_unchecked: false }),
            // Left to those who have more time.
            Condition::Unchecked if engine.usual_check.is_short(nanos(self.left())) => {
                self.is_hurried.raise();
                engine.put_back(claim);
                None
            }
            Condition::Unchecked => Some(Found { claim, is_unchecked: true }),
            other => {
                engine.set_aside(claim, other);
                None
            }
        }
    }

    fn fits(&self, claim: &Claim<D::Connection>) -> bool {
        let engine = self.engine;
        match (self.wanted, &self.label) {
            (Wanted::Matching(predicate), _) => {
                let (facts, connection) = (engine.facts_of_claim(claim), engine.core.table.get(claim));
                caught(|| predicate(&facts, connection)).unwrap_or_else(|message| {
                    engine.panicked(Warning::Predicate, &message, "a preference panicked; the connection does not fit");
                    false
                })
            }
            (_, label) => label.as_ref().is_some_and(|label| engine.tags.has(engine.id(claim), label)),
        }
    }

    /// Whether there is nothing to be done with a connection that was found.
    fn may_have_at_once(&self, found: &Found<D::Connection>, has_waited: bool) -> bool {
        !has_waited && !found.is_unchecked && self.engine.hooks_at(HookPoint::BeforeHandOut).is_none()
    }

    fn take_at_once(&self, claim: Claim<D::Connection>, place: &'static Location<'static>) -> Claim<D::Connection> {
        self.engine.count_use(self.engine.core.table.facts(&claim));
        if self.engine.is_watched() {
            self.engine.note_lease(&claim, place);
        }
        claim
    }

    fn hit(&self, has_waited: bool) -> Fit {
        self.engine.events.preferred.add(1);
        if has_waited { Fit::Waited } else { Fit::AtOnce }
    }

    /// Has checks and hooks look at a connection that was found. `None` if it is of no use.
    async fn prepare(&self, found: Found<D::Connection>) -> Option<Prepared<D::Connection>> {
        // Owned across the awaits: the connection, by the calls. Dropping them closes it.
        let claim = if found.is_unchecked { self.check(found.claim).await? } else { found.claim };
        Some(self.engine.prepare(claim, self.left()).await)
    }

    /// Asks a connection for a sign of life.
    async fn check(&self, claim: Claim<D::Connection>) -> Option<Claim<D::Connection>> {
        let engine = self.engine;
        let mut held = InHand { engine, claim };
        let budget = engine.config.load().check_timeout.min(self.left());
        // Owned across the await: `held`. Dropping it closes the connection.
        let begun = engine.clock.now();
        let answer = engine.probe(engine.core.table.get_mut(&mut held.claim), budget, Duration::ZERO).await;
        let took = engine.clock.now().saturating_sub(begun).min(nanos(budget));
        match &answer {
            Ok(()) => engine.usual_check.note(took),
            Err(_) => engine.usual_check.note_at_least(took),
        }
        if let Err(message) = answer {
            engine.count_failure("ping");
            report(|| tracing::debug!(error = message, "a check failed; the connection will be closed"));
            return None;
        }
        let mut claim = held.keep();
        engine.core.table.facts(&claim).checked_at.set(engine.epoch.get());
        match engine.condition(&mut claim, Occasion::HandOver) {
            Condition::Usable => Some(claim),
            other => {
                engine.set_aside(claim, other);
                None
            }
        }
    }

    /// Makes the best of any connection.
    async fn make_fit(&self, claim: Claim<D::Connection>) -> Result<(Claim<D::Connection>, Fit), AcquireError> {
        if self.fits(&claim) {
            return Ok((claim, self.hit(true)));
        }
        self.engine.events.missed.add(1);
        match self.wanted {
            // Owned across the await: the connection, by the call.
            Wanted::Tag(tag) => self.convert(claim, tag).await.map(|claim| (claim, Fit::Converted)),
            Wanted::Sticky(key) => {
                self.engine.label(&claim, Label::Key(key.clone()));
                Ok((claim, Fit::Other))
            }
            Wanted::Matching(_) => Ok((claim, Fit::Other)),
        }
    }

    async fn convert(&self, claim: Claim<D::Connection>, tag: &Tag) -> Result<Claim<D::Connection>, AcquireError> {
        let engine = self.engine;
        // Whatever comes of it, it is not that any more.
        engine.untag(&claim, tag.name());
        let mut held = InHand { engine, claim };
        let after = engine.config.load().reset_timeout.min(self.left());
        let connection = engine.core.table.get_mut(&mut held.claim);
        // Owned across the await: `held`. Dropping it closes the connection.
        let begun = engine.clock.now();
        let outcome = guarded(within(after, async { engine.driver.convert(connection, tag).await })).await;
        // The clock may have jumped meanwhile.
        let (tag, took) = (tag.clone(), engine.clock.now().saturating_sub(begun).min(nanos(after)));
        let failure = match outcome {
            Ok(Ok(Ok(()))) => {
                engine.usual_convert.note(took);
                let claim = held.keep();
                engine.label(&claim, Label::Tag(tag));
                engine.events.converted.add(1);
                return Ok(claim);
            }
            Ok(Ok(Err(error))) => ConvertFailure::Failed { tag, source: Box::new(error) },
            Ok(Err(_)) => {
                engine.usual_convert.note_at_least(took);
                ConvertFailure::TimedOut { tag, after }
            }
            Err(message) => ConvertFailure::Panicked { tag, message },
        };
        drop(held);
        engine.events.errors.conversions.add(1);
        Err(AcquireError::Convert { situation: engine.situation(self.waited()), failure: Arc::new(failure) })
    }
}
