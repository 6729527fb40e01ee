//! How connections find callers and callers find connections: the protocol that joins slots, gate, capacity and queue.
//!
//! It knows no driver, runtime or clock, which is what lets the models drive exactly this code. Its three rules:
//!
//! * **Count first.** A waiter counts itself in the gate before it enters the queue, and takes its count back before it leaves.
//! * **Reserve first.** Whoever holds a free slot takes one waiter out of the gate's count, and only then hands the slot to the oldest waiter
//!   in the queue. So there are never more hand-overs under way than tickets to meet them at.
//! * **Publish, fence, look.** Whoever makes a slot idle looks at the gate again afterwards; whoever counts itself as waiting looks at
//!   the slots again afterwards. One of the two sees the other.

#![allow(unsafe_code)] // a claim on its way through the queue is a number

mod outcomes;
mod sharing;

pub use outcomes::{Denial, Denied, Entry, Grant, Left, Offered};
pub use sharing::{Found, Parted, Usher};

use std::panic::Location;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::capacity::Capacity;
use crate::gate::{Gate, Generation, Joined, Sight};
use crate::queue::{Cancelled, Entered, Fifo, Heard, NOTE_LIMIT, Note, Overdue, Resumed, Stay, Ticket};
use crate::sharing::Sharing;
use crate::slot::{Claim, Facts, IdleOrder, Table, Vacancy};

const SLOTS: Note = 1 << 16;
const FAILED: Note = SLOTS;
const CLOSED: Note = SLOTS + 1;
/// The first of those that stand for a place beside others.
const SHARED: Note = SLOTS + 2;
const _: () = assert!(SHARED + SLOTS <= NOTE_LIMIT);

/// The lock-free heart of a pool.
#[derive(Debug)]
pub struct Core<C> {
    /// The connections.
    pub table: Table<C>,
    /// What may be opened.
    pub capacity: CachePadded<Capacity>,
    /// Which of them several use.
    pub sharing: Sharing,
    gate: CachePadded<Gate>,
    queue: Fifo,
}

impl<C> Core<C> {
    /// A pool of at most `max_size` connections, none of them open.
    pub fn new(max_size: usize, idle_order: IdleOrder) -> Self {
        let core = Self {
            table: Table::new(max_size),
            capacity: CachePadded::new(Capacity::new(max_size)),
            sharing: Sharing::off(),
            gate: CachePadded::default(),
            queue: Fifo::default(),
        };
        core.set_idle_order(idle_order);
        core
    }

    /// Who waits.
    #[inline]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Hands out idle slots in this order from now on.
    pub fn set_idle_order(&self, order: IdleOrder) {
        self.gate.set_ordered(order != IdleOrder::Recent);
        self.table.set_idle_order(order);
    }

    /// An idle slot, unless somebody waits for one already or the pool is closed or paused. Whoever gets it asks whether it [may keep](Core::may_keep)
    /// it.
    #[inline(always)] // a part of the fast path; otherwise it depends on the caller
    pub fn claim_at_once(&self, hints: impl IntoIterator<Item = usize>) -> Option<Claim<C>> {
        let sight = self.gate.glance();
        if sight.lets_pass() { self.table.claim_recent(hints) } else { self.claim_in_turn(sight) }
    }

    /// Whether a slot that was claimed at once may be used. Otherwise it has to be [offered](Core::offer): the pool was closed or paused meanwhile, or a release
    /// that had not heard of the present generation has left it a moment ago.
    #[inline]
    pub fn may_keep(&self, facts: &Facts) -> bool {
        self.gate.glance().lets_keep(facts.generation())
    }

    #[cold]
    fn claim_in_turn(&self, sight: Sight) -> Option<Claim<C>> {
        if sight.lets_pass_in_order() { self.table.claim_in_order() } else { None }
    }

