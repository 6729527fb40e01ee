//! The right to use a connection together with others.

use std::fmt;
use std::marker::PhantomData;

use super::claim::Claim;
use super::table::Table;

/// One user's part of a slot that several use. Whoever drops it without leaving keeps the slot from ever being its last user's.
///
/// It goes from thread to thread only if the connection may be used by several: `Sync` is asked for where a slot is first opened to others, and nobody gets one of
/// these for a slot that is not.
#[must_use = "the slot stays in use until its user leaves"]
pub struct SharedClaim<C> {
    /// Never used for more than a shared reference, until it is that of the last user.
    claim: Claim<C>,
    connection: PhantomData<*const C>,
}

// SAFETY: it gives out shared references to the connection on whichever thread it is, and the last one is as good as a claim.
unsafe impl<C: Send + Sync> Send for SharedClaim<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync> Sync for SharedClaim<C> {}

impl<C> SharedClaim<C> {
    /// The claim.
    ///
    /// # Safety
    ///
    /// The caller is the last user, and nobody can join.
    pub(crate) unsafe fn into_claim(self) -> Claim<C> {
        self.claim
    }

    /// The claim, for what needs no more than that somebody uses the connection.
    #[inline]
    pub fn claim(&self) -> &Claim<C> {
        &self.claim
    }

    /// As [`Claim::take`].
    #[inline]
    pub fn take(&mut self) -> Option<Self> {
        self.claim.take().map(|claim| Self { claim, connection: PhantomData })
    }
}

impl<C> Table<C> {
    /// The owner of a claim becomes a user among others.
    pub(crate) fn share(claim: Claim<C>) -> SharedClaim<C> {
        SharedClaim { claim, connection: PhantomData }
    }

    /// One more user of a slot.
    ///
    /// # Safety
    ///
    /// The caller has been counted among the users of the slot, which is open to others by one who knows that the connection is `Sync`.
    pub(crate) unsafe fn join(&self, index: usize) -> Option<SharedClaim<C>> {
        // Not more than a number: no claim has been sent.
        let slot = self.slots.get(index)?;
        Some(SharedClaim { claim: Claim::new(self.id(), slot), connection: PhantomData })
    }
}

impl<C> fmt::Debug for SharedClaim<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedClaim").field(&self.claim).finish()
    }
}
