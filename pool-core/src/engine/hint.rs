//! The slot that this thread released last.

use std::cell::Cell;

/// A few pools per thread, the most recently used one first.
const ENTRIES: usize = 4;

/// Pool ids start at 1, so an empty entry fits none.
type Entry = Cell<(u64, usize)>;

thread_local! {
    // `const` and without a destructor: a plain thread-local access that works even while the thread is being torn down.
    static HINTS: [Entry; ENTRIES] = const { [const { Cell::new((0, 0)) }; ENTRIES] };
}

/// The slot that this thread released last to the pool, if it remembers.
#[inline]
pub(super) fn get(pool: u64) -> Option<usize> {
    HINTS.with(|hints| {
        let (id, slot) = hints[0].get();
        if id == pool { Some(slot) } else { get_later(hints, pool) }
    })
}

#[cold]
fn get_later(hints: &[Entry; ENTRIES], pool: u64) -> Option<usize> {
    hints.iter().map(Cell::get).find(|(id, _)| *id == pool).map(|(_, slot)| slot)
}

/// Remembers the slot that this thread releases.
#[inline]
pub(super) fn set(pool: u64, slot: usize) {
    HINTS.with(|hints| {
        if hints[0].get().0 != pool {
            make_first(hints, pool);
        }
        hints[0].set((pool, slot));
    });
}

#[cold]
fn make_first(hints: &[Entry; ENTRIES], pool: u64) {
    let place = hints.iter().position(|entry| entry.get().0 == pool).unwrap_or(ENTRIES - 1);
    (0..place).rev().for_each(|place| hints[place + 1].set(hints[place].get()));
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