    /// Joins the queue, for somebody who asks at this place, and can do with a slot that others use, too, if it `shares`. The waiter that finds nobody waiting before it passes every idle slot to `serve`, which judges and [offers](Core::offer)
    /// it, to the queue and not to this waiter. One that finds the pool closed leaves by [`Core::leave`]. What comes of the wait has to be asked for
    /// [`Core::may_have`].
    #[inline]
    pub fn join(
        &self,
        waker: Waker,
        stay: impl Into<Stay>,
        asked_at: &'static Location<'static>,
        shares: bool,
        serve: impl FnMut(Claim<C>) -> bool,
    ) -> (Entry<C>, Joined, Generation) {
        let (joined, generation) = self.gate.join();
        let entry = match self.queue.enter(waker, stay, asked_at, shares) {
            Entered::Waiting(ticket) => Entry::Queued(ticket),
            Entered::Granted(note) => Entry::Served(self.grant(note)),
        };
        self.gate.fence_after_joining();
        if joined == Joined::First {
            self.serve(serve);
        }
        (entry, joined, generation)
    }

    /// Since when the one waits who came first, of those who wait.
    pub fn oldest_waiter(&self) -> Option<u64> {
        self.queue.oldest()
    }

    /// Whether a waiter that came in this generation may have a slot: it may be of an earlier one than the present, but not than the waiter.
    #[inline]
    pub fn may_have(&self, claim: &Claim<C>, came_in: Generation) -> bool {
        !self.generation(claim).is_before(came_in)
    }

    /// Passes idle slots to `serve`, as long as there are any, somebody waits, and `serve` says so.
    pub fn serve(&self, mut serve: impl FnMut(Claim<C>) -> bool) {
        while let Some(claim) = self.claim_for_queue() {
            if !serve(claim) {
                return;
            }
        }
    }

    fn claim_for_queue(&self) -> Option<Claim<C>> {
        if self.gate.glance().to_be_served() > 0 { self.table.claim_in_order() } else { None }
    }

    /// Ends a pause, and passes idle slots to `serve`, which judges and [offers](Core::offer) them. `true` for the caller that ended it.
    pub fn resume(&self, serve: impl FnMut(Claim<C>) -> bool) -> bool {
        let resumed = self.gate.resume();
        self.serve(serve);
        resumed
    }

    /// Gives a slot back that has been used, to nobody in particular; it tells which. What is more than that is left to [`finish`](Self::finish), and is nothing
    /// if nobody waits: what has to be kept meanwhile costs more than the release.
    #[inline]
    pub fn begin_release(&self, claim: Claim<C>) -> Result<usize, Unfinished<C>> {
        let (sight, facts) = (self.gate.glance(), self.table.facts(&claim));
        let (index, generation) = (facts.index(), facts.generation());
        if !sight.is_plain_for(generation) {
            return Err(Unfinished::Claimed(sight, claim));
        }
        self.table.publish_idle(claim);
        let sight = self.gate.look_after_publishing();
        if sight.is_plain_for(generation) {
            Ok(index)
        } else {
            Err(Unfinished::Parked(Parked { sight, index, generation }))
        }
    }

    /// Goes on with a release: to the oldest waiter, or to nobody in particular.
    pub fn finish(&self, unfinished: Unfinished<C>) -> Offered<C> {
        match unfinished {
            Unfinished::Parked(parked) => self.offer_again(parked),
            Unfinished::Claimed(sight, claim) => {
                self.table.note_use(&claim);
                self.offer_at(sight, claim)
            }
        }
    }

    /// Gives a slot back that has not been used, as a release does. It may have come to be leased without having been idle: with a fence, so that whoever did not find
    /// it leased has its pause seen here, before the slot is idle.
    pub fn offer(&self, claim: Claim<C>) -> Offered<C> {
        self.offer_at(self.gate.look_after_publishing(), claim)
    }

