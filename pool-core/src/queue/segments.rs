//! The list of segments, in the order of their tickets.
//!
//! Finding and adding are lock-free. Unlinking is for one at a time, who has the seat; nobody ever waits for it, because nothing but memory depends on
//! it: whoever finds the seat taken goes on without.
//!
//! A walk reads segments that somebody may unlink and use again meanwhile. `version` counts these; a walk during which it did not change
//! saw the list as it was. The two links `first` and `last` name a segment together with the number it had when it was in the list, so
//! one that has begun another life is recognised.

use crossbeam_utils::CachePadded;

use super::segment::{Link, Segment};
use super::stock::Stock;
use crate::counters::{Counter, Figure, Seat};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, order};

/// The number of the first segment.
pub(super) const FIRST: u64 = 1;

pub(super) struct Segments {
    stock: Stock,
    /// The first one in the list.
    first: AtomicU64,
    /// A late one, to begin with.
    last: AtomicU64,
    /// The one that givers have come to: between those two there may be some whose waiters have not looked yet.
    serving: CachePadded<AtomicU64>,
    version: AtomicU64,
    appended: Counter,
    finished: Counter,
    unlinked: Figure,
    tidying: Seat,
}

/// Where a number is.
pub(super) enum Position<'a> {
    Here(usize, &'a Segment),
    /// Its segment has been unlinked; the next one that is still there has this number.
    Gone(u64),
}

/// A segment on the way, and the number it had when it was reached.
#[derive(Clone, Copy)]
struct Step<'a> {
    index: usize,
    segment: &'a Segment,
    number: u64,
}

/// The list has changed under a visit.
struct Changed;

impl Segments {
    pub(super) fn new() -> Self {
        let stock = Stock::new();
        let (index, segment) = stock.take();
        segment.begin(FIRST);
        let link = Link::new(Some(index), FIRST).to_word();
        let appended = Counter::default();
        appended.add(1);
        Self {
            stock,
            first: AtomicU64::new(link),
            last: AtomicU64::new(link),
            serving: CachePadded::new(AtomicU64::new(link)),
            version: AtomicU64::new(0),
            appended,
            finished: Counter::default(),
            unlinked: Figure::default(),
            tidying: Seat::default(),
        }
    }

    /// The segment at an index that a ticket remembers.
    #[inline]
    pub(super) fn at(&self, index: usize) -> Option<&Segment> {
        self.stock.get(index)
    }

