//! Acquire: at once if a connection is idle and nobody waits, otherwise by queueing.

use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Sleep, sleep_until};

use super::hooked::Prepared;
use super::limit::Limit;
use super::panics::caught;
use super::spans::Asking;
use super::want::{Alone, Want};
use super::{Engine, EngineGrant, ensure_janitor};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::gate::{Generation, Joined};
use crate::handoff::{Entry, Grant, Left};
use crate::hooks::HookPoint;
use crate::queue::{Stay, Ticket};
use crate::slot::{Claim, Facts, SharedClaim};
use crate::tag::Tag;
use crate::times::Times;

/// Queues for a connection, for as long as a limit or the pool's acquire timeout.
///
/// Its time is kept by the janitor if that runs on the same runtime, which costs nothing here: the deadline is in the queue. A timer of
/// its own is for a caller on another runtime, because nobody promises that the janitor's is being driven.
///
/// Written by hand, as an `async fn` would be in everybody's way: dropping one that never waited is nothing, and so is moving it.
#[allow(clippy::struct_excessive_bools)] // each is one thing that has been so, or not, whatever the others are
pub(crate) struct Waiting<'a, D: Driver, W: Want<D::Connection> = Alone> {
    pub(super) engine: &'a Arc<Engine<D>>,
    /// Who asks.
    pub(super) place: &'static Location<'static>,
    ticket: Option<Ticket>,
    pub(super) started: u64,
    pub(super) deadline: u64,
    /// When it joined.
    came_in: Generation,
    /// Whether the queue has another deadline than this, namely none.
    is_timed_here: bool,
    /// What it can do with.
    wants: PhantomData<W>,
    /// What the driver has to make of the connection afterwards, if it is not that.
    needs: Option<&'a Tag>,
    /// Whether it has left a connection to others, having too little time for what has to be done first.
    has_passed_on: bool,
    /// How many connections a hook has had closed.
    pub(super) refused: usize,
    /// With the runtime that drives it.
    timer: EndedByHand<(Id, Pin<Box<Sleep>>)>,
    /// The hook that has the connection in its hands.
    preparing: EndedByHand<Hook<'a, D>>,
    /// Where it has waited so far.
    pub(super) waits: Waits,
    /// Whether it tells what comes of it, instead of whoever it waits for.
    pub(super) tells: bool,
    /// If somebody wants to see it.
    pub(super) asking: EndedByHand<Box<Asking>>,
}

/// Where somebody has waited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Who is refused now has not waited: the pool is closed, say.
    Nowhere,
    InTheQueue,
    /// `started` is when that began.
    InALineBefore,
}

/// Dropped by [`Waiting::end`], so that to drop a future that never waited is to look whether it did.
pub(super) type EndedByHand<T> = ManuallyDrop<Option<T>>;

/// A call of a hook, with the connection.
type Hook<'a, D> = Pin<Box<dyn Future<Output = Prepared<<D as Driver>::Connection>> + Send + 'a>>;

impl<'a, D: Driver, W: Want<D::Connection>> Waiting<'a, D, W> {
    pub(crate) fn new(engine: &'a Arc<Engine<D>>, limit: Limit, place: &'static Location<'static>) -> Self {
        let started = engine.clock.now();
        let deadline = started.saturating_add(limit.of(engine));
        let came_in = Generation::default();
        Self {
            engine,
            place,
            ticket: None,
            started,
            deadline,
            came_in,
            is_timed_here: false,
            wants: PhantomData,
            needs: None,
            has_passed_on: false,
            refused: 0,
            timer: ManuallyDrop::new(None),
            preparing: ManuallyDrop::new(None),
            waits: Waits::Nowhere,
            tells: false,
            asking: ManuallyDrop::new(None),
        }
    }
}

impl<D: Driver, W: Want<D::Connection>> Future for Waiting<'_, D, W> {
    type Output = Result<W::Taken, AcquireError>;

    // Owned while it is pending: the ticket, or what the hook has in its hands. Dropping it leaves the queue and passes on a grant that came first, or closes the connection.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.go_on(context));
        self.tell(&outcome);
        Poll::Ready(outcome)
    }
}

