//! Segments in stock: made once, used again and again, freed with the queue.

use super::segment::Segment;
use crate::chunks::Chunks;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, order};

const INDEX_BITS: u32 = 24;
const INDEX: u64 = (1 << INDEX_BITS) - 1;

/// All segments of a queue, and a stack of those that nobody uses.
pub(super) struct Stock {
    segments: Chunks<Segment>,
    made: AtomicU64,
    /// The top of the stack: index plus one, or zero; above it a count of changes, so that a top that has been away is not taken for the same.
    top: AtomicU64,
}

impl Stock {
    pub(super) fn new() -> Self {
        Self { segments: Chunks::new(), made: AtomicU64::new(0), top: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Segment> {
        self.segments.get(index)
    }

    /// A segment for a caller that alone knows it, and its index.
    pub(super) fn take(&self) -> (usize, &Segment) {
        let index = self.pop().unwrap_or_else(|| self.make());
        match self.segments.get(index) {
            Some(segment) => (index, segment),
            None => unreachable!("segment {index} is in stock and was never made"),
        }
    }

    fn make(&self) -> usize {
        // ORDERING: Relaxed: the number is what counts.
        let index = to_index(self.made.fetch_add(1, Relaxed));
        self.segments.grow_to(index + 1, |_| Segment::unused());
        index
    }

    fn pop(&self) -> Option<usize> {
        // ORDERING: Acquire, pairs with Release in `put`: its last life, and what lies below it.
        let acquire = order("stock.pop", Acquire);
        let mut top = self.top.load(acquire);
        loop {
            let index = to_index((top & INDEX).checked_sub(1)?);
            // ORDERING: Relaxed: read again if the top has changed meanwhile.
            let below = self.segments.get(index)?.below.load(Relaxed);
            match self.top.compare_exchange_weak(top, changed(top, below), acquire, acquire) {
                Ok(_) => return Some(index),
                Err(now) => top = now,
            }
        }
    }

    /// Gives back a segment that nobody uses.
    pub(super) fn put(&self, index: usize) {
        let Some(segment) = self.segments.get(index) else { return };
        // ORDERING: Relaxed: a guess that the exchange below confirms.
        let mut top = self.top.load(Relaxed);
        loop {
            // ORDERING: Relaxed: published with the top.
            segment.below.store(top & INDEX, Relaxed);
            // ORDERING: Release, pairs with Acquire in `pop`.
            let release = order("stock.put", Release);
            match self.top.compare_exchange_weak(top, changed(top, index as u64 + 1), release, Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// How many segments there are.
    #[cfg(any(test, feature = "loom"))]
    pub(super) fn made(&self) -> u64 {
        // ORDERING: Relaxed: a figure.
        self.made.load(Relaxed)
    }
}

#[allow(clippy::cast_possible_truncation)] // an index has 24 bits
fn to_index(index: u64) -> usize {
    index as usize
}

/// Another top, one change later.
fn changed(top: u64, to: u64) -> u64 {
    (top & !INDEX).wrapping_add(INDEX + 1) | to
}
