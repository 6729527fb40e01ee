//! Proofs of owning a slot.

use std::fmt;
use std::marker::PhantomData;

/// Ownership of one slot that holds a connection. Nobody else has one for the same slot.
///
/// It names its table, so using it on another one panics instead of touching a stranger's connection. Dropping a claim without giving it
/// back loses the slot until the pool is dropped; the layers above therefore keep every claim inside a guard. It is `Send` and `Sync`
/// as the connection is, because sharing a claim shares the connection.
#[must_use = "the slot stays taken until its claim is given back"]
pub struct Claim<C> {
    pub(super) table: u64,
    pub(super) index: usize,
    pub(super) connection: PhantomData<C>,
}

impl<C> Claim<C> {
    /// The table that no claim in use belongs to.
    pub(super) const NO_TABLE: u64 = 0;

    #[inline]
    pub(super) fn new(table: u64, index: usize) -> Self {
        Self { table, index, connection: PhantomData }
    }

    /// The slot's place in its table.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Moves the claim out of a place that has to keep a value, such as a field of a type with a destructor. What stays
    /// behind fits no table; taking it again gives `None`.
    #[inline]
    pub fn take(&mut self) -> Option<Self> {
        let claim = std::mem::replace(self, Self::new(Self::NO_TABLE, 0));
        (claim.table != Self::NO_TABLE).then_some(claim)
    }
}

impl<C> fmt::Debug for Claim<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("table", &self.table).field("index", &self.index).finish()
    }
}

/// Ownership of one slot that holds no connection: one is being opened for it, or the last one is being closed.
#[derive(Debug)]
#[must_use = "the slot stays taken until its vacancy is filled or given up"]
pub struct Vacancy {
    pub(super) table: u64,
    pub(super) index: usize,
}
