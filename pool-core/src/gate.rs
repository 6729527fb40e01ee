//! The gate: how many waiters nobody has promised a connection yet, and whether the pool is closed.
//!
//! One word that the fast path reads and nobody writes unless somebody waits or the pool closes.

use crate::sync::{AtomicU64, Ordering, fence};

const CLOSED: u64 = 1 << 63;

/// What a waiter found when it counted itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a waiter obeys what the gate says"]
pub enum Joined {
    /// Nobody was waiting unpromised: the waiter serves the queue once.
    First,
    /// Somebody else waits and serves.
    Behind,
    /// The pool is closed: nobody will come, so the waiter leaves again.
    Closed,
}

/// What a reading of the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Waiters without a promise.
    pub waiting: usize,
    /// Whether the pool is closed.
    pub closed: bool,
}

/// The word.
#[derive(Debug)]
pub struct Gate(AtomicU64);

impl Default for Gate {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Gate {
    /// Whether nobody waits and the pool is open: the fast path may try its luck.
    #[inline]
    pub fn is_clear(&self) -> bool {
        // ORDERING: Relaxed: an old answer lets a caller overtake a waiter that joins at the same moment, or lease from a pool that
        // closes at the same moment. Both count as having come first; the release that follows looks at the gate after a fence.
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Looks at the gate, with no promise about what other threads are doing.
    #[inline]
    pub fn glance(&self) -> Sight {
        // ORDERING: Relaxed: whoever acts on it uses `reserve`, which looks for itself.
        Self::sight(self.0.load(Ordering::Relaxed))
    }

    /// Looks at the gate after something that waiters may be waiting for became visible: either this sees the waiter, or the
    /// waiter's own search sees the thing.
    #[inline]
    pub fn look_after_publishing(&self) -> Sight {
        // ORDERING: SeqCst fence, pairs with the fence in `join` and in `close`: the store before it (a slot becomes idle) and the load
        // after it cannot both miss the other side's count or bit and search (I4, no lost wake-up).
        fence(Ordering::SeqCst);
        self.glance()
    }

    fn sight(word: u64) -> Sight {
        Sight { waiting: usize::try_from(word & !CLOSED).unwrap_or(usize::MAX), closed: word & CLOSED != 0 }
    }

    /// Counts one waiter, whose cell is already in the queue.
    pub fn join(&self) -> Joined {
        // ORDERING: Relaxed: whoever takes this count finds the waiter's cell, because the queue's own lock orders the two: were its visit
        // there before the waiter's, it would have taken a count that had not been added yet.
        let before = Self::sight(self.0.fetch_add(1, Ordering::Relaxed));
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`.
        fence(Ordering::SeqCst);
        match before {
            Sight { closed: true, .. } => Joined::Closed,
            Sight { waiting: 0, .. } => Joined::First,
            Sight { .. } => Joined::Behind,
        }
    }

    /// Takes one from the count: the caller now owes exactly one waiter a grant, and serves the oldest.
    #[must_use]
    pub fn reserve(&self) -> bool {
        self.take_one()
    }

    /// Takes one from the count for a waiter that gives up: nobody will owe it anything. `false` if everybody is promised already, in which case
    /// somebody is on the way to this waiter or to one that came before it.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.take_one()
    }

    fn take_one(&self) -> bool {
        let take = |word: u64| (word & !CLOSED != 0).then(|| word - 1);
        // ORDERING: Relaxed: the queue's lock orders the cells, see `join`; the slot that is handed over travels through it, too.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Closes the pool for good. `true` for the caller that did it.
    pub fn close(&self) -> bool {
        // ORDERING: Relaxed: a waiter counted before is found by its count, one counted later sees the bit in the same word.
        let before = self.0.fetch_or(CLOSED, Ordering::Relaxed);
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: the search for idle slots that follows sees every slot whose
        // release did not see the bit.
        fence(Ordering::SeqCst);
        before & CLOSED == 0
    }
}