    /// Makes a slot idle, and looks whether that is all there is to do.
    fn park(&self, claim: Claim<C>) -> Result<(), Parked> {
        let (index, generation) = (self.table.index(&claim), self.generation(&claim));
        self.table.publish_idle(claim);
        let sight = self.gate.look_after_publishing();
        if sight.is_plain_for(generation) { Ok(()) } else { Err(Parked { sight, index, generation }) }
    }

    /// Leaves a slot idle, whoever waits: for one who has told those who wait that there may be more. It comes back, as from `offer`, if the pool has no use for
    /// it; it is never handed over.
    pub fn leave_idle(&self, mut claim: Claim<C>) -> Result<Sight, Offered<C>> {
        let mut sight = self.gate.glance();
        loop {
            claim = self.keep_if_good(sight, claim)?;
            let (index, generation) = (self.table.index(&claim), self.generation(&claim));
            self.table.publish_idle(claim);
            self.table.announce_idle(index);
            sight = self.gate.look_after_publishing();
            let taken_back = if sight.may_rest(generation) { None } else { self.table.claim_at(index) };
            match taken_back {
                Some(back) => claim = back,
                None => return Ok(sight),
            }
        }
    }

    fn offer_again(&self, parked: Parked) -> Offered<C> {
        let paused = parked.sight.is_paused();
        match self.take_back(parked) {
            // Whoever waits for the last one to come back has perhaps seen it leased.
            None if paused => Offered::Paused,
            None => Offered::Parked,
            Some((claim, sight)) => self.offer_at(sight, claim),
        }
    }

    /// Takes an idle slot back if it should not be idle, unless somebody else has it already, who runs this protocol when it gives it back.
    #[cold]
    fn take_back(&self, parked: Parked) -> Option<(Claim<C>, Sight)> {
        let Parked { sight, index, generation } = parked;
        // In order or not, one that stays idle has to be found.
        self.table.announce_idle(index);
        if sight.is_clear_for(generation) { None } else { Some((self.table.claim_at(index)?, sight)) }
    }

    fn generation(&self, claim: &Claim<C>) -> Generation {
        self.table.facts(claim).generation()
    }

    fn offer_at(&self, mut sight: Sight, mut claim: Claim<C>) -> Offered<C> {
        // Once more for each waiter that leaves or comes at the same moment.
        loop {
            claim = match self.keep_if_good(sight, claim) {
                Ok(good) => good,
                Err(offered) => return offered,
            };
            let generation = self.generation(&claim);
            let again = if sight.to_be_served() > 0 && self.gate.reserve_for(generation) {
                match self.send(claim) {
                    Ok(waker) => return Offered::Handed(waker),
                    Err(refused) => Some((refused, self.gate.glance())),
                }
            } else {
                match self.park(claim) {
                    Ok(()) => return Offered::Parked,
                    Err(parked) => {
                        sight = parked.sight;
                        self.take_back(parked)
                    }
                }
            };
            match again {
                Some(both) => (claim, sight) = both,
                None => return if sight.is_paused() { Offered::Paused } else { Offered::Parked },
            }
        }
    }

    /// A slot that the pool has a use for; otherwise, what has to be done with it.
    fn keep_if_good(&self, sight: Sight, claim: Claim<C>) -> Result<Claim<C>, Offered<C>> {
        if sight.is_closed() {
            Err(Offered::Closed(claim))
        } else if sight.generation() != self.generation(&claim) {
            Err(Offered::Outdated(claim))
        } else if sight.is_oversize() && self.shed() {
            Err(Offered::Excess(claim))
        } else {
            Ok(claim)
        }
    }

    /// Hands a slot to the oldest waiter, for a caller that has reserved one. It comes back if that one has left.
    #[inline]
    fn send(&self, claim: Claim<C>) -> Result<Option<Waker>, Claim<C>> {
        let note = self.table.send(claim);
        match self.queue.resume(note) {
            Resumed::Delivered(waker) => Ok(waker),
            // SAFETY: sent above, by this thread, and refused.
            Resumed::Refused => Err(unsafe { self.table.receive(note) }),
        }
    }

