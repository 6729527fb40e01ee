//! The slot that this thread released last.

use std::cell::Cell;

/// A few pools per thread, the most recently used one first.
const ENTRIES: usize = 4;

/// Pool ids start at 1, so an empty entry fits none.
type Hints = [(u64, usize); ENTRIES];

thread_local! {
    // `const` and without a destructor: a plain thread-local access that works even while the thread is being torn down.
    static HINTS: Cell<Hints> = const { Cell::new([(0, 0); ENTRIES]) };
}

/// The slot that this thread released last to the pool, if it remembers.
#[inline]
pub(super) fn get(pool: u64) -> Option<usize> {
    HINTS.with(|hints| {
        let hints = hints.get();
        hints.iter().find(|(id, _)| *id == pool).map(|(_, slot)| *slot)
    })
}

/// Remembers the slot that this thread releases.
#[inline]
pub(super) fn set(pool: u64, slot: usize) {
    HINTS.with(|cell| {
        let mut hints = cell.get();
        let place = hints.iter().position(|(id, _)| *id == pool).unwrap_or(ENTRIES - 1);
        hints[..=place].rotate_right(1);
        hints[0] = (pool, slot);
        cell.set(hints);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_recent_pools_are_remembered() {
        (1..=5).for_each(|pool| set(pool, 10));
        set(3, 30);
        assert_eq!([1, 2, 3, 4, 5].map(get), [None, Some(10), Some(30), Some(10), Some(10)]);
        set(6, 60);
        assert_eq!(get(2), None, "the least recently used one makes room");
    }
}
