//! All slots of a pool.

use std::sync::atomic::{AtomicU64 as PlainU64, Ordering as PlainOrdering};

use crossbeam_utils::CachePadded;

use super::claim::{Claim, Vacancy};
use super::idle::Idle;
use super::shared::SharedClaim;
use super::word::{State, Word};
use crate::chunks::Chunks;
use crate::counters::{Figure, Mark, SmallFigure};
use crate::foreign::drop_quietly;
use crate::gate::Generation;
use crate::place::Place;

/// What may be known about a slot without owning it. Only the owner writes.
///
/// In this order: what every acquire and release needs comes first, so that it shares a line with the word.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Facts {
    /// How often the slot was leased.
    pub uses: Figure,
    /// How often the slot has been leased when somebody has to look at it again.
    pub next_look: Figure,
    /// Epoch at which the connection was last released, or opened.
    pub released_at: Figure,
    /// Epoch up to which nobody has to ask whether it may still be used, by age.
    pub good_until: Figure,
    /// The generation in which the connection was opened.
    pub generation: SmallFigure,
    pub(super) index: u32,
    /// When the present lease began, if it is timed.
    pub held_since: Figure,
    /// Epoch at which the connection was last known to work.
    pub checked_at: Figure,
    /// Twice the epoch from which on it is to be replaced, and one more if all are: two facts in the room of one.
    due: Figure,
    /// Epoch from which on the connection is too old.
    pub expires_at: Figure,
    /// How often the slot had been leased when the connection was opened.
    pub first_use: Figure,
    /// How many of its leases were waited for.
    pub waits: Figure,
    /// How often the slot had been leased when the last timed lease had begun.
    pub timed_uses: Figure,
    /// Grows from one use to the next, opening among them, if the idle order asks for it.
    pub last_use: Figure,
}

impl Facts {
    /// Epoch from which on the connection is to be replaced.
    pub fn due_at(&self) -> u64 {
        self.due.get() / 2
    }

    /// Whether it is to be replaced because all are.
    pub fn is_due_with_all(&self) -> bool {
        self.due.get() % 2 == 1
    }

    /// Says both.
    pub fn set_due(&self, at: u64, with_all: bool) {
        self.due.set(at.min(NEVER) * 2 + u64::from(with_all));
    }

    /// The connection leaves, and is not due any more.
    pub fn need_no_replacement(&self) {
        self.set_due(NEVER, false);
        self.first_use.set(self.uses.get());
    }
}

/// The last epoch.
const NEVER: u64 = u64::MAX / 2;

/// One place for a connection, on cache lines of its own: 120 bytes beside the connection. A small connection is on the line of the word and of what comes first in
/// the facts: an acquire and a release need no other.
#[repr(C)]
pub(super) struct Slot<C> {
    connection: Place<C>,
    pub(super) word: Word,
    pub(super) facts: Facts,
    /// The number of its ticket in the line of idle slots.
    pub(super) in_line: Mark,
}

// Of the figures in docs/performance.md. Loom's atomics are of another size.
#[cfg(not(feature = "loom"))]
const _: () = {
    assert!(size_of::<Slot<()>>() == 120);
    // A connection of so many bytes shares a line with the word and the facts of the hot path.
    assert!(std::mem::offset_of!(Slot<u64>, facts) + std::mem::offset_of!(Facts, held_since) <= 64);
    // Two lines, as they are fetched in pairs.
    assert!(size_of::<Slot<u64>>() <= 128);
};

impl Facts {
    /// The place of the slot in the table.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether somebody has to look closely before the connection is used.
    #[inline]
    pub fn is_doubtful(&self, now: u64) -> bool {
        self.good_until.get() <= now
    }

    /// The generation of the connection.
    #[inline]
    pub(crate) fn generation(&self) -> Generation {
        Generation::from_figure(self.generation.get())
    }
}

// SAFETY: the connection is reachable only through a `Claim`, of which each slot has at most one (whoever moves the word makes it). A
// claim moved to another thread moves the connection: `C: Send`. A claim shared between threads shares the connection, but a claim
// is `Sync` only for `C: Sync`. The other fields are atomics, or never change.
unsafe impl<C: Send> Sync for Slot<C> {}

