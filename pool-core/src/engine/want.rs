//! What somebody wants who waits.

use crate::slot::{Claim, SharedClaim};

/// What somebody wants who waits. A type and not a value: those who want a connection for themselves do not pay for those who share.
pub(crate) trait Want<C>: Unpin {
    /// Whether it can do with a connection that others use, too.
    const SHARES: bool;
    /// What comes of the wait.
    type Taken;

    fn whole(claim: Claim<C>) -> Self::Taken;
    fn place(place: SharedClaim<C>) -> Self::Taken;
    /// That of the connection.
    fn claim(taken: &Self::Taken) -> &Claim<C>;
}

/// A connection for oneself.
pub(crate) struct Alone;

impl<C> Want<C> for Alone {
    const SHARES: bool = false;
    type Taken = Claim<C>;

    #[inline]
    fn whole(claim: Claim<C>) -> Claim<C> {
        claim
    }

    #[cold]
    fn place(_: SharedClaim<C>) -> Claim<C> {
        unreachable!("a waiter that wants a connection for itself was given a place beside others")
    }

    fn claim(taken: &Claim<C>) -> &Claim<C> {
        taken
    }
}
