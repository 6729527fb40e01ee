//! The gate: how many waiters nobody has promised a connection yet, and what else a release has to know.
//!
//! One word that the fast path reads and nobody writes unless somebody waits, the pool closes, its maximum is lowered, or its connections are to be
//! replaced.

use crate::sync::{AtomicU64, Ordering, full_fence, order};

const CLOSED: u64 = 1 << 63;
const OVERSIZE: u64 = 1 << 62;
/// Idle slots are handed out in an order that somebody has to keep.
const ORDERED: u64 = 1 << 61;
/// How many are ending a wait, and have taken one from the count that may have to come back. There is one janitor at a time, and perhaps one that leaves; and one who admits
/// those who share.
const ENDING: u64 = ORDERED - ONE_ENDING;
const ONE_ENDING: u64 = 1 << 58;
/// Nobody gets a connection who asks for one, and what is given back stays idle.
const PAUSED: u64 = 1 << 57;
/// The generation, from here up to those.
const ONE_GENERATION: u64 = 1 << 32;
const GENERATION: u64 = PAUSED - ONE_GENERATION;
const WAITING: u64 = ONE_GENERATION - 1;

/// Which connections are meant to be in use: those of the present generation, as a part of the gate's word. It repeats after 2^25
/// generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// As a number, to be kept in a figure.
    #[inline]
    pub fn to_figure(self) -> u32 {
        (self.0 / ONE_GENERATION) as u32
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(ONE_GENERATION) & GENERATION)
    }

    /// Whether this one came first: within half of all there are, after which they repeat.
    #[inline]
    pub fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) & GENERATION > GENERATION / 2
    }

    /// From such a number.
    #[inline]
    pub fn from_figure(figure: u32) -> Self {
        Self(u64::from(figure) * ONE_GENERATION)
    }
}

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
pub struct Sight(u64);

impl Sight {
    /// Whether a connection of this generation can simply be left idle: nobody is to be served, and no bit is set that matters for that.
    #[inline]
    pub fn is_clear_for(self, generation: Generation) -> bool {
        self.may_rest(generation) && self.to_be_served() == 0
    }

    /// As `is_clear_for`, whoever waits.
    pub fn may_rest(self, generation: Generation) -> bool {
        self.0 & !(ORDERED | ENDING | PAUSED | WAITING) == generation.0
    }

    /// As `is_clear_for`, and there is nothing else to be done about it.
    #[inline]
    pub fn is_plain_for(self, generation: Generation) -> bool {
        self.0 == generation.0
    }

    /// Whether somebody may have a connection of this generation that was let pass: the pool is neither closed nor paused, and this is the present
    /// generation.
    #[inline]
    pub fn lets_keep(self, generation: Generation) -> bool {
        // The first is the rule, and the quicker question.
        self.is_plain_for(generation) || self.0 & !(OVERSIZE | ORDERED | ENDING | WAITING) == generation.0
    }

    /// Whether a newcomer may try its luck: nobody waits, the pool is open and not paused, and no order has to be kept.
    #[inline]
    pub fn lets_pass(self) -> bool {
        self.0 & (CLOSED | ORDERED | ENDING | PAUSED | WAITING) == 0
    }

    /// As `lets_pass`, for a newcomer that keeps the order.
    pub fn lets_pass_in_order(self) -> bool {
        self.0 & (CLOSED | ENDING | PAUSED | WAITING) == 0
    }

    /// The present generation.
    #[inline]
    pub fn generation(self) -> Generation {
        Generation(self.0 & GENERATION)
    }

    /// Waiters without a promise.
    pub fn waiting(self) -> usize {
        usize::try_from(self.0 & WAITING).unwrap_or(usize::MAX)
    }

    /// Waiters without a promise, if they are to be served.
    pub fn to_be_served(self) -> usize {
        if self.is_paused() { 0 } else { self.waiting() }
    }

    /// What one finds that joins here.
    fn joined(self) -> Joined {
        match self.waiting() {
            _ if self.is_closed() => Joined::Closed,
            0 => Joined::First,
            _ => Joined::Behind,
        }
    }

    /// Whether the pool is closed.
    pub fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// Whether the pool is paused.
    #[inline]
    pub fn is_paused(self) -> bool {
        self.0 & PAUSED != 0
    }

    /// Whether there may be more connections than the maximum.
    pub fn is_oversize(self) -> bool {
        self.0 & OVERSIZE != 0
    }
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
    /// Whether an order of the idle slots has to be kept from now on. Nobody depends on the moment: one that becomes idle in the old way at this moment
    /// has no ticket, and is found all the same.
    pub fn set_ordered(&self, ordered: bool) {
        // ORDERING: Relaxed: what was released or claimed in the old way meanwhile is found all the same.
        if ordered {
            self.0.fetch_or(ORDERED, Ordering::Relaxed)
        } else {
            self.0.fetch_and(!ORDERED, Ordering::Relaxed)
        };
    }

