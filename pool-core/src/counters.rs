//! Numbers and flags that are read from anywhere, each with the one ordering it needs.

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A number with one writer at a time, read by anybody.
#[derive(Debug)]
pub struct Figure(AtomicU64);

impl Default for Figure {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Figure {
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

/// A number that anybody may add to.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        // ORDERING: Relaxed: a count of events, not a message about them.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`.
        self.0.load(Ordering::Relaxed)
    }
}

/// A place that one party at a time may occupy.
#[derive(Debug)]
pub struct Seat(AtomicBool);

impl Default for Seat {
    fn default() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Seat {
    /// Occupies the seat if it is free.
    #[must_use]
    pub fn occupy(&self) -> bool {
        // ORDERING: Acquire, pairs with Release in `leave`: who follows sees what the last one left behind.
        self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Leaves the seat. For the one who occupied it.
    pub fn leave(&self) {
        // ORDERING: Release, pairs with Acquire in `occupy`.
        self.0.store(false, Ordering::Release);
    }

    /// Whether somebody sat there a moment ago.
    #[inline]
    pub fn is_taken(&self) -> bool {
        // ORDERING: Relaxed: a guess that `occupy` confirms.
        self.0.load(Ordering::Relaxed)
    }
}
