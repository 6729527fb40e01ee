//! The one place that knows whether the code runs for real or under the model checker.
//!
//! Everything below layer 2 takes its atomics and orderings from here. With the feature `loom` they are loom's, so the models explore every
//! interleaving and every reordering the memory model allows; without it they are the standard library's.
//!
//! Each ordering that is stronger than `Relaxed` carries the name of its place. A build for the models reads the environment variable
//! `POOL_MUTANT`: the ordering of that name is weakened to `Relaxed`, the fence of that name left out. A run in which no model
//! notices has found an ordering that nothing justifies; `.ci/mutants` tries them all, in one build.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(not(feature = "loom"))]
pub(crate) use crossbeam_queue::SegQueue;

/// Stands in for crossbeam's queue, which the models cannot see into.
#[cfg(feature = "loom")]
#[derive(Debug)]
pub(crate) struct SegQueue<T>(loom::sync::Mutex<std::collections::VecDeque<T>>);

#[cfg(feature = "loom")]
#[allow(clippy::unwrap_used)] // a model that panics has failed
impl<T> SegQueue<T> {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Mutex::default())
    }

    pub(crate) fn push(&self, value: T) {
        self.0.lock().unwrap().push_back(value);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.lock().unwrap().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A number that anybody may add to. Here, and not with its kin in layer 1, since what the seams measure is counted by it, too.
#[derive(Debug)]
pub struct Counter(pub(crate) AtomicU64);

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

    /// Adds one, and tells how many came before.
    pub fn next(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`.
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`.
        self.0.load(Ordering::Relaxed)
    }
}

/// The ordering of the place `name`.
#[cfg(not(feature = "loom"))]
#[inline(always)]
pub(crate) const fn order(_name: &'static str, ordering: Ordering) -> Ordering {
    ordering
}

/// The ordering of the place `name`, unless it is the one that this run weakens.
#[cfg(feature = "loom")]
#[doc(hidden)]
pub fn order(name: &'static str, ordering: Ordering) -> Ordering {
    // ORDERING: Relaxed: the mutant.
    if is_weakened(name) { Ordering::Relaxed } else { ordering }
}

/// A fence that takes part in a handshake of the kind "make visible, fence, look".
#[inline(always)]
pub(crate) fn full_fence(name: &'static str) {
    #[cfg(feature = "loom")]
    if is_weakened(name) {
        return;
    }
    let _ = name;
    // ORDERING: SeqCst, the only one: the reason is where it is called.
    fence(Ordering::SeqCst);
}

#[cfg(feature = "loom")]
fn is_weakened(name: &str) -> bool {
    static MUTANT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("POOL_MUTANT").ok()).as_deref() == Some(name)
}