    /// Looks at the gate, with no promise about what other threads are doing.
    #[inline]
    pub fn glance(&self) -> Sight {
        // ORDERING: Relaxed: whoever owes a waiter something uses `reserve`, which looks for itself. A newcomer that an old answer lets pass overtakes a
        // waiter that joins at the same moment: it counts as having come first. Once it has claimed a slot it looks again. Who finds nobody with a
        // connection and so calls a paused pool drained has written to the slot before (`Table::nobody_has_one`), or whoever left it idle has seen the pause
        // before that: the claim is Acquire, and this load cannot see less than what happened before it. So it is with the generation that was begun then.
        Sight(self.0.load(Ordering::Relaxed))
    }

    /// Looks at the gate after something that waiters may be waiting for became visible: either this sees the waiter, or the
    /// waiter's own search sees the thing.
    #[inline]
    pub fn look_after_publishing(&self) -> Sight {
        // ORDERING: SeqCst fence, pairs with the fences in `fence_after_joining`, `close`, `drain`, `resume`, `set_oversize` and `begin_generation`: the store before it (a slot becomes idle) and the load
        // after it cannot both miss the other side's count or bit and search (I4, no lost wake-up).
        full_fence("gate.look_after_publishing");
        self.glance()
    }

    /// Counts one waiter, which enters the queue next. Whoever takes this count before the waiter has entered leaves the grant in its cell. The generation is
    /// the one in which it came.
    pub fn join(&self) -> (Joined, Generation) {
        // ORDERING: Relaxed: nothing but the count is read through it.
        let before = Sight(self.0.fetch_add(1, Ordering::Relaxed));
        (before.joined(), before.generation())
    }

    /// To be called after a waiter has joined and entered the queue, before it relies on anybody or looks for anything.
    #[allow(clippy::unused_self)] // a step of this gate's protocol
    pub fn fence_after_joining(&self) {
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: either the one who made something visible sees the count, or what this
        // waiter looks at from now on (slots, capacity) shows it. Pairs with `Alarm::silence` and `Seat::leave_first`, too: either they find the
        // waiter in its cell, or the waiter finds the alarm silent and the seat free.
        full_fence("gate.fence_after_joining");
    }

    /// To be called after a waiter has looked and found nothing, before it relies on anybody again.
    #[allow(clippy::unused_self)] // a step of this gate's protocol
    pub fn fence_after_looking(&self) {
        // ORDERING: SeqCst fence, pairs with `Seat::leave_first`: either whoever leaves finds the waiter back in its cell, or the waiter finds the seat
        // free.
        full_fence("gate.fence_after_looking");
    }

    /// Takes one from the count: the caller now owes exactly one waiter a grant, and serves the oldest.
    #[must_use]
    pub fn reserve(&self) -> bool {
        self.take_one(|_| true, 0)
    }

    /// As `reserve`, for a connection of this generation, which is still the present one if it succeeds, and the pool is not paused.
    #[must_use]
    pub fn reserve_for(&self, generation: Generation) -> bool {
        self.take_one(|sight| sight.generation() == generation && !sight.is_paused(), 0)
    }