    /// Finds a segment, or adds it at the end.
    #[inline]
    pub(super) fn find(&self, number: u64) -> Position<'_> {
        let hints = [&self.last, &self.first].into_iter();
        match hints.filter_map(|hint| self.hint(hint)).find(|step| step.number == number) {
            Some(step) => Position::Here(step.index, step.segment),
            None => self.search(number),
        }
    }

    /// As `find`, for givers, who come to one ticket after the other.
    #[inline]
    pub(super) fn find_serving(&self, number: u64) -> Position<'_> {
        match self.hint(&self.serving).filter(|step| step.number == number) {
            Some(step) => Position::Here(step.index, step.segment),
            None => self.move_on(number),
        }
    }

    #[cold]
    fn move_on(&self, number: u64) -> Position<'_> {
        let position = self.find(number);
        if let Position::Here(index, _) = position {
            // ORDERING: Relaxed: a hint, confirmed by the number of the segment.
            self.serving.store(Link::new(Some(index), number).to_word(), Relaxed);
        }
        position
    }

    #[cold]
    fn search(&self, number: u64) -> Position<'_> {
        loop {
            if let Some(position) = self.walk(number) {
                return position;
            }
        }
    }

    /// The segment that a hint names, if it still has that number. It has been in the list under this number: one that was prepared for the
    /// list and came too late has another index.
    #[inline]
    fn hint(&self, hint: &AtomicU64) -> Option<Step<'_>> {
        // ORDERING: Acquire, pairs with Release in `unlink_first`: whoever finds the first segment does not find an older one again, and so gets on. That the
        // segment has begun is ordered by its number.
        let link = Link::from_word(hint.load(order("segments.hint", Acquire)));
        let step = self.step(link.index?)?;
        link.fits(step.number).then_some(step)
    }

    #[inline]
    fn step(&self, index: usize) -> Option<Step<'_>> {
        let segment = self.stock.get(index)?;
        Some(Step { index, segment, number: segment.number() })
    }

    /// Walks the list up to a number. `None` if the list changed under the walk.
    fn walk(&self, number: u64) -> Option<Position<'_>> {
        // ORDERING: Acquire, pairs with Release in `retire`: a link to a segment that was unlinked before is not met any more.
        let version = self.version.load(order("segments.version", Acquire));
        let late = self.hint(&self.last).filter(|step| step.number <= number);
        let mut step = late.or_else(|| self.hint(&self.first))?;
        while step.number < number {
            step = self.step(self.after(step)?)?;
        }
        // ORDERING: Relaxed: whoever saw a changed number acquired the change of the version with it.
        if self.version.load(Relaxed) != version {
            return None;
        }
        Some(if step.number == number { Position::Here(step.index, step.segment) } else { Position::Gone(step.number) })
    }

    /// The segment after one, which is added if it is missing. `None` if the one has begun another life.
    fn after(&self, step: Step<'_>) -> Option<usize> {
        let next = step.segment.next(step.number)?;
        next.index.or_else(|| self.append(step))
    }

    fn append(&self, last: Step<'_>) -> Option<usize> {
        let (index, fresh) = self.stock.take();
        let number = last.number + 1;
        // Looked at after the segment was taken from stock: if no segment of this number has been in the list by now, this one has not been it. So no
        // hint names it with this number, should another one be faster.
        let is_last = last.segment.next(last.number).is_some_and(|next| next.index.is_none());
        if is_last {
            fresh.begin(number);
            if last.segment.append(last.number, index) {
                self.appended.add(1);
                // ORDERING: Relaxed: a hint, confirmed by the number of the segment.
                self.last.store(Link::new(Some(index), number).to_word(), Relaxed);
                self.tidy();
                return Some(index);
            }
            fresh.end();
        }
        self.stock.put(index);
        last.segment.next(last.number)?.index
    }

    /// One more cell of a segment is finished.
    pub(super) fn finish_one(&self, segment: &Segment) {
        if segment.finish_one() {
            self.finished.add(1);
            self.tidy();
        }
    }

    /// Unlinks segments that nobody needs, unless somebody else is doing so.
    fn tidy(&self) {
        if self.tidying.occupy(1) {
            while self.unlink_first() {}
            // The others only when there are many, so that a walk along all of them pays.
            let unlinked = self.unlinked.get();
            let (linked, finished) = (self.appended.get() - unlinked, self.finished.get().saturating_sub(unlinked));
            if finished > 2 && finished > linked / 2 {
                self.unlink_all();
            }
            self.tidying.leave();
        }
    }

    /// Unlinks the first segment if it is finished and not the last.
    fn unlink_first(&self) -> bool {
        let Some((first, next)) = self.hint(&self.first).and_then(|first| self.behind(first)) else { return false };
        if !first.segment.is_finished() {
            return false;
        }
        // ORDERING: Release, pairs with Acquire in `hint`: what the list was like before is not met again.
        let order = order("segments.first", Release);
        self.first.store(Link::new(Some(next.index), next.number).to_word(), order);
        self.retire(first);
        true
    }

    /// Unlinks every finished segment but the first and the last.
    fn unlink_all(&self) {
        let Some((mut before, mut step)) = self.hint(&self.first).and_then(|first| self.behind(first)) else { return };
        while let Some((_, next)) = self.behind(step) {
            if step.segment.is_finished() {
                before.segment.set_next(before.number, Some(next.index));
                self.retire(step);
            } else {
                before = step;
            }
            step = next;
        }
    }

    /// A segment with the one after it, for the one who tidies: nothing can change under it but the end of the list.
    fn behind<'a>(&'a self, step: Step<'a>) -> Option<(Step<'a>, Step<'a>)> {
        Some((step, self.step(step.segment.next(step.number)?.index?)?))
    }

    fn retire(&self, step: Step<'_>) {
        self.unlinked.set(self.unlinked.get() + 1);
        // ORDERING: Release, pairs with Acquire in `walk`: whoever has this version sees the list without the segment. Whoever meets the segment as it is
        // from now on sees this version by the Release in `end`.
        self.version.fetch_add(1, order("segments.retire", Release));
        step.segment.end();
        self.stock.put(step.index);
    }

    /// Calls `visit` for every segment before `end` that is in the list all the while, with its number, more than once if the list changes meanwhile.
    pub(super) fn visit(&self, end: u64, mut visit: impl FnMut(&Segment, u64)) {
        let mut step = Some(self.begin_visit());
        while let Some(at) = step.filter(|at| at.number < end) {
            visit(at.segment, at.number);
            step = self.visited_next(at).unwrap_or_else(|Changed| Some(self.begin_visit()));
        }
    }

    fn begin_visit(&self) -> Step<'_> {
        loop {
            // Otherwise another segment has become the first.
            if let Some(first) = self.hint(&self.first) {
                return first;
            }
        }
    }

    /// The segment after one, if there is one. Both were in the list, one after the other, at the end of this: that may be in another life of the second, but
    /// none that stays was left out between them.
    fn visited_next<'a>(&'a self, at: Step<'a>) -> Result<Option<Step<'a>>, Changed> {
        let next = at.segment.next(at.number).ok_or(Changed)?;
        let Some(index) = next.index else { return Ok(None) };
        let step = self.step(index).ok_or(Changed)?;
        let unchanged = at.segment.number() == at.number && at.segment.next(at.number) == Some(next);
        if unchanged { Ok(Some(step)) } else { Err(Changed) }
    }

    /// How many segments were ever needed at once.
    #[cfg(any(test, feature = "loom"))]
    pub(super) fn made(&self) -> u64 {
        self.stock.made()
    }
}