impl<'a, D: Driver, W: Want<D::Connection>> Waiting<'a, D, W> {
    #[inline(always)] // what comes of it stays where it is
    fn go_on(&mut self, context: &mut Context<'_>) -> Poll<Result<W::Taken, AcquireError>> {
        loop {
            if let Some(hook) = self.preparing.as_mut() {
                let prepared = ready!(hook.as_mut().poll(context));
                *self.preparing = None;
                match self.take_prepared(prepared) {
                    Some(outcome) => return Poll::Ready(outcome),
                    None => continue,
                }
            }
            match ready!(self.wait(context)) {
                Ok(Grant::Slot(claim)) if self.is_more_to_be_done() => {
                    let (engine, left) = (self.engine, self.deadline.saturating_sub(self.engine.clock.now()));
                    if self.passes_on(&claim, left) {
                        engine.put_back(claim);
                    } else if left == 0 {
                        engine.put_back(claim);
                        return Poll::Ready(Err(self.give_in()));
                    } else if engine.hooks_at(HookPoint::BeforeHandOut).is_some() {
                        *self.preparing = Some(Box::pin(engine.prepare(claim, Duration::from_nanos(left))));
                    } else {
                        return Poll::Ready(self.conclude(Grant::Slot(claim)));
                    }
                }
                Ok(grant) => return Poll::Ready(self.conclude(grant)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// For somebody who has waited in a line since then. The deadline stays.
    pub(super) fn in_line_since(mut self, since: Option<u64>) -> Self {
        if let Some(since) = since {
            (self.started, self.waits) = (since, Waits::InALineBefore);
        }
        self
    }

    /// For somebody who has this made of the connection, if it is not that.
    pub(super) fn needing(mut self, needs: Option<&'a Tag>) -> Self {
        self.needs = needs;
        self
    }

    /// Whether time is needed between the hand-over and the use.
    fn is_more_to_be_done(&self) -> bool {
        self.needs.is_some() || self.engine.hooks_at(HookPoint::BeforeHandOut).is_some()
    }

    /// Whether this has too little time left for that, and somebody else may have more. Once, so that no two pass one to each other.
    fn passes_on(&mut self, claim: &Claim<D::Connection>, left: u64) -> bool {
        let passes_on = !self.has_passed_on
            && self.engine.is_short(claim, self.needs, left)
            && self.engine.core.gate().glance().to_be_served() > 0;
        self.has_passed_on |= passes_on;
        passes_on
    }

    /// Ends as if the time were over.
    pub(super) fn give_in(&self) -> AcquireError {
        let waited = self.waited();
        self.count_end(waited, |events| &events.timeouts);
        self.engine.timed_out(waited)
    }

    /// What comes of the queue.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<EngineGrant<D>, AcquireError>> {
        if let Some(grant) = self.look(context) {
            return Poll::Ready(Ok(grant));
        }
        // Now and not once for all: a future may be moved from one runtime to another.
        let Ok(runtime) = Handle::try_current().map(|handle| handle.id()) else { return self.poll_outside(context) };
        while self.ticket.is_none() {
            if W::IS_CALLER
                && self.engine.is_watched()
                && let Some(error) = self.look_whether_it_waits_for_itself()
            {
                return Poll::Ready(Err(error));
            }
            if let Some(grant) = self.join(context, runtime) {
                return Poll::Ready(Ok(grant));
            }
        }
        self.rely_on_somebody(runtime);
        // The timer and the grant may be due in the same instant; the grant wins.
        if self.is_over(context) {
            return Poll::Ready(Ok(self.leave().unwrap_or(Grant::Expired)));
        }
        Poll::Pending
    }

    /// Polled outside of a runtime: goes on waiting if it waits already and somebody keeps its time.
    #[cold]
    fn poll_outside(&mut self, context: &mut Context<'_>) -> Poll<Result<EngineGrant<D>, AcquireError>> {
        // A timer whose runtime has ended panics.
        let end = match caught(|| self.is_over(context)) {
            Ok(false) if self.is_looked_after() => return Poll::Pending,
            Ok(true) => Some(Grant::Expired),
            _ => None,
        };
        let grant = self.leave().or(end);
        let at_once = || self.engine.acquire_patiently().map(Grant::Slot).ok_or_else(|| self.without_runtime());
        Poll::Ready(grant.map_or_else(at_once, Ok))
    }

    /// Whether this waits and somebody keeps its time.
    fn is_looked_after(&self) -> bool {
        self.ticket.is_some() && (self.timer.is_some() || self.engine.janitor.is_taken())
    }

    /// Whether it is not to wait, because its task would wait for itself.
    #[cold]
    #[inline(never)] // or it would be in the way of those who are not watched
    fn look_whether_it_waits_for_itself(&self) -> Option<AcquireError> {
        let held_at = self.engine.look_at_who_waits(self.place)?;
        Some(self.engine.refuse_self_wait(self.waited(), held_at))
    }

    #[cold]
    fn without_runtime(&self) -> AcquireError {
        self.count_failure(self.waited(), |events| &events.refused);
        match self.engine.state() {
            state if state.closed => AcquireError::Closed,
            state => AcquireError::NoRuntime { state: Box::new(state) },
        }
    }

    /// What has come, if this waits already.
    fn look(&mut self, context: &mut Context<'_>) -> Option<EngineGrant<D>> {
        self.ticket.as_ref()?;
        let grant = self.engine.core.look(&mut self.ticket, context.waker())?;
        self.show_waiting(false);
        // The one who kept the time may have gone before it was over, or what had come was taken back.
        let too_early = matches!(grant, Grant::Expired) && self.engine.clock.now() < self.deadline;
        if too_early { None } else { self.accept(grant) }
    }

    /// Takes what has come, unless it is a connection that was to be retired before this came: meant for somebody who came before and has given up.
    fn accept(&self, grant: EngineGrant<D>) -> Option<EngineGrant<D>> {
        match grant {
            Grant::Slot(claim) if !self.engine.core.may_have(&claim, self.came_in) => {
                self.engine.judge_again(claim).map(Grant::Slot)
            }
            Grant::Shared(place) if W::SHARES => self.accept_place(place),
            grant => Some(grant),
        }
    }

    #[cold]
    fn accept_place(&self, place: SharedClaim<D::Connection>) -> Option<EngineGrant<D>> {
        if self.engine.core.may_have(place.claim(), self.came_in) {
            return Some(Grant::Shared(place));
        }
        self.engine.leave_unused(place);
        None
    }

    fn join(&mut self, context: &mut Context<'_>, runtime: Id) -> Option<EngineGrant<D>> {
        let engine = self.engine;
        if engine.spares_a_wait() {
            ensure_janitor(engine);
            return Some(Grant::Failed);
        }
        // Before anything is counted: a waker is foreign code, and may panic.
        let waker = context.waker().clone();
        ensure_janitor(engine);
        self.is_timed_here = self.needs_a_timer(runtime);
        let deadline = if self.is_timed_here { u64::MAX } else { self.deadline };
        let stay = Stay { since: self.seen_since(), until: deadline };
        let (entry, joined, came_in) =
            engine.core.join(waker, stay, self.place, W::SHARES, |claim| engine.serve(claim));
        if W::SHARES {
            engine.admit();
        }
        self.came_in = came_in;
        let grant = match entry {
            Entry::Served(grant) => self.accept(grant),
            Entry::Queued(ticket) => {
                self.ticket = Some(ticket);
                self.show_waiting(true);
                None
            }
        };
        if joined == Joined::Closed {
            return Some(self.refuse(grant));
        }
        if grant.is_some() || self.ticket.is_none() {
            return grant;
        }
        if self.waits == Waits::Nowhere {
            self.waits = Waits::InTheQueue;
        }
        self.call_on_others(deadline);
        None
    }

    /// Tells those of the wait who are to end it.
    #[inline]
    fn call_on_others(&self, deadline: u64) {
        let engine = self.engine;
        if engine.alarm.advance(deadline) {
            engine.bell.notify_one();
        }
        engine.ask_for_openers();
        if engine.unserved.is_up() {
            engine.bell.notify_one();
        }
    }

    /// The pool had been closed before this joined: what came from somebody who had not heard of it is not for this.
    #[cold]
    fn refuse(&mut self, grant: Option<EngineGrant<D>>) -> EngineGrant<D> {
        match grant.or_else(|| self.leave()) {
            Some(Grant::Slot(claim)) => self.engine.offer(claim),
            Some(Grant::Shared(place)) => self.engine.leave_unused(place),
            _ => {}
        }
        // It may have been for one who was counted before the close, and enters the queue only now: that one is owed what this has counted.
        self.engine.core.send_away(|waker| self.engine.wake(waker));
        Grant::Closed
    }

    /// Looks after those who are relied on to change that nothing has come.
    fn rely_on_somebody(&mut self, runtime: Id) {
        ensure_janitor(self.engine);
        let is_driven = || self.timer.as_ref().is_some_and(|(driver, _)| *driver == runtime);
        if self.needs_a_timer(runtime) && !is_driven() {
            *self.timer = Some((runtime, Box::pin(sleep_until(self.engine.clock.moment(self.deadline)))));
        }
    }

    /// Whether the deadline is not in the queue, or nobody may look at it there.
    fn needs_a_timer(&self, runtime: Id) -> bool {
        self.is_timed_here || !self.engine.janitor_is_on(runtime)
    }

    /// Whether its own timer, if it has one, says that the time is over.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|(_, timer)| timer.as_mut().poll(context).is_ready())
    }

    /// Leaves the queue, with the grant that came first, if one did.
    fn leave(&mut self) -> Option<EngineGrant<D>> {
        let ticket = self.ticket.take()?;
        self.show_waiting(false);
        match self.engine.core.leave(ticket) {
            Left::Nothing => {
                // The next in the queue may be one who shares.
                self.engine.admit();
                None
            }
            Left::Grant(grant) => self.accept(grant),
            Left::PassedOn(offered) => {
                self.engine.follow_up(offered);
                None
            }
            Left::Place(place, restored) => {
                self.engine.settle_place(place, restored);
                None
            }
        }
    }

    /// Nobody polls it any more.
    #[inline(never)]
    fn end(&mut self) {
        // Also one whose connection is in the hands of a hook.
        if self.ticket.is_some() || self.preparing.is_some() {
            self.give_up();
        }
        drop((self.timer.take(), self.preparing.take(), self.asking.take()));
    }

    /// The caller does not want a connection any more.
    #[cold]
    fn give_up(&mut self) {
        self.count_end(self.waited(), |events| &events.cancelled);
        let left = self.leave();
        self.tell_given_up();
        match left {
            Some(Grant::Slot(claim)) => self.engine.put_back(claim),
            Some(Grant::Shared(place)) => self.engine.leave_unused(place),
            _ => {}
        }
    }

    /// Turns the grant into an answer, and counts the wait.
    pub(super) fn conclude(&self, grant: EngineGrant<D>) -> Result<W::Taken, AcquireError> {
        let engine = self.engine;
        if let Grant::Slot(claim) = grant {
            self.count_success(engine.core.table.facts(&claim));
            if W::IS_CALLER && engine.is_watched() && !W::SHARES {
                engine.note_lease(&claim, self.place);
            }
            return Ok(W::whole(claim));
        }
        let waited = self.waited();
        Err(match grant {
            Grant::Shared(place) => return Ok(self.conclude_place(place)),
            Grant::Closed => {
                self.count_failure(waited, |events| &events.refused);
                AcquireError::Closed
            }
            Grant::Failed if let Some(failure) = engine.denial.load_full() => {
                self.count_failure(waited, |events| &events.failed);
                engine.denied(failure, waited)
            }
            _ => self.give_in(),
        })
    }

    /// Counts the wait for a place beside others. What is written in the slot is its owner's, and there is none.
    #[cold]
    fn conclude_place(&self, place: SharedClaim<D::Connection>) -> W::Taken {
        self.engine.events.shared_waits.add(1);
        self.engine.count_wait(self.waited());
        W::place(place)
    }

    /// Written by the one who holds the slot, as everything that is counted about it.
    fn count_success(&self, facts: &Facts) {
        if !W::IS_CALLER {
            return self.engine.count_check(facts);
        }
        let waits = facts.waits.get();
        self.engine.count_use(facts);
        facts.waits.set(waits + 1);
        // Reading a clock costs as much as a hand-over: once there are many waits, one stands for several.
        let stands_for = if waits < ALL_MEASURED { 1 } else { SAMPLE };
        if waits.is_multiple_of(stands_for) {
            self.measure().note(self.waited(), stands_for);
        }
    }

    fn measure(&self) -> &Times {
        let measures = &self.engine.measures;
        match self.waits {
            Waits::Nowhere | Waits::InTheQueue => &measures.wait,
            Waits::InALineBefore => &measures.line,
        }
    }

    /// For how long, in nanoseconds.
    pub(super) fn waited(&self) -> u64 {
        self.engine.clock.now().saturating_sub(self.started)
    }
}

/// How many waits for a slot are all measured.
const ALL_MEASURED: u64 = 256;
/// After these, one in so many.
const SAMPLE: u64 = 16;

impl<D: Driver, W: Want<D::Connection>> Drop for Waiting<'_, D, W> {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}
