//! What somebody wants who waits.

use crate::slot::{Claim, SharedClaim};

/// What somebody wants who waits. A type and not a value: those who want a connection for themselves do not pay for those who share.
pub(crate) trait Want<C>: Unpin {
    /// Whether it can do with a connection that others use, too.
    const SHARES: bool;
    /// Whether it is a caller, who is counted, timed and told of. A monitor that asks for a check of its own is none.
    const IS_CALLER: bool;
    /// What comes of the wait.
    type Taken;

    fn whole(claim: Claim<C>) -> Self::Taken;
    fn place(place: SharedClaim<C>) -> Self::Taken;
    /// That of the connection.
    fn claim(taken: &Self::Taken) -> &Claim<C>;
}

/// A connection for oneself.
pub(crate) struct Alone<const IS_CALLER: bool = true>;

/// A connection for a check that a monitor makes.
pub(crate) type ForCheck = Alone<false>;

impl<C, const IS_CALLER: bool> Want<C> for Alone<IS_CALLER> {
    const SHARES: bool = false;
    const IS_CALLER: bool = IS_CALLER;
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
