//! Proofs of owning a slot.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::table::Slot;

/// Ownership of one slot that holds a connection. Nobody else has one for the same slot.
///
/// It names its table, so using it on another one panics instead of touching a stranger's connection. Dropping a claim without giving it
/// back loses the slot until the pool is dropped; the layers above therefore keep every claim inside a guard. It is `Send` and `Sync`
/// as the connection is, because sharing a claim shares the connection.
#[must_use = "the slot stays taken until its claim is given back"]
pub struct Claim<C> {
    pub(super) table: u64,
    /// Of that table, which keeps its slots in place for as long as it lives.
    pub(super) slot: NonNull<Slot<C>>,
    pub(super) connection: PhantomData<C>,
}

// SAFETY: a claim is the right to use the connection through the table, so it may go wherever the connection may; the pointer in it
// is followed by the table alone.
unsafe impl<C: Send> Send for Claim<C> {}
// SAFETY: as above; a shared claim gives out shared references to the connection.
unsafe impl<C: Sync> Sync for Claim<C> {}

impl<C> Claim<C> {
    /// The table that no claim in use belongs to.
    pub(super) const NO_TABLE: u64 = 0;

    #[inline]
    pub(super) fn new(table: u64, slot: &Slot<C>) -> Self {
        Self { table, slot: NonNull::from(slot), connection: PhantomData }
    }

    /// Moves the claim out of a place that has to keep a value, such as a field of a type with a destructor. What stays
    /// behind fits no table; taking it again gives `None`.
    #[inline]
    pub fn take(&mut self) -> Option<Self> {
        let table = std::mem::replace(&mut self.table, Self::NO_TABLE);
        (table != Self::NO_TABLE).then_some(Self { table, slot: self.slot, connection: PhantomData })
    }
}

impl<C> fmt::Debug for Claim<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Ownership of one slot that holds no connection: one is being opened for it, or the last one is being closed.
#[derive(Debug)]
#[must_use = "the slot stays taken until its vacancy is filled or given up"]
pub struct Vacancy {
    pub(super) table: u64,
    pub(super) index: usize,
}