    /// Takes one from the count for a waiter that gives up: nobody will owe it anything. `false` if everybody is promised already, in which case
    /// somebody is on the way to this waiter or to one that came before it.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.take_one(|_| true, 0)
    }

    /// As `withdraw`, for somebody who ends the wait of another, and then `ends` or `restores` it. No newcomer passes meanwhile: the count may be one
    /// too low for the others that wait. `false`, too, while as many end waits as the word can count, which is more than there are: the caller
    /// comes again.
    #[must_use]
    pub fn begin_to_end(&self) -> bool {
        self.take_one(|sight| sight.0 & ENDING != ENDING, ONE_ENDING)
    }

    /// As `reserve_for`, for one who then `ends` what was begun, or `restores` the count: it may find that the oldest waiter cannot do with what it has. No newcomer
    /// passes meanwhile.
    #[must_use]
    pub fn begin_to_admit(&self, generation: Generation) -> bool {
        let agreed =
            |sight: Sight| sight.generation() == generation && !sight.is_paused() && sight.0 & ENDING != ENDING;
        self.take_one(agreed, ONE_ENDING)
    }

    /// The wait has ended.
    pub fn end(&self) {
        // ORDERING: Relaxed: nobody reads anything through it.
        self.0.fetch_sub(ONE_ENDING, Ordering::Relaxed);
    }

    /// The waiter was promised something meanwhile, so it was the count of another one that was taken. As if that one joined.
    pub fn restore(&self) -> Joined {
        // ORDERING: Relaxed, as in `join`.
        Sight(self.0.fetch_add(1_u64.wrapping_sub(ONE_ENDING), Ordering::Relaxed)).joined()
    }

    /// What was reserved for somebody is not for the one who is the oldest now. As if that one joined.
    pub fn come_back(&self) -> Joined {
        // ORDERING: Relaxed, as in `join`.
        Sight(self.0.fetch_add(1, Ordering::Relaxed)).joined()
    }

    fn take_one(&self, agreed: impl Fn(Sight) -> bool, and_add: u64) -> bool {
        let take = |word: u64| (word & WAITING != 0 && agreed(Sight(word))).then(|| word - 1 + and_add);
        // ORDERING: Relaxed: the word of the cell orders what is handed over.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Closes the pool for good. `true` for the caller that did it.
    pub fn close(&self) -> bool {
        // ORDERING: Relaxed: a waiter counted before is found by its count, one counted later sees the bit in the same word.
        let before = self.0.fetch_or(CLOSED, Ordering::Relaxed);
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: the search for idle slots that follows sees every slot whose
        // release did not see the bit.
        full_fence("gate.close");
        before & CLOSED == 0
    }

    /// Pauses the pool: nobody is served until `resume`, but for those who are promised a connection already. `true` for the caller that did it.
    pub fn pause(&self) -> bool {
        // ORDERING: Relaxed: `reserve_for` finds the bit in the word that it takes a waiter from.
        self.0.fetch_or(PAUSED, Ordering::Relaxed) & PAUSED == 0
    }

    /// Whether the pool is paused, for one that looks then whether anybody has a connection.
    pub fn drain(&self) -> bool {
        let paused = self.glance().is_paused();
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: either the look at the slots that follows sees that one has come back, or whoever has
        // made it idle sees the pause, and tells. Pairs with Acquire in `Word::claim`, through what that look leaves in idle slots.
        full_fence("gate.drain");
        paused
    }

    /// Ends the pause. `true` for the caller that did it, who then serves those who wait.
    pub fn resume(&self) -> bool {
        // ORDERING: Relaxed: a release that misses it is found by the search that follows.
        let before = self.0.fetch_and(!PAUSED, Ordering::Relaxed);
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: the search for idle slots that follows sees every slot that was left idle
        // because of the pause.
        full_fence("gate.resume");
        before & PAUSED != 0
    }

    /// Begins another generation: connections of earlier ones are not to be used again.
    pub fn begin_generation(&self) {
        let next = |word: u64| Some(word & !GENERATION | Generation(word & GENERATION).next().0);
        // ORDERING: Release, pairs with Acquire in `present_generation`: whoever judges by this generation knows why it was begun. A release that misses
        // it is found by the search that follows.
        let _ = self.0.fetch_update(order("gate.begin_generation.why", Ordering::Release), Ordering::Relaxed, next);
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: the search for idle slots that follows sees every slot whose
        // release did not see the new generation.
        full_fence("gate.begin_generation");
    }

    /// The present generation, for one who looks for the reason why it, or one before it, was begun.
    pub fn present_generation(&self) -> Generation {
        // ORDERING: Acquire, pairs with Release in `begin_generation`.
        Sight(self.0.load(order("gate.present_generation", Ordering::Acquire))).generation()
    }

    /// Tells those who release that there may be more connections than the maximum.
    pub fn set_oversize(&self) {
        // ORDERING: Release, pairs with Acquire in `clear_oversize`: whoever clears the bit knows the maximum that it was set for.
        self.0.fetch_or(OVERSIZE, order("gate.set_oversize.max", Ordering::Release));
        // ORDERING: SeqCst fence, pairs with `look_after_publishing`: the search for idle slots that follows sees every slot whose
        // release did not see the bit.
        full_fence("gate.set_oversize");
    }

    /// There are not more connections than the maximum any more. Whoever says so looks at the capacity once more afterwards.
    pub fn clear_oversize(&self) {
        // ORDERING: Acquire, pairs with Release in `set_oversize`: the look at the capacity that follows sees the maximum that the bit was set for.
        self.0.fetch_and(!OVERSIZE, order("gate.clear_oversize", Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_come_one_after_the_other_even_when_they_repeat() {
        let first = Generation(0);
        let [second, last] = [ONE_GENERATION, GENERATION].map(Generation);
        assert!(first.is_before(second) && !second.is_before(first) && !first.is_before(first));
        assert!(last.is_before(first) && last.is_before(second) && !first.is_before(last));
    }
}