    fn grant(&self, note: Note) -> Grant<C> {
        if note >= SLOTS {
            return self.other_grant(note);
        }
        // SAFETY: the note was sent by `send`, which delivers it once, to whoever collects it or takes it back; the queue orders the delivery
        // before this.
        Grant::Slot(unsafe { self.table.receive(note) })
    }

    #[cold]
    fn other_grant(&self, note: Note) -> Grant<C> {
        match note {
            FAILED => Grant::Failed,
            CLOSED => Grant::Closed,
            place => Grant::Shared(self.place(place)),
        }
    }

    /// Puts a connection that was opened for this generation into its slot.
    pub fn fill(&self, vacancy: Vacancy, connection: C, generation: Generation) -> Claim<C> {
        let claim = self.table.fill(vacancy, connection);
        self.table.facts(&claim).generation.set(generation.to_figure());
        self.table.note_use(&claim);
        claim
    }

    /// Tells the oldest waiter that there is no connection for it.
    pub fn deny(&self, denial: Denial) -> Denied {
        if !self.gate.reserve() {
            return Denied::Nobody;
        }
        let note = if denial == Denial::Failed { FAILED } else { CLOSED };
        match self.queue.resume(note) {
            Resumed::Delivered(waker) => Denied::Told(waker),
            Resumed::Refused => Denied::Told(None),
        }
    }

    /// The grant, if it has come, which uses the ticket up. Otherwise `waker` is woken when it comes.
    #[inline]
    pub fn look(&self, ticket: &mut Option<Ticket>, waker: &Waker) -> Option<Grant<C>> {
        match self.queue.look(ticket, waker) {
            Heard::Nothing => {
                self.gate.fence_after_looking();
                None
            }
            Heard::Granted(note) => Some(self.grant(note)),
            Heard::Expired => Some(Grant::Expired),
        }
    }

    /// Leaves the queue.
    pub fn leave(&self, ticket: Ticket) -> Left<C> {
        match self.queue.cancel(ticket, || self.gate.withdraw()) {
            Cancelled::Left => Left::Nothing,
            Cancelled::Granted(note) => Left::Grant(self.grant(note)),
            Cancelled::Overtaken(note) if note >= SHARED => match self.pass_on_place(note) {
                Ok(waker) => Left::PassedOn(Offered::Handed(waker)),
                Err((place, restored)) => Left::Place(place, restored),
            },
            Cancelled::Overtaken(note) => Left::PassedOn(self.pass_on(note)),
        }
    }

    /// Hands on what was meant for a waiter whose count somebody else was given. The reservation still stands.
    fn pass_on(&self, note: Note) -> Offered<C> {
        match self.grant(note) {
            Grant::Slot(claim) => match self.send(claim) {
                Ok(waker) => Offered::Handed(waker),
                Err(claim) => self.offer(claim),
            },
            _ => match self.queue.resume(note) {
                Resumed::Delivered(waker) => Offered::Handed(waker),
                Resumed::Refused => Offered::Parked,
            },
        }
    }

    /// Ends the time of every waiter whose deadline is not after `now`, and wakes it. Returns when to come again, or `u64::MAX`: no
    /// deadline that is left is before that. For the one who has silenced the alarm, or left the seat of the one who keeps the time.
    pub fn expire(&self, now: u64, wake: impl FnMut(Waker), serve: impl FnMut(Claim<C>) -> bool) -> u64 {
        let mut ending = Ending { core: self, wake, restored: None };
        let earliest = self.queue.expire(now, &mut ending);
        match ending.restored {
            None | Some(Joined::Behind) => {}
            Some(Joined::First) => {
                self.gate.fence_after_joining();
                self.serve(serve);
            }
            // Whoever closed the pool may have counted one waiter too few.
            Some(Joined::Closed) => self.send_away(ending.wake),
        }
        earliest
    }

