//! The slots that this thread released last.

use std::cell::Cell;

/// A few pools per thread, the most recently used one first.
const POOLS: usize = 4;
/// A few slots per pool, as a stack; the last one gives way to the next when it is full.
const SLOTS: usize = 8;

/// What a thread remembers of one pool.
struct Entry {
    /// Pool ids start at 1, so an empty entry fits none.
    pool: Cell<u64>,
    slots: [Cell<usize>; SLOTS],
    len: Cell<usize>,
}

impl Entry {
    #[allow(clippy::declare_interior_mutable_const)] // a value to begin with, never used in place
    const EMPTY: Self = Self { pool: Cell::new(0), slots: [const { Cell::new(0) }; SLOTS], len: Cell::new(0) };

    #[inline]
    fn push(&self, slot: usize) {
        let last = self.len.get().min(SLOTS - 1);
        self.slots[last].set(slot);
        self.len.set(last + 1);
    }

    #[inline]
    fn pop(&self) -> Option<usize> {
        let last = self.len.get().checked_sub(1)?;
        self.len.set(last);
        self.slots.get(last).map(Cell::get)
    }
}

thread_local! {
    // `const` and without a destructor: a plain thread-local access that works even while the thread is being torn down.
    static HINTS: [Entry; POOLS] = const { [const { Entry::EMPTY }; POOLS] };
}

/// The slots that this thread released to the pool, the last one first, each of them once.
#[inline]
pub(super) fn take(pool: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        HINTS.with(|hints| if hints[0].pool.get() == pool { hints[0].pop() } else { take_later(hints, pool) })
    })
}

#[cold]
fn take_later(hints: &[Entry; POOLS], pool: u64) -> Option<usize> {
    hints.iter().find(|entry| entry.pool.get() == pool)?.pop()
}

/// Remembers the slot that this thread releases.
#[inline]
pub(super) fn put(pool: u64, slot: usize) {
    HINTS.with(|hints| if hints[0].pool.get() == pool { hints[0].push(slot) } else { put_first(hints, pool, slot) });
}

#[cold]
#[inline(never)]
fn put_first(hints: &[Entry; POOLS], pool: u64, slot: usize) {
    let place = hints.iter().position(|entry| entry.pool.get() == pool).unwrap_or_else(|| {
        let least = &hints[POOLS - 1];
        least.pool.set(pool);
        least.len.set(0);
        POOLS - 1
    });
    (0..place).rev().for_each(|place| swap(&hints[place], &hints[place + 1]));
    hints[0].push(slot);
}

fn swap(a: &Entry, b: &Entry) {
    a.pool.swap(&b.pool);
    a.len.swap(&b.len);
    a.slots.iter().zip(&b.slots).for_each(|(a, b)| a.swap(b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_recent_pools_are_remembered() {
        (1..=5).for_each(|pool| put(pool, 10));
        put(3, 30);
        let all = |pool| take(pool).collect::<Vec<_>>();
        assert_eq!([1, 2, 3, 4, 5].map(all), [vec![], vec![10], vec![30, 10], vec![10], vec![10]]);
        (2..=5).for_each(|pool| put(pool, 20));
        put(6, 60);
        assert_eq!([2, 3, 6].map(all), [vec![], vec![20], vec![60]], "the least recently used one makes room");
    }

    #[test]
    fn the_most_recent_slots_are_remembered() {
        (0..10).for_each(|slot| put(7, slot));
        assert_eq!(take(7).take(3).collect::<Vec<_>>(), [9, 6, 5]);
        put(7, 9);
        assert_eq!(take(7).collect::<Vec<_>>(), [9, 4, 3, 2, 1, 0]);
        assert_eq!(take(7).next(), None);
    }
}
