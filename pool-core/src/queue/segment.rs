//! A segment: the cells of a few tickets in a row.

use crossbeam_utils::CachePadded;

use super::cell::{Cell, Tag};
use crate::counters::Figure;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, order};

/// How many cells a segment has.
#[cfg(not(feature = "loom"))]
pub(super) const CELLS: usize = 16;
#[cfg(feature = "loom")]
pub(super) const CELLS: usize = 2;

/// The number of a segment that is in no list. Larger than any other, so whoever walks the list for a number has gone too far.
const NONE: u64 = u64::MAX;

const INDEX_BITS: u32 = 24;
const INDEX: u64 = (1 << INDEX_BITS) - 1;

/// A segment by its place in memory, and a number that says in which of its lives: its own, or, in `next`, that of the segment before it.
/// Both fit into a word; the number is cut off after 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// `None` for the end of the list.
    pub(super) index: Option<usize>,
    number: u64,
}

impl Link {
    pub(super) fn new(index: Option<usize>, number: u64) -> Self {
        Self { index, number: number << INDEX_BITS >> INDEX_BITS }
    }

    pub(super) fn fits(self, number: u64) -> bool {
        self.number == number << INDEX_BITS >> INDEX_BITS
    }

    pub(super) fn to_word(self) -> u64 {
        self.number << INDEX_BITS | self.index.map_or(INDEX, |index| index as u64)
    }

    pub(super) fn from_word(word: u64) -> Self {
        let index = word & INDEX;
        Self { index: (index != INDEX).then_some(index as usize), number: word >> INDEX_BITS }
    }
}

/// The earliest deadline in a segment, rounded down to about a millisecond, and the number of the life that it was found in. Both fit into a word; the
/// number is cut off after 20 bits.
#[derive(Clone, Copy)]
struct Earliest {
    number: u64,
    deadline: u64,
}

/// About a millisecond, in nanoseconds.
const DEADLINE_STEP: u32 = 20;
const DEADLINE_BITS: u32 = u64::BITS - DEADLINE_STEP;

impl Earliest {
    fn to_figure(self) -> u64 {
        self.number << DEADLINE_BITS | self.deadline >> DEADLINE_STEP
    }

    /// `None` if it was found in another life.
    fn from_figure(figure: u64, number: u64) -> Option<u64> {
        let deadline = figure << DEADLINE_STEP;
        // What was as late as can be still is.
        let deadline = if deadline >> DEADLINE_STEP == u64::MAX >> DEADLINE_STEP { u64::MAX } else { deadline };
        (figure >> DEADLINE_BITS == number << DEADLINE_BITS >> DEADLINE_BITS).then_some(deadline)
    }
}

pub(super) struct Segment {
    /// Which tickets: those from `number * CELLS` on.
    number: AtomicU64,
    /// So that whoever keeps the time need not look at every cell.
    earliest: Figure,
    /// The segment after this one, with the number of this one.
    next: AtomicU64,
    /// How many of its cells are finished. On a line of its own: it is written once for each cell, while the number is read for each.
    finished: CachePadded<AtomicU64>,
    /// The next one in stock, while this one is.
    pub(super) below: AtomicU64,
    pub(super) cells: [Cell; CELLS],
}

impl Segment {
    pub(super) fn unused() -> Self {
        Self {
            number: AtomicU64::new(NONE),
            earliest: Figure::of(Earliest { number: NONE, deadline: 0 }.to_figure()),
            next: AtomicU64::new(0),
            finished: CachePadded::new(AtomicU64::new(0)),
            below: AtomicU64::new(0),
            cells: std::array::from_fn(|_| Cell::unused()),
        }
    }

    /// Begins a new life. For a caller that has it from stock, and has made sure that no segment of this number was in the list after it had it.
    pub(super) fn begin(&self, number: u64) {
        self.cells.iter().for_each(|cell| cell.begin(Tag::of(number)));
        // ORDERING: Relaxed: published with the link to this segment.
        self.finished.store(0, Relaxed);
        // ORDERING: Release, pairs with Acquire in `next`: whoever finds out here that the last life is over does not find the old number again, and
        // so gets on.
        self.next.store(Link::new(None, number).to_word(), order("segment.begin.next", Release));
        // ORDERING: Release, pairs with Acquire in `number`: whoever sees this number on a way that has become wrong meanwhile sees the new version of
        // the list, too.
        self.number.store(number, order("segment.begin", Release));
    }

    /// Ends a life. For the one who tidies the list.
    pub(super) fn end(&self) {
        // ORDERING: Release, as in `begin`.
        self.number.store(NONE, order("segment.end", Release));
    }

    pub(super) fn number(&self) -> u64 {
        // ORDERING: Acquire, pairs with Release in `begin` and `end`.
        self.number.load(order("segment.number", Acquire))
    }

    /// The segment after this one, if this one still has that number.
    pub(super) fn next(&self, number: u64) -> Option<Link> {
        // ORDERING: Acquire, pairs with Release in `append` and `set_next`: the segment that is found has begun its life.
        let link = Link::from_word(self.next.load(order("segment.next", Acquire)));
        link.fits(number).then_some(link)
    }

    /// Puts a segment after this one, if this one has that number and is the last.
    pub(super) fn append(&self, number: u64, next: usize) -> bool {
        let (end, link) = (Link::new(None, number), Link::new(Some(next), number));
        // ORDERING: Release, pairs with Acquire in `next`.
        let release = order("segment.append", Release);
        self.next.compare_exchange(end.to_word(), link.to_word(), release, Relaxed).is_ok()
    }

    /// For the one who tidies the list, on a segment that is not the last.
    pub(super) fn set_next(&self, number: u64, next: Option<usize>) {
        // ORDERING: Release, pairs with Acquire in `next`.
        self.next.store(Link::new(next, number).to_word(), order("segment.set_next", Release));
    }

    /// A moment that nobody's deadline here is before, if it has been noted in this life.
    pub(super) fn earliest(&self, number: u64) -> Option<u64> {
        Earliest::from_figure(self.earliest.get(), number)
    }

    /// For somebody who has seen all waiters of this life. That may have ended meanwhile: the number tells.
    pub(super) fn note_earliest(&self, number: u64, deadline: u64) {
        self.earliest.set(Earliest { number, deadline }.to_figure());
    }

    /// One more cell is finished. `true` if it was the last one.
    pub(super) fn finish_one(&self) -> bool {
        // ORDERING: AcqRel, pairs with itself and with Acquire in `is_finished`: the next life begins after everything that was done in this one.
        self.finished.fetch_add(1, order("segment.finish_one", AcqRel)) + 1 == CELLS as u64
    }

    pub(super) fn is_finished(&self) -> bool {
        // ORDERING: Acquire, pairs with Release in `finish_one`.
        self.finished.load(order("segment.is_finished", Acquire)) == CELLS as u64
    }
}
