//! The state word of a slot, the only truth about it.

use crate::sync::{AtomicU64, Ordering, order};

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// No connection, nobody's.
    Vacant = 0,
    /// No connection yet; owned by an opener.
    Opening = 1,
    /// A connection that anybody may claim.
    Idle = 2,
    /// A connection in the hands of a caller.
    Leased = 3,
    /// A connection in the hands of the janitor: to be reset, pinged or closed.
    Resetting = 4,
    /// The connection has been taken out to be closed.
    Closing = 5,
}

impl State {
    const MASK: u64 = 0b111;
    /// One connection of this slot closed: the word counts them above the state.
    const ONE_CLOSED: u64 = Self::MASK + 1;

    fn of(word: u64) -> Self {
        match word & Self::MASK {
            1 => Self::Opening,
            2 => Self::Idle,
            3 => Self::Leased,
            4 => Self::Resetting,
            5 => Self::Closing,
            _ => Self::Vacant,
        }
    }

    /// Whether a slot in this state holds a connection.
    pub(super) fn is_filled(self) -> bool {
        matches!(self, Self::Idle | Self::Leased | Self::Resetting)
    }
}

/// State and number of closed connections in one atomic. Only the owner of the slot writes it, except that anybody may move it out of
/// `Idle` or `Vacant`, which makes them the owner.
pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn vacant() -> Self {
        Self(AtomicU64::new(State::Vacant as u64))
    }

    /// State and number of connections closed so far; a snapshot that may be old the moment it returns.
    pub(super) fn read(&self) -> (State, u64) {
        // ORDERING: Relaxed: the caller owns nothing by it and reads nothing through it.
        let word = self.0.load(Ordering::Relaxed);
        (State::of(word), word / State::ONE_CLOSED)
    }

    /// Whether anybody may claim the slot; old the moment it returns, as all of `read`.
    pub(super) fn is_idle(&self) -> bool {
        self.read().0 == State::Idle
    }

    /// Moves `Idle` to `Leased`; whoever succeeds owns the slot and its connection.
    #[must_use]
    #[inline]
    pub(super) fn claim_idle(&self) -> bool {
        self.claim(State::Idle, State::Leased)
    }

    /// Moves `Vacant` to `Opening`; whoever succeeds owns the empty slot.
    #[must_use]
    pub(super) fn claim_vacant(&self) -> bool {
        self.claim(State::Vacant, State::Opening)
    }

    #[inline]
    fn claim(&self, from: State, to: State) -> bool {
        // ORDERING: Relaxed: only a guess that the exchange below confirms.
        let word = self.0.load(Ordering::Relaxed);
        let claimed = word ^ from as u64 ^ to as u64;
        // ORDERING: Acquire, pairs with Release in `publish`: what the last owner did to the connection and to the facts of the slot is
        // visible to the next one (I2). And with the fence before `is_nobodys`: a look at the gate afterwards sees the pause that was seen
        // there (I20). Failure owns nothing: Relaxed.
        let (success, failure) = (order("slot.claim", Ordering::Acquire), Ordering::Relaxed);
        State::of(word) == from && self.0.compare_exchange(word, claimed, success, failure).is_ok()
    }

    /// Whether no caller has the slot. If it is idle, whoever claims it from now on has seen what the one who asks had seen before its fence.
    pub(super) fn is_nobodys(&self) -> bool {
        loop {
            // ORDERING: Relaxed: for an idle slot a guess that the exchange below confirms. Whoever changes another state makes it visible before the fence in
            // `Gate::look_after_publishing`: if it is not seen here, the pause is seen there.
            let word = self.0.load(Ordering::Relaxed);
            match State::of(word) {
                State::Leased => return false,
                State::Idle => {}
                State::Vacant | State::Opening | State::Resetting | State::Closing => return true,
            }
            // ORDERING: Relaxed, and as good as Release by the fence in `Gate::drain`: pairs with Acquire in `claim`, which comes before this exchange, so that
            // it fails, or after it. It writes what is there, so the Release of the last owner goes on through it.
            if self.0.compare_exchange(word, word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Owner only: another state in which the slot stays owned.
    pub(super) fn keep(&self, to: State) {
        // ORDERING: Relaxed: nobody but the owner acts on these states; statistics alone read them.
        let word = self.0.load(Ordering::Relaxed);
        // ORDERING: Relaxed, as above.
        self.0.store(word & !State::MASK | to as u64, Ordering::Relaxed);
    }

    /// Owner only: gives the slot up, as `Idle` with a connection or as `Vacant` without one.
    #[inline]
    pub(super) fn publish(&self, to: State) {
        // ORDERING: Relaxed: the owner reads what it or its predecessor (by the Acquire in `claim`) wrote.
        let word = self.0.load(Ordering::Relaxed);
        // ORDERING: Release, pairs with Acquire in `claim` (I2).
        self.0.store(word & !State::MASK | to as u64, order("slot.publish", Ordering::Release));
    }

    /// Owner only: gives the slot up as `Vacant` after its connection was closed, which it counts.
    pub(super) fn publish_closed(&self) {
        // ORDERING: Relaxed: owner only, as in `publish`.
        let word = self.0.load(Ordering::Relaxed);
        // ORDERING: Release, pairs with Acquire in `claim` (I2).
        self.0.store((word & !State::MASK) + State::ONE_CLOSED, order("slot.publish_closed", Ordering::Release));
    }
}
