//! Numbers and marks that are read from anywhere, each with the one ordering it needs.

use std::time::Duration;

pub use crate::sync::Counter;
use crate::sync::{AtomicU32, AtomicU64, Ordering, full_fence, order};

/// A number with one writer at a time, read by anybody.
#[derive(Debug)]
pub struct Figure(AtomicU64);

impl Default for Figure {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Figure {
    /// A figure that begins with this value.
    pub fn of(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The number, which may be old the moment it returns.
    #[inline]
    pub fn get(&self) -> u64 {
        // ORDERING: Relaxed: a figure stands for itself; nothing else is read through it.
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number. For the one writer.
    #[inline]
    pub fn set(&self, value: u64) {
        // ORDERING: Relaxed, as in `get`. A writer that follows another one owns the same slot and is ordered by its word.
        self.0.store(value, Ordering::Relaxed);
    }
}

/// As [`Figure`], for a small number in a small place.
#[derive(Debug)]
pub struct SmallFigure(AtomicU32);

impl Default for SmallFigure {
    fn default() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl SmallFigure {
    /// The number, which may be old the moment it returns.
    #[inline]
    pub fn get(&self) -> u32 {
        // ORDERING: Relaxed, as in `Figure::get`.
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number. For the one writer.
    #[inline]
    pub fn set(&self, value: u32) {
        // ORDERING: Relaxed, as in `Figure::set`.
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Whether something is so, as far as anybody has said.
#[derive(Debug)]
pub struct Flag(AtomicU64);

impl Default for Flag {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Flag {
    /// It is so.
    pub fn raise(&self) {
        // ORDERING: Relaxed: it stands for itself; where it matters who comes first there are fences around it.
        self.0.store(1, Ordering::Relaxed);
    }

    /// It is not.
    pub fn lower(&self) {
        // ORDERING: Relaxed, as in `raise`.
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether it is so.
    pub fn is_up(&self) -> bool {
        // ORDERING: Relaxed, as in `raise`.
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// How often something may be done that one party allows and any other does.
#[derive(Debug, Default)]
pub struct Permits(Counter);

impl Permits {
    /// Allows it once more.
    pub fn add(&self) {
        self.0.add(1);
    }

    /// How often it may be done.
    pub fn left(&self) -> u64 {
        self.0.get()
    }

    /// Takes one permit, if there is one.
    #[must_use]
    pub fn take(&self) -> bool {
        self.take_up_to(1) == 1
    }

    /// Takes so many permits, or as many as there are. How many.
    pub fn take_up_to(&self, most: u64) -> u64 {
        let less = |left: u64| Some(left.saturating_sub(most));
        // ORDERING: Relaxed: a number that nobody reads anything through.
        let before = self.0.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.unwrap_or_else(|left| left).min(most)
    }
}

/// The number under which something has been announced that nobody has looked at yet, or 0.
#[derive(Debug)]
pub struct Mark(AtomicU64);

impl Default for Mark {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Mark {
    /// Announces, after `Gate::look_after_publishing`. `true` unless it is announced under this number already.
    #[must_use]
    pub fn raise(&self, number: u64) -> bool {
        // ORDERING: Relaxed: the fence before it and Acquire in `lower` make what is announced visible to the one who lowers the mark, even if it was up
        // already.
        self.0.swap(number, Ordering::Relaxed) != number
    }

    /// Takes the mark away if it has this number, for one who looks at what was announced afterwards. `false` if it has been announced under another one
    /// since.
    #[must_use]
    pub fn lower(&self, number: u64) -> bool {
        // ORDERING: Acquire, pairs with the fence before `raise`.
        self.0.compare_exchange(number, 0, order("mark.lower", Ordering::Acquire), Ordering::Relaxed).is_ok()
    }

    /// Whether it had this number a moment ago.
    pub fn is(&self, number: u64) -> bool {
        // ORDERING: Relaxed: a guess.
        self.0.load(Ordering::Relaxed) == number
    }
}

/// How often something has begun and ended that takes a moment.
#[derive(Debug, Default)]
pub struct Moments {
    begun: Counter,
    ended: Counter,
}

/// One of those moments, which ends when this is dropped.
#[derive(Debug)]
#[must_use = "the moment ends when this is dropped"]
pub struct Moment<'a>(&'a Moments);

impl Moments {
    /// Begins one.
    pub fn begin(&self) -> Moment<'_> {
        self.enter();
        Moment(self)
    }

    /// As `begin`, for one who says when it ends.
    pub fn enter(&self) {
        self.begun.add(1);
    }

    /// One that was entered ends.
    pub fn leave(&self) {
        self.ended.add(1);
    }

    /// How many go on, as far as anybody can tell.
    pub fn under_way(&self) -> u64 {
        let ended = self.ended();
        self.begun.get().saturating_sub(ended)
    }

    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.ended.get()
    }

    /// Whether none has gone on since so many had ended, as far as anybody can tell.
    pub fn none_since(&self, ended: u64) -> bool {
        self.begun.get() == ended
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A place that one party at a time may occupy, in a name that is a number.
#[derive(Debug)]
pub struct Seat(AtomicU64);

const NOBODY: u64 = 0;

impl Default for Seat {
    fn default() -> Self {
        Self(AtomicU64::new(NOBODY))
    }
}

impl Seat {
    /// Occupies the seat if it is free, in a name other than 0.
    #[must_use]
    pub fn occupy(&self, name: u64) -> bool {
        // ORDERING: Acquire, pairs with Release in `leave`: who follows sees what the last one left behind.
        self.0.compare_exchange(NOBODY, name, order("seat.occupy", Ordering::Acquire), Ordering::Relaxed).is_ok()
    }

    /// Leaves the seat. For the one who occupied it.
    pub fn leave(&self) {
        // ORDERING: Release, pairs with Acquire in `occupy`.
        self.0.store(NOBODY, order("seat.leave", Ordering::Release));
    }

    /// As `leave`, for one who then looks for those who relied on it.
    pub fn leave_first(&self) {
        self.leave();
        // ORDERING: SeqCst fence, pairs with `Gate::fence_after_joining`: a waiter that still saw the seat taken is found in its cell.
        full_fence("seat.leave_first");
    }

    /// Whether somebody sat there a moment ago.
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.occupant() != NOBODY
    }

    /// The name of the one who sat there a moment ago, or 0.
    #[inline]
    pub fn occupant(&self) -> u64 {
        // ORDERING: Relaxed: a guess that `occupy` confirms.
        self.0.load(Ordering::Relaxed)
    }
}

/// The earliest of the moments that somebody has to be called at.
#[derive(Debug)]
pub struct Alarm(AtomicU64);

impl Default for Alarm {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Alarm {
    /// When it rings.
    pub fn rings_at(&self) -> u64 {
        // ORDERING: Relaxed: whoever advanced it rings the bell afterwards.
        self.0.load(Ordering::Relaxed)
    }

    /// Makes it ring at `moment` or before. `true` if it would have rung later: the one who listens has to be told. For a waiter that is in the
    /// queue, after `Gate::fence_after_joining`.
    pub fn advance(&self, moment: u64) -> bool {
        // ORDERING: Relaxed: the waiter's own deadline is in its cell, and found there by whoever silences the alarm later. The load alone in most cases,
        // so that waiters do not write a line that all of them read.
        moment < self.0.load(Ordering::Relaxed) && moment < self.0.fetch_min(moment, Ordering::Relaxed)
    }

    /// Makes it ring never, for one who looks at every deadline then and advances it to the earliest.
    pub fn silence(&self) {
        // ORDERING: Relaxed: what counts is the fence.
        self.0.store(u64::MAX, Ordering::Relaxed);
        // ORDERING: SeqCst fence, pairs with `Gate::fence_after_joining`: a waiter that saw the alarm before it was silenced is found in its cell.
        full_fence("alarm.silence");
    }
}

/// Lets some of those pass that come one after the other, and counts the rest: for what is logged and may happen very often. Whoever asks takes no lock and waits for nobody.
///
/// # Example
///
#[cfg_attr(feature = "loom", doc = "```ignore")]
#[cfg_attr(not(feature = "loom"), doc = "```")]
/// use std::time::Duration;
///
/// let throttle = pool_core::Throttle::new(Duration::from_secs(10), 1);
/// let mut told = Vec::new();
/// for second in [0, 1, 2, 11] {
///     if let Some(left_out) = throttle.ask(Duration::from_secs(second)) {
///         told.push((second, left_out));
///     }
/// }
/// assert_eq!(told, [(0, 0), (11, 2)]);
/// ```
#[derive(Debug)]
pub struct Throttle {
    interval: u64,
    /// By how much those who pass may be ahead of the interval.
    ahead: u64,
    /// When the next one passes, if none may be ahead.
    next: AtomicU64,
    left_out: Counter,
}

impl Throttle {
    /// Lets one pass each `interval`; after a while without any, up to `at_once`, which is 1 at least.
    pub fn new(interval: Duration, at_once: u32) -> Self {
        let interval = nanos(interval);
        let ahead = interval.saturating_mul(u64::from(at_once.saturating_sub(1)));
        Self { interval, ahead, next: AtomicU64::new(0), left_out: Counter::default() }
    }

    /// Asks to pass, at a moment that is given by its distance from any other one, which has to be always the same. If that is so: how many have not passed since the last one that has.
    pub fn ask(&self, now: Duration) -> Option<u64> {
        let now = nanos(now);
        let pass = |next: u64| {
            let ahead = next.saturating_sub(now);
            (ahead <= self.ahead).then(|| next.max(now).saturating_add(self.interval))
        };
        // ORDERING: Relaxed: a number that nobody reads anything through.
        if self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pass).is_ok() {
            // ORDERING: Relaxed: a count of events; one that comes in this moment belongs to the next.
            return Some(self.left_out.0.swap(0, Ordering::Relaxed));
        }
        self.left_out.add(1);
        None
    }
}

/// Up to some centuries.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn one_passes_each_interval_and_a_few_at_once() {
        let throttle = Throttle::new(Duration::from_secs(10), 3);
        let at = |second| throttle.ask(Duration::from_secs(second));
        assert_eq!([0, 0, 0, 0, 9].map(at), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!([10, 11, 20].map(at), [Some(2), None, Some(1)]);
        assert_eq!([100, 100, 100, 100].map(at), [Some(0), Some(0), Some(0), None], "and no more after a long while");
    }

    #[test]
    fn each_that_asks_passes_or_is_counted() {
        let throttle = Throttle::new(Duration::from_secs(1), 1);
        let told = || {
            (0..1000)
                .filter_map(|at| throttle.ask(Duration::from_millis(at)))
                .fold((0, 0), |(n, m), left| (n + 1, m + left))
        };
        let sums = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(told)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).fold((0, 0), |(n, m), (a, b)| (n + a, m + b))
        });
        assert_eq!(sums.0, 1);
        assert_eq!(sums.1 + throttle.left_out.get(), 3999);
    }
}
