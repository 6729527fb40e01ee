//! How much passes, and when something did last.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::diagnosis::{CLASSES, class_of};

/// What has passed so far. Whoever holds the wire notes it, and nobody else.
#[derive(Debug)]
pub(crate) struct Traffic {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds since the beginning.
    last: AtomicU64,
    /// Requests that are not answered, and those of which a part has been sent.
    in_flight: AtomicU64,
    /// How many requests there have been, the closing of statements left out.
    asked: AtomicU64,
    /// Errors that the server has reported, by their class. Most sessions never have any.
    errors: OnceLock<Box<[AtomicU64; CLASSES.len()]>>,
    pace: Pace,
}

impl Default for Traffic {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let (sent, received, last, in_flight, asked) = (zero(), zero(), zero(), zero(), zero());
        let (errors, pace) = (OnceLock::new(), Pace::default());
        Self { began: Instant::now(), sent, received, last, in_flight, asked, errors, pace }
    }
}

impl Traffic {
    pub(crate) fn note_sent(&self, bytes: usize, in_flight: usize) {
        add(&self.sent, bytes);
        let now = self.now();
        // Before that is seen to be under way.
        if in_flight > 0 && self.in_flight.load(Ordering::Relaxed) == 0 {
            self.pace.begin(now);
        }
        self.note(in_flight, now);
    }

    pub(crate) fn note_received(&self, bytes: usize, in_flight: usize) {
        add(&self.received, bytes);
        let now = self.now();
        if (in_flight as u64) < self.in_flight.load(Ordering::Relaxed) {
            self.pace.note_answer(now);
        }
        self.note(in_flight, now);
    }

    fn note(&self, in_flight: usize, now: u64) {
        self.in_flight.store(in_flight as u64, Ordering::Release);
        self.last.store(now, Ordering::Release);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How quickly the server answers.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whether the server is at a request for longer than one may take that others wait behind.
    pub(super) fn is_held_up(&self) -> bool {
        self.in_flight() > 0 && self.pace.is_exceeded_by(self.now())
    }

    /// The server has reported an error with this code.
    pub(crate) fn note_error(&self, code: &str) {
        add(&self.errors.get_or_init(none)[class_of(code)], 1);
    }

    /// How many errors it has reported, by their class.
    pub(crate) fn errors(&self) -> [u64; CLASSES.len()] {
        self.errors
            .get()
            .map_or([0; CLASSES.len()], |errors| errors.each_ref().map(|count| count.load(Ordering::Acquire)))
    }

    pub(super) fn note_asked(&self) {
        add(&self.asked, 1);
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::try_from(self.in_flight.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// For how long nothing has passed.
    pub(super) fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_micros(self.last.load(Ordering::Acquire)))
    }
}

fn none() -> Box<[AtomicU64; CLASSES.len()]> {
    Box::new([const { AtomicU64::new(0) }; CLASSES.len()])
}

/// One thread at a time writes, so that no stronger operation is needed.
fn add(counter: &AtomicU64, more: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more as u64), Ordering::Release);
}
