//! How long the server is at one request, of many that wait for it in a row.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the server is at one request, in microseconds. Requests are answered one after the other: each has begun when the one before it was answered, or when it was sent if there was none. On the way they are for as long as the quickest of all has been, which is
/// not the server's doing. Whoever holds the wire notes it, and nobody else.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long the server may be at one request that others wait behind.
    limit: AtomicU64,
    /// When the one began that the server is at.
    since: AtomicU64,
    /// Whether that one was sent when there was no other.
    is_first: AtomicBool,
    /// How long the quickest took that was sent when there was no other.
    quickest: AtomicU64,
    /// How long the last one took.
    last: AtomicU64,
    /// How many took longer than they may.
    exceeded: AtomicU64,
}

impl Default for Pace {
    /// A login is under way.
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let (limit, quickest) = (AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX));
        Self { limit, since: zero(), is_first: AtomicBool::new(true), quickest, last: zero(), exceeded: zero() }
    }
}

impl Pace {
    /// So long may the server be at one request that others wait behind; `None`: as long as it likes.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        let limit = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A request is sent while there is no other.
    pub(super) fn begin(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
        self.is_first.store(true, Ordering::Relaxed);
    }

    /// One or more have been answered. Those that are answered together have been quick, but for one perhaps.
    pub(super) fn note_answer(&self, now: u64) {
        let took = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if self.is_first.load(Ordering::Relaxed) {
            self.is_first.store(false, Ordering::Relaxed);
            self.quickest.fetch_min(took, Ordering::Relaxed);
        }
        if took >= self.longest() {
            self.exceeded.store(self.exceeded.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
        self.last.store(took, Ordering::Release);
        self.since.store(now, Ordering::Relaxed);
    }

    /// How long it may take until an answer is there.
    fn longest(&self) -> u64 {
        self.limit.load(Ordering::Relaxed).saturating_add(self.quickest.load(Ordering::Relaxed))
    }

    /// Whether the server would be at its request for too long by now, if it is at one.
    pub(super) fn is_exceeded_by(&self, now: u64) -> bool {
        now.saturating_sub(self.since.load(Ordering::Relaxed)) >= self.longest()
    }

    /// How many have taken longer than they may.
    pub(crate) fn exceeded(&self) -> u64 {
        self.exceeded.load(Ordering::Acquire)
    }

    /// Whether the last one that was answered took longer than it may.
    pub(crate) fn has_just_been_exceeded(&self) -> bool {
        self.last.load(Ordering::Acquire) >= self.longest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_begins_when_the_one_before_it_is_answered() {
        let pace = Pace::default();
        pace.set_limit(Some(Duration::from_millis(1)));
        pace.note_answer(700);
        assert_eq!(pace.exceeded(), 0, "nothing is known of the way before the first answer");
        pace.begin(10_000);
        pace.note_answer(10_100);
        for answered in [11_000, 12_099, 13_198] {
            pace.note_answer(answered);
        }
        assert_eq!((pace.exceeded(), pace.has_just_been_exceeded()), (0, false), "the way is left out");
        assert!(!pace.is_exceeded_by(14_297) && pace.is_exceeded_by(14_298));
        pace.note_answer(14_298);
        assert_eq!((pace.exceeded(), pace.has_just_been_exceeded()), (1, true));
        pace.begin(50_000);
        pace.note_answer(50_050);
        pace.note_answer(51_100);
        assert_eq!((pace.exceeded(), pace.has_just_been_exceeded()), (2, true), "the way is shorter than was known");
        pace.note_answer(51_200);
        assert_eq!((pace.exceeded(), pace.has_just_been_exceeded()), (2, false));
    }

    #[test]
    fn without_a_limit_nothing_takes_too_long() {
        let pace = Pace::default();
        pace.begin(5);
        pace.note_answer(u64::MAX);
        assert!(!pace.is_exceeded_by(u64::MAX - 1) && pace.exceeded() == 0);
    }
}