    /// Takes slots back, and places in them, that were handed over and that nobody has come for: those that `is_due` says so of, by the number of a hand-over. They are passed to `take`,
    /// with that and with the place of who has not come, to be [offered](Core::offer) or [left](Core::part). The waiter joins again when it looks.
    pub fn take_uncollected(
        &self,
        mut is_due: impl FnMut(u64) -> bool,
        mut take: impl FnMut(u64, Grant<C>, &'static Location<'static>),
    ) {
        let is_slot = |note| !matches!(note, FAILED | CLOSED);
        let due = |number, note| is_slot(note) && is_due(number);
        self.queue.take_back(due, |number, note, asked_at| take(number, self.grant(note), asked_at));
    }

    /// Tells everybody who waits that the pool is closed.
    pub fn send_away(&self, mut wake: impl FnMut(Waker)) {
        while let Denied::Told(waker) = self.deny(Denial::Closed) {
            waker.into_iter().for_each(&mut wake);
        }
    }

    /// Another maximum, at most 65 535. If there are more connections now, the surplus leaves as it is [offered](Core::offer); what is idle has to
    /// be claimed and offered once.
    pub fn resize(&self, max_size: usize) {
        self.grow_to(max_size);
        if self.capacity.set_max(max_size).excess() > 0 {
            self.gate.set_oversize();
        } else {
            self.settle();
        }
    }

    /// Makes sure that there are so many slots.
    pub fn grow_to(&self, size: usize) {
        // First: one who finds a slot finds its word.
        self.sharing.grow_to(size);
        self.table.grow_to(size);
    }

    /// So many connections are not going to leave of which that was [counted on](Capacity::reserve_replacement). `true` if there are more than the maximum
    /// therefore: what is idle has to be claimed and offered once, as after [`Core::resize`].
    pub fn recall(&self, count: usize) -> bool {
        let too_many = self.capacity.recall(count).excess() > 0;
        if too_many {
            self.gate.set_oversize();
        }
        too_many
    }

    /// Whether this connection is one too many; then it is counted as leaving.
    fn shed(&self) -> bool {
        let room = self.capacity.shed();
        if room.is_none_or(|room| room.excess() == 0) {
            self.settle();
        }
        room.is_some()
    }

    /// There is no surplus any more, unless the maximum is lowered at this moment.
    fn settle(&self) {
        self.gate.clear_oversize();
        if self.capacity.read().excess() > 0 {
            self.gate.set_oversize();
        }
    }
}

#[cfg(feature = "loom")]
impl<C> Core<C> {
    /// How many segments of cells the queue has ever needed.
    pub fn waiting_room(&self) -> u64 {
        self.queue.segments_made()
    }
}

/// A release that is not done yet.
#[derive(Debug)]
#[must_use = "somebody may wait for the slot"]
pub enum Unfinished<C> {
    /// The slot is idle, and somebody may have to be served with it.
    Parked(Parked),
    /// The slot was not made idle, as that was in sight.
    Claimed(Sight, Claim<C>),
}

/// A slot that has become idle, and what was in sight then.
#[derive(Debug)]
pub struct Parked {
    sight: Sight,
    /// Its place.
    pub index: usize,
    generation: Generation,
}

/// The gate's side of waiters whose time is over.
struct Ending<'a, C, W> {
    core: &'a Core<C>,
    wake: W,
    /// What the gate said when a count was given back, the most urgent of it.
    restored: Option<Joined>,
}

impl<C, W: FnMut(Waker)> Overdue for Ending<'_, C, W> {
    fn withdraw(&mut self) -> bool {
        self.core.gate.begin_to_end()
    }

    fn restore(&mut self) {
        let joined = self.core.gate.restore();
        if joined != Joined::Behind {
            self.restored = Some(joined);
        }
    }

    fn end(&mut self, waker: Waker) {
        self.core.gate.end();
        (self.wake)(waker);
    }
}