/// A claimed slot, opened.
#[derive(Debug)]
pub struct Opened<'a, C> {
    /// What is known about it.
    pub facts: &'a Facts,
    /// The connection, for its only user.
    pub connection: &'a mut C,
}

/// How many slots are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Being opened.
    pub opening: usize,
    /// Ready for anybody.
    pub idle: usize,
    /// In the hands of callers.
    pub leased: usize,
    /// In the hands of the janitor, with their connection.
    pub resetting: usize,
    /// Connection being closed.
    pub closing: usize,
    /// Connections opened since the table exists.
    pub opened: u64,
    /// Connections closed since the table exists.
    pub closed: u64,
}

impl Counts {
    /// Ready for anybody, now or once the janitor is done with them.
    pub fn idle_soon(&self) -> usize {
        self.idle + self.resetting
    }
}

/// The slots of one pool.
pub struct Table<C> {
    id: u64,
    /// The slot above which none is preferred because a thread remembers it. It is read whenever the id is, and written as seldom as a slot is added.
    warm: Figure,
    pub(super) slots: Chunks<CachePadded<Slot<C>>>,
    pub(super) idle: Idle,
}

impl<C> Table<C> {
    /// A table with `size` vacant slots or more, and an id that no other table of this process has or will have.
    pub fn new(size: usize) -> Self {
        static NEXT_ID: PlainU64 = PlainU64::new(Claim::<()>::NO_TABLE + 1);
        // ORDERING: Relaxed: uniqueness is all that counts.
        let id = NEXT_ID.fetch_add(1, PlainOrdering::Relaxed);
        let table = Self { id, warm: Figure::of(u64::MAX), slots: Chunks::new(), idle: Idle::default() };
        table.grow_to(size);
        table
    }

    /// Makes sure that there are `size` slots or more. Those there are stay where they are, with whoever owns them.
    pub fn grow_to(&self, size: usize) {
        let slot = |index: usize| Slot {
            word: Word::vacant(),
            facts: Facts { index: u32::try_from(index).unwrap_or(u32::MAX), ..Facts::default() },
            in_line: Mark::default(),
            connection: Place::empty(),
        };
        self.slots.grow_to(size, |index| CachePadded::new(slot(index)));
    }

    /// Never reused, unlike an address.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many slots there are.
    pub fn size(&self) -> usize {
        self.slots.iter().count()
    }

    /// Claims the first of `hints` that is idle and [worth remembering](Self::remember_up_to), otherwise the lowest idle slot.
    #[inline]
    pub fn claim_recent(&self, hints: impl IntoIterator<Item = usize>) -> Option<Claim<C>> {
        let warm = self.warm.get();
        for index in hints {
            if index as u64 <= warm
                && let Some(claim) = self.claim_at(index)
            {
                return Some(claim);
            }
        }
        self.claim_lowest()
    }

    /// From now on no slot above this one is preferred because somebody remembers it.
    pub fn remember_up_to(&self, index: u64) {
        self.warm.set(index);
    }

    #[inline(never)]
    pub(super) fn claim_lowest(&self) -> Option<Claim<C>> {
        self.slots.iter().find_map(|slot| self.claim(slot))
    }

    /// Claims the slot at `index` if it is idle. `None` for an index that is out of bounds, too.
    #[inline]
    pub fn claim_at(&self, index: usize) -> Option<Claim<C>> {
        self.claim(self.slots.get(index)?)
    }

