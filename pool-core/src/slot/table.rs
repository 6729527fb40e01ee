//! All slots of a pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering as PlainOrdering};

use crossbeam_utils::CachePadded;

use super::cell::Cell;
use super::claim::{Claim, Vacancy};
use super::word::{State, Word};
use crate::counters::Figure;

/// What may be known about a slot without owning it. Only the owner writes.
#[derive(Debug, Default)]
pub struct Facts {
    /// How often the slot was leased.
    pub uses: Figure,
    /// Epoch at which the connection was last released, or opened.
    pub released_at: Figure,
    /// Epoch at which the connection was last known to work.
    pub checked_at: Figure,
    /// Epoch from which on the connection is too old.
    pub expires_at: Figure,
}

/// One place for a connection, on cache lines of its own.
struct Slot<C> {
    word: Word,
    facts: Facts,
    connection: Cell<C>,
}

// SAFETY: the connection is reachable only through a `Claim`, of which each slot has at most one (whoever moves the word makes it). A
// claim moved to another thread moves the connection: `C: Send`. A claim shared between threads shares the connection, but a claim
// is `Sync` only for `C: Sync`. The other fields are atomics.
unsafe impl<C: Send> Sync for Slot<C> {}

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

/// The slots of one pool.
pub struct Table<C> {
    id: u64,
    slots: Box<[CachePadded<Slot<C>>]>,
}

impl<C> Table<C> {
    /// A table with `size` vacant slots and an id that no other table of this process has or will have.
    pub fn new(size: usize) -> Self {
        static NEXT_ID: PlainU64 = PlainU64::new(Claim::<()>::NO_TABLE + 1);
        let slot = || Slot { word: Word::vacant(), facts: Facts::default(), connection: Cell::empty() };
        Self {
            // ORDERING: Relaxed: uniqueness is all that counts.
            id: NEXT_ID.fetch_add(1, PlainOrdering::Relaxed),
            slots: std::iter::repeat_with(slot).take(size).map(CachePadded::new).collect(),
        }
    }

    /// Never reused, unlike an address.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many slots there are.
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    /// Claims the idle slot `hint` if it can be had, otherwise the lowest one.
    #[inline]
    pub fn claim_idle(&self, hint: Option<usize>) -> Option<Claim<C>> {
        hint.and_then(|index| self.claim_at(index)).or_else(|| self.claim_lowest())
    }

    fn claim_lowest(&self) -> Option<Claim<C>> {
        (0..self.slots.len()).find_map(|index| self.claim_at(index))
    }

    /// Claims the slot at `index` if it is idle. `None` for an index that is out of bounds, too.
    #[inline]
    pub fn claim_at(&self, index: usize) -> Option<Claim<C>> {
        self.slots.get(index)?.word.claim_idle().then(|| Claim::new(self.id, index))
    }

    /// Claims the lowest vacant slot.
    pub fn claim_vacant(&self) -> Option<Vacancy> {
        let index = self.slots.iter().position(|slot| slot.word.claim_vacant())?;
        Some(Vacancy { table: self.id, index })
    }

    /// The connection.
    #[inline]
    pub fn get<'a>(&'a self, claim: &'a Claim<C>) -> &'a C {
        // SAFETY: the claim owns the slot and says it is filled; it stays borrowed, so `get_mut` and the methods that consume a claim
        // cannot run meanwhile.
        unsafe { self.slot(claim.table, claim.index).connection.get() }
    }

    /// The connection, for its only user.
    #[inline]
    pub fn get_mut<'a>(&'a self, claim: &'a mut Claim<C>) -> &'a mut C {
        // SAFETY: as in `get`, and the claim is borrowed mutably, so there is no other reference.
        unsafe { self.slot(claim.table, claim.index).connection.get_mut() }
    }

    /// What is known about the slot at `index`, which must exist.
    #[inline]
    pub fn facts(&self, index: usize) -> &Facts {
        &self.slots[index].facts
    }

    /// Lets anybody claim the slot.
    #[inline]
    pub fn publish_idle(&self, claim: Claim<C>) {
        self.slot(claim.table, claim.index).word.publish(State::Idle);
    }

    /// Shows the slot as being in the hands of a caller.
    pub fn show_leased(&self, claim: &Claim<C>) {
        self.slot(claim.table, claim.index).word.keep(State::Leased);
    }

    /// Shows the slot as being in the hands of the janitor.
    pub fn show_resetting(&self, claim: &Claim<C>) {
        self.slot(claim.table, claim.index).word.keep(State::Resetting);
    }

    /// Takes the connection out in order to close it.
    pub fn take(&self, claim: Claim<C>) -> (C, Vacancy) {
        let slot = self.slot(claim.table, claim.index);
        // The word first: a table dropped after this point does not look for a connection here.
        slot.word.keep(State::Closing);
        // SAFETY: the claim owned the slot and said it was filled; it ends here, and the vacancy says that it is empty.
        let connection = unsafe { slot.connection.take() };
        (connection, Vacancy { table: claim.table, index: claim.index })
    }

    /// Puts a connection that was just opened into its slot.
    pub fn fill(&self, vacancy: Vacancy, connection: C) -> Claim<C> {
        let slot = self.slot(vacancy.table, vacancy.index);
        // SAFETY: the vacancy owns the slot and says it is empty; it ends here, and the claim says that it is filled.
        unsafe { slot.connection.put(connection) };
        slot.word.keep(State::Leased);
        Claim::new(vacancy.table, vacancy.index)
    }

    /// Gives up a slot for which no connection could be opened.
    pub fn publish_vacant(&self, vacancy: Vacancy) {
        self.slot(vacancy.table, vacancy.index).word.publish(State::Vacant);
    }

    /// Gives up a slot whose connection has been closed.
    pub fn publish_closed(&self, vacancy: Vacancy) {
        self.slot(vacancy.table, vacancy.index).word.publish_closed();
    }

    /// Counts the slots by state, one after the other.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for slot in &self.slots {
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
    fn slot(&self, table: u64, index: usize) -> &Slot<C> {
        assert!(table == self.id, "a claim was used on a table that did not give it out");
        &self.slots[index]
    }
}

impl<C> Drop for Table<C> {
    fn drop(&mut self) {
        for slot in &self.slots {
            if slot.word.read().0.is_filled() {
                // SAFETY: `&mut self`: no claim is in use any more, and the word says that the slot is filled.
                let connection = unsafe { slot.connection.take() };
                // One connection that panics in its destructor must not keep the others open.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(connection)));
            }
        }
    }
}

impl<C> std::fmt::Debug for Table<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("id", &self.id).field("counts", &self.counts()).finish_non_exhaustive()
    }
}
