//! An array that grows in chunks while others read it, and whose elements never move.

#![allow(unsafe_code)] // one pointer per chunk, set once

use std::marker::PhantomData;
use std::ptr;

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicPtr, order};

/// How many elements the first chunk holds; the second one as many, and each later one twice as many as the one before.
#[cfg(not(feature = "loom"))]
const FIRST: usize = 16;
#[cfg(feature = "loom")]
const FIRST: usize = 2;

/// Enough for 4 million elements.
#[cfg(not(feature = "loom"))]
const CHUNKS: usize = 19;
#[cfg(feature = "loom")]
const CHUNKS: usize = 5;

/// The array.
pub(crate) struct Chunks<T> {
    /// Null until the chunk is needed, then the first of its elements, for ever.
    chunks: [AtomicPtr<T>; CHUNKS],
    elements: PhantomData<T>,
}

/// The chunk of the element at `index`, and the element's place in it.
#[inline]
fn locate(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST).checked_ilog2().map_or(0, |doublings| doublings as usize + 1);
    (chunk, index - start(chunk))
}

/// The index of the first element of a chunk.
#[inline]
fn start(chunk: usize) -> usize {
    if chunk == 0 { 0 } else { len(chunk) }
}

/// How many elements a chunk holds.
#[inline]
fn len(chunk: usize) -> usize {
    FIRST << chunk.saturating_sub(1)
}

impl<T> Chunks<T> {
    /// More than this many elements there never are.
    pub(crate) const LIMIT: usize = FIRST << (CHUNKS - 1);

    pub(crate) fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())), elements: PhantomData }
    }

    /// Makes elements until there are at least `least`. Lock-free: whoever comes second throws its own chunk away.
    pub(crate) fn grow_to(&self, least: usize, make: impl Fn(usize) -> T) {
        assert!(least <= Self::LIMIT, "an array of chunks for {least} elements");
        for chunk in (0..CHUNKS).take_while(|chunk| start(*chunk) < least) {
            if self.chunk(chunk).is_none() {
                self.add(chunk, &make);
            }
        }
    }

    fn add(&self, chunk: usize, make: &impl Fn(usize) -> T) {
        let elements: Box<[T]> = (start(chunk)..start(chunk) + len(chunk)).map(make).collect();
        let elements = Box::into_raw(elements);
        // ORDERING: Release, pairs with Acquire in `chunk`: whoever finds the chunk finds its elements made.
        let order = order("chunks.add", Release);
        if self.chunks[chunk].compare_exchange(ptr::null_mut(), elements.cast(), order, Relaxed).is_err() {
            // SAFETY: made above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(elements) });
        }
    }

    /// The element at `index`, if it has been made.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, place) = locate(index);
        self.chunk(chunk).and_then(|elements| elements.get(place))
    }

    #[inline]
    fn chunk(&self, chunk: usize) -> Option<&[T]> {
        // ORDERING: Acquire, pairs with Release in `add`.
        let elements = self.chunks.get(chunk)?.load(order("chunks.find", Acquire));
        // SAFETY: not null, so it is the start of a boxed slice of this length, which is freed by `drop` alone; nobody has a `&mut` to it.
        (!elements.is_null()).then(|| unsafe { std::slice::from_raw_parts(elements, len(chunk)) })
    }

    /// All elements, lowest first.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..CHUNKS).map_while(|chunk| self.chunk(chunk)).flatten()
    }
}

impl<T> Drop for Chunks<T> {
    fn drop(&mut self) {
        for (chunk, elements) in self.chunks.iter().enumerate() {
            // ORDERING: Relaxed: `&mut self`.
            let elements = elements.load(Relaxed);
            if !elements.is_null() {
                let elements = ptr::slice_from_raw_parts_mut(elements, len(chunk));
                // SAFETY: made by `add` with this length, and unreachable from now on.
                drop(unsafe { Box::from_raw(elements) });
            }
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let array = Chunks::new();
        assert!(array.get(0).is_none() && array.iter().next().is_none());
        for size in [1, 16, 17, 1000, 5000] {
            array.grow_to(size, |index| index);
            assert!((0..size).all(|index| array.get(index) == Some(&index)));
        }
        assert_eq!(array.iter().count(), 8192);
        assert!(array.iter().enumerate().all(|(place, index)| place == *index));
        assert!(array.get(8192).is_none() && array.get(usize::MAX).is_none());
    }
}