    /// Whether the slot at `index` is idle; old the moment it returns.
    #[inline]
    pub fn is_idle(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.word.is_idle())
    }

    #[inline]
    pub(super) fn claim(&self, slot: &Slot<C>) -> Option<Claim<C>> {
        slot.word.claim_idle().then(|| Claim::new(self.id, slot))
    }

    /// Claims the lowest vacant slot.
    pub fn claim_vacant(&self) -> Option<Vacancy> {
        let slot = self.slots.iter().find(|slot| slot.word.claim_vacant())?;
        Some(Vacancy { table: self.id, index: slot.facts.index() })
    }

    /// The place of a claimed slot in the table.
    #[inline]
    pub fn index(&self, claim: &Claim<C>) -> usize {
        self.slot(claim).facts.index()
    }

    /// How many connections had been closed in a claimed slot before this one.
    pub fn life(&self, claim: &Claim<C>) -> u64 {
        self.slot(claim).word.read().1
    }

    /// The place of a vacancy in the table, and how many connections have been closed there.
    pub fn next_life(&self, vacancy: &Vacancy) -> (usize, u64) {
        (vacancy.index, self.vacant_slot(vacancy).word.read().1)
    }

    /// Whether the connection is in its slot that had so many before it. Old the moment it returns.
    pub fn has(&self, index: usize, life: u64) -> bool {
        let word = self.slots.get(index).map(|slot| slot.word.read());
        word.is_some_and(|(state, closed)| state.is_filled() && closed == life)
    }

    /// What is known about every slot that has a connection, lowest first, and whether it is idle.
    pub fn filled(&self) -> impl Iterator<Item = (bool, &Facts)> {
        let state = |slot: &Slot<C>| slot.word.read().0;
        let filled = self.slots.iter().filter(move |slot| state(slot).is_filled());
        filled.map(move |slot| (state(slot) == State::Idle, &slot.facts))
    }

    /// The state of every slot that is not vacant, lowest first, how many connections had been closed there before, and what is known about it.
    pub fn occupied(&self) -> impl Iterator<Item = (State, u64, &Facts)> {
        let words = self.slots.iter().map(|slot| (slot.word.read(), &slot.facts));
        words.filter(|((state, _), _)| *state != State::Vacant).map(|((state, life), facts)| (state, life, facts))
    }

    /// Every slot that a caller has, lowest first: how many connections had been closed there before, and what is known about it.
    pub fn leased(&self) -> impl Iterator<Item = (u64, &Facts)> {
        let words = self.slots.iter().map(|slot| (slot.word.read(), &slot.facts));
        words.filter(|((state, _), _)| *state == State::Leased).map(|((_, life), facts)| (life, facts))
    }

    /// The connection.
    #[inline]
    pub fn get<'a>(&'a self, claim: &'a Claim<C>) -> &'a C {
        // SAFETY: the claim owns the slot and says it is filled; it stays borrowed, so `get_mut` and the methods that consume a claim
        // cannot run meanwhile.
        unsafe { self.slot(claim).connection.get() }
    }

    /// The connection, for its only user.
    #[inline]
    pub fn get_mut<'a>(&'a self, claim: &'a mut Claim<C>) -> &'a mut C {
        // SAFETY: as in `get`, and the claim is borrowed mutably, so there is no other reference.
        unsafe { self.slot(claim).connection.get_mut() }
    }

    /// Everything about a claimed slot at once.
    #[inline]
    pub fn open<'a>(&'a self, claim: &'a mut Claim<C>) -> Opened<'a, C> {
        let slot = self.slot(claim);
        // SAFETY: as in `get_mut`.
        Opened { facts: &slot.facts, connection: unsafe { slot.connection.get_mut() } }
    }

    /// What is known about a claimed slot.
    #[inline]
    pub fn facts<'a>(&'a self, claim: &'a Claim<C>) -> &'a Facts {
        &self.slot(claim).facts
    }

    /// What is known about every slot, lowest first.
    pub fn all_facts(&self) -> impl Iterator<Item = &Facts> {
        self.slots.iter().map(|slot| &slot.facts)
    }

    /// Lets anybody claim the slot.
    #[inline]
    pub fn publish_idle(&self, claim: Claim<C>) {
        self.slot(&claim).word.publish(State::Idle);
    }

    /// Shows the slot as being in the hands of a caller.
    pub fn show_leased(&self, claim: &Claim<C>) {
        self.slot(claim).word.keep(State::Leased);
    }

    /// Shows the slot as being in the hands of the janitor.
    pub fn show_resetting(&self, claim: &Claim<C>) {
        self.slot(claim).word.keep(State::Resetting);
    }

    /// Takes the connection out in order to close it.
    pub fn take(&self, claim: Claim<C>) -> (C, Vacancy) {
        let slot = self.slot(&claim);
        // The word first: a table dropped after this point does not look for a connection here.
        slot.word.keep(State::Closing);
        // SAFETY: the claim owned the slot and said it was filled; it ends here, and the vacancy says that it is empty.
        let connection = unsafe { slot.connection.take() };
        (connection, Vacancy { table: self.id, index: slot.facts.index() })
    }

    /// Puts a connection that was just opened into its slot.
    pub fn fill(&self, vacancy: Vacancy, connection: C) -> Claim<C> {
        let slot = self.vacant_slot(&vacancy);
        // SAFETY: the vacancy owns the slot and says it is empty; it ends here, and the claim says that it is filled.
        unsafe { slot.connection.put(connection) };
        slot.word.keep(State::Leased);
        Claim::new(self.id, slot)
    }

    /// Gives up a slot for which no connection could be opened.
    pub fn publish_vacant(&self, vacancy: Vacancy) {
        self.vacant_slot(&vacancy).word.publish(State::Vacant);
    }

    /// Gives up a slot whose connection has been closed.
    pub fn publish_closed(&self, vacancy: Vacancy) {
        self.vacant_slot(&vacancy).word.publish_closed();
    }

    /// A place as a number, for the way to another thread.
    pub(crate) fn note(&self, place: &SharedClaim<C>) -> u32 {
        self.slot(place.claim()).facts.index
    }

    /// The claim as a number, for the way to another thread.
    pub(crate) fn send(&self, claim: Claim<C>) -> u32 {
        self.slot(&claim).facts.index
    }

    /// The claim again.
    ///
    /// # Safety
    ///
    /// The number comes from [`send`](Self::send), it is received once, and what was written before it was sent is visible.
    pub(crate) unsafe fn receive(&self, sent: u32) -> Claim<C> {
        match self.slots.get(sent as usize) {
            Some(slot) => Claim::new(self.id, slot),
            None => unreachable!("slot {sent} was sent and does not exist"),
        }
    }

    /// How many connections somebody has, or has given back or opened at this epoch or later.
    pub fn used_since(&self, epoch: u64) -> usize {
        let used = |slot: &&CachePadded<Slot<C>>| match slot.word.read().0 {
            State::Leased => true,
            State::Idle | State::Resetting => slot.facts.released_at.get() >= epoch,
            State::Vacant | State::Opening | State::Closing => false,
        };
        self.slots.iter().filter(used).count()
    }

    /// Whether no slot is in the hands of a caller, for one that has seen a pause in [`Gate::drain`](crate::gate::Gate::drain). Whoever claims an idle one
    /// afterwards sees that, too, and so does whoever [offers](crate::handoff::Core::offer) one that was not idle.
    pub fn nobody_has_one(&self) -> bool {
        self.slots.iter().all(|slot| slot.word.is_nobodys())
    }

    /// Counts the slots by state, one after the other.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for slot in self.slots.iter() {
            let (state, generation) = slot.word.read();
            counts.closed += generation;
            counts.opened += generation + u64::from(state.is_filled() || state == State::Closing);
            match state {
                State::Vacant => {}
                State::Opening => counts.opening += 1,
                State::Idle => counts.idle += 1,
                State::Leased => counts.leased += 1,
                State::Resetting => counts.resetting += 1,
                State::Closing => counts.closing += 1,
            }
        }
        counts
    }

    #[inline]
    fn slot<'a>(&'a self, claim: &'a Claim<C>) -> &'a Slot<C> {
        assert!(claim.table == self.id, "a claim was used on a table that did not give it out");
        // SAFETY: this table made the claim from a reference to one of its slots, and keeps them in place for as long as it lives.
        unsafe { claim.slot.as_ref() }
    }

    fn vacant_slot(&self, vacancy: &Vacancy) -> &Slot<C> {
        assert!(vacancy.table == self.id, "a vacancy was used on a table that did not give it out");
        match self.slots.get(vacancy.index) {
            Some(slot) => slot,
            None => unreachable!("slot {} was vacant and does not exist", vacancy.index),
        }
    }
}

impl<C> Drop for Table<C> {
    fn drop(&mut self) {
        for slot in self.slots.iter() {
            if slot.word.read().0.is_filled() {
                // SAFETY: `&mut self`: no claim is in use any more, and the word says that the slot is filled.
                drop_quietly(unsafe { slot.connection.take() });
            }
        }
    }
}

impl<C> std::fmt::Debug for Table<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("id", &self.id).field("counts", &self.counts()).finish_non_exhaustive()
    }
}
