//! The two counters of tickets, and the queue as the hand-over uses it.
//!
//! The queue does not count who waits; the gate does. What it relies on (I4): a waiter has counted itself before it enters, and whoever resumes
//! has taken one out of that count. So there are never more givers on their way than tickets that somebody will turn up for, or has
//! refused.

use std::panic::Location;
use std::task::Waker;

use super::Note;
use super::cell::{Cell, Delivery, Found, Guest, Leaving, Stay, Tag, Term, Waiter};
use super::segment::{self, Segment};
use super::segments::{FIRST, Position, Segments};
use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;

/// The right to one cell of the queue. Not a guard: its holder gives it back through `look` or `cancel`.
#[derive(Debug)]
#[must_use = "a cell stays in use until its ticket is looked at to the end or cancelled"]
pub struct Ticket {
    number: u64,
    /// Of its segment.
    index: usize,
}

/// What a waiter found when it entered.
#[derive(Debug)]
#[must_use = "what came first has to be used"]
pub enum Entered {
    /// Nothing.
    Waiting(Ticket),
    /// A giver was there before it.
    Granted(Note),
}

/// What became of a note.
#[derive(Debug)]
#[must_use = "a waker has to be woken, a refused note has to go elsewhere"]
pub enum Resumed {
    /// The oldest waiter has it, and wants to be woken if it left a waker.
    Delivered(Option<Waker>),
    /// The waiter that was owed it has left.
    Refused,
}

/// What a waiter hears when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what has come has to be used"]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// The note.
    Granted(Note),
    /// Its time is over, or what had come was taken back because it did not look for so long.
    Expired,
}

/// What became of a waiter that gave up.
#[derive(Debug)]
#[must_use = "a note that came first has to go elsewhere"]
pub enum Cancelled {
    /// It has left.
    Left,
    /// The note was there already.
    Granted(Note),
    /// The note came after the count had been withdrawn: with it comes the debt to somebody else.
    Overtaken(Note),
}

/// How the count of those who wait is changed for a waiter whose time is over.
pub trait Overdue {
    /// Takes one from the count. `false` if everybody is promised something: somebody is on the way.
    fn withdraw(&mut self) -> bool;
    /// Gives back what was withdrawn: the waiter was promised something meanwhile.
    fn restore(&mut self);
    /// The waiter has expired, and is to be woken.
    fn end(&mut self, waker: Waker);
}

/// The queue.
pub struct Fifo {
    /// The ticket of the next waiter.
    entering: AtomicU64,
    /// The ticket of the next giver.
    resuming: AtomicU64,
    segments: Segments,
}

impl Default for Fifo {
    fn default() -> Self {
        let counter = || AtomicU64::new(FIRST * CELLS);
        Self { entering: counter(), resuming: counter(), segments: Segments::new() }
    }
}

/// How many tickets a segment has.
const CELLS: u64 = segment::CELLS as u64;

#[allow(clippy::cast_possible_truncation)] // less than `CELLS`
fn cell(segment: &Segment, ticket: u64) -> &Cell {
    &segment.cells[(ticket % CELLS) as usize]
}

impl Fifo {
    /// Joins the end of the queue. For a waiter that has counted itself, and says where it asks, and whether it can do with what others use, too.
    pub fn enter(
        &self,
        waker: Waker,
        stay: impl Into<Stay>,
        asked_at: &'static Location<'static>,
        shares: bool,
    ) -> Entered {
        // ORDERING: Relaxed: a ticket is unique; what the two at one ticket exchange is ordered by the word of its cell.
        let number = self.entering.fetch_add(1, Relaxed);
        match self.segments.find(number / CELLS) {
            Position::Here(index, segment) => {
                let finish = || self.segments.finish_one(segment);
                let waiter = Waiter { waker, stay: stay.into(), asked_at, shares };
                let granted = cell(segment, number).install(Tag::of(number / CELLS), waiter, finish);
                granted.map_or(Entered::Waiting(Ticket { number, index }), Entered::Granted)
            }
            Position::Gone(_) => unreachable!("a segment was unlinked before the waiter of ticket {number} had come"),
        }
    }

    /// Gives a note to the oldest waiter. For a caller that has taken one from the count.
    pub fn resume(&self, note: Note) -> Resumed {
        loop {
            // ORDERING: Relaxed, as in `enter`.
            let number = self.resuming.fetch_add(1, Relaxed);
            let segment = match self.segments.find_serving(number / CELLS) {
                Position::Here(_, segment) => segment,
                Position::Gone(next) => {
                    // All cells up to there are finished: nobody is owed anything in them. Failure: somebody else has gone on.
                    // ORDERING: Relaxed, as in `enter`.
                    let _ = self.resuming.compare_exchange(number + 1, next * CELLS, Relaxed, Relaxed);
                    continue;
                }
            };
            let finish = || self.segments.finish_one(segment);
            match cell(segment, number).deliver(Tag::of(number / CELLS), note, finish) {
                Delivery::Done(waker) => return Resumed::Delivered(waker),
                Delivery::Refused => return Resumed::Refused,
                Delivery::Gone => {}
            }
        }
    }

    /// As `resume`, if the oldest waiter is one that shares, or one whose refusal nobody has found yet. For one at a time. `None` if it is not, or has not come yet, or nobody waits.
    pub fn resume_sharer(&self, note: Note) -> Option<Resumed> {
        loop {
            let (number, segment) = self.head()?;
            let (cell, tag) = (cell(segment, number), Tag::of(number / CELLS));
            let guest = cell.guest(tag);
            if matches!(guest, Guest::Unknown | Guest::Loner) {
                return None;
            }
            // ORDERING: Relaxed, as in `enter`. Failure: another giver has come to this ticket.
            if self.resuming.compare_exchange(number, number + 1, Relaxed, Relaxed).is_err() || guest == Guest::Gone {
                continue;
            }
            match cell.deliver(tag, note, || self.segments.finish_one(segment)) {
                Delivery::Done(waker) => return Some(Resumed::Delivered(waker)),
                Delivery::Refused => return Some(Resumed::Refused),
                Delivery::Gone => {}
            }
        }
    }

    /// Whether `resume_sharer` would find one, as far as anybody can tell.
    pub fn is_sharer_next(&self) -> bool {
        while let Some((number, segment)) = self.head() {
            match cell(segment, number).guest(Tag::of(number / CELLS)) {
                Guest::Sharer => return true,
                Guest::Unknown | Guest::Loner => return false,
                // ORDERING: Relaxed, as in `enter`: nobody is owed anything there.
                Guest::Gone => drop(self.resuming.compare_exchange(number, number + 1, Relaxed, Relaxed)),
            }
        }
        false
    }

    /// The ticket that the next giver takes, and its segment, if somebody has entered there.
    fn head(&self) -> Option<(u64, &Segment)> {
        loop {
            // ORDERING: Relaxed, as in `enter`: whoever has entered meanwhile looks for itself.
            let number = self.resuming.load(Relaxed);
            // ORDERING: Relaxed, as above.
            if number >= self.entering.load(Relaxed) {
                return None;
            }
            match self.segments.find_serving(number / CELLS) {
                Position::Here(_, segment) => return Some((number, segment)),
                // ORDERING: Relaxed, as in `resume`.
                Position::Gone(next) => drop(self.resuming.compare_exchange(number, next * CELLS, Relaxed, Relaxed)),
            }
        }
    }

    /// Whether something has come. If so, the ticket has been used up; if not, `waker` is woken when it does.
    pub fn look(&self, ticket: &mut Option<Ticket>, waker: &Waker) -> Heard {
        let Some((number, segment)) = ticket.as_ref().and_then(|ticket| self.place(ticket)) else {
            return Heard::Nothing;
        };
        let finish = || self.segments.finish_one(segment);
        let heard = match cell(segment, number).look(Tag::of(number / CELLS), waker, finish) {
            Found::Waiting => return Heard::Nothing,
            Found::Granted(note) => Heard::Granted(note),
            Found::Expired => Heard::Expired,
        };
        *ticket = None;
        heard
    }

    /// Leaves the queue. `withdraw` takes the waiter out of the count, unless everybody is promised something already.
    pub fn cancel(&self, ticket: Ticket, withdraw: impl FnOnce() -> bool) -> Cancelled {
        let Some((number, segment)) = self.place(&ticket) else { return Cancelled::Left };
        let finish = || self.segments.finish_one(segment);
        match cell(segment, number).cancel(Tag::of(number / CELLS), withdraw, finish) {
            Leaving::Left => Cancelled::Left,
            Leaving::Granted(note) => Cancelled::Granted(note),
            Leaving::Overtaken(note) => Cancelled::Overtaken(note),
        }
    }

    fn place(&self, ticket: &Ticket) -> Option<(u64, &Segment)> {
        Some((ticket.number, self.segments.at(ticket.index)?))
    }

    /// Ends the time of every waiter whose deadline is not after `now`. Returns a moment that no deadline of the others is before, and `u64::MAX` if there
    /// are none: the earliest, rounded down to about a millisecond, or that of one who has left since the last time. One whose time is over but to
    /// whom somebody is on the way, or who is busy at this moment, counts among the others.
    ///
    /// Whoever comes later is not looked at, or those who are woken here and join again would keep this busy for ever. The caller has made sure, by a fence
    /// before this, that they see for themselves that nobody has looked at them.
    pub fn expire(&self, now: u64, overdue: &mut impl Overdue) -> u64 {
        // ORDERING: Relaxed: it follows the fence of `Alarm::silence` or `Seat::leave_first`. Whoever is missed here takes its ticket, and passes the
        // fence of `Gate::fence_after_joining`, after that: it finds the alarm silent, or the seat free.
        let end = self.entering.load(Relaxed);
        let mut earliest = u64::MAX;
        self.segments.visit(end.div_ceil(CELLS), |segment, number| {
            let left = match segment.earliest(number) {
                Some(known) if known > now => known,
                _ => self.expire_in(segment, number, end, now, overdue),
            };
            earliest = earliest.min(left);
        });
        earliest
    }

    /// As `expire`, in one segment, for those whose tickets come before `end`.
    fn expire_in(&self, segment: &Segment, number: u64, end: u64, now: u64, overdue: &mut impl Overdue) -> u64 {
        let tag = Tag::of(number);
        let tickets = number * CELLS..end;
        let mut all_have_come = tickets.end - tickets.start >= CELLS;
        let mut earliest = u64::MAX;
        for (cell, _) in segment.cells.iter().zip(tickets) {
            match cell.term(tag) {
                Term::Unknown => all_have_come = false,
                Term::Until(deadline) if deadline > now || !self.expire_one(segment, cell, tag, overdue) => {
                    earliest = earliest.min(deadline);
                }
                Term::Until(_) | Term::Over => {}
            }
        }
        // From now on waiters only leave, until the segment's next life.
        if all_have_come {
            segment.note_earliest(number, earliest);
        }
        earliest
    }

    /// `false` if it still waits, as far as anybody can tell.
    fn expire_one(&self, segment: &Segment, cell: &Cell, tag: Tag, overdue: &mut impl Overdue) -> bool {
        if !overdue.withdraw() {
            return false;
        }
        let Some(waker) = cell.expire(tag, || self.segments.finish_one(segment)) else {
            overdue.restore();
            return cell.term(tag) == Term::Over;
        };
        overdue.end(waker);
        true
    }
}

impl Fifo {
    /// Looks at every note that its waiter has not come for. Those that `is_due` says so of, by the number of their ticket, are taken back and passed to `take`,
    /// with the number and with who has not come; unless it comes at this moment. One that is handed over meanwhile may be missed; one that is left may be
    /// looked at more than once.
    pub fn take_back(
        &self,
        mut is_due: impl FnMut(u64, Note) -> bool,
        mut take: impl FnMut(u64, Note, &'static Location<'static>),
    ) {
        // ORDERING: Relaxed, as in `enter`. What is taken back here and handed over again has a later ticket.
        let end = self.resuming.load(Relaxed);
        self.segments.visit(end.div_ceil(CELLS), |segment, number| {
            let tag = Tag::of(number);
            for (cell, ticket) in segment.cells.iter().zip(number * CELLS..end) {
                let Some(note) = cell.uncollected(tag).filter(|note| is_due(ticket, *note)) else { continue };
                if let Some(asked_at) = cell.take_back(tag, note, || self.segments.finish_one(segment)) {
                    take(ticket, note, asked_at);
                }
            }
        });
    }
}

impl Fifo {
    /// Since when the one waits who came first, of those who wait at this moment; whoever comes or leaves meanwhile may be missed. It looks at everybody who waits, and nobody waits for it.
    pub fn oldest(&self) -> Option<u64> {
        // ORDERING: Relaxed: who comes later is not the oldest.
        let end = self.entering.load(Relaxed);
        let mut oldest = None::<u64>;
        self.segments.visit(end.div_ceil(CELLS), |segment, number| {
            let here =
                segment.cells.iter().zip(number * CELLS..end).filter_map(|(cell, _)| cell.since(Tag::of(number)));
            oldest = oldest.into_iter().chain(here).min();
        });
        oldest
    }
}

#[cfg(any(test, feature = "loom"))]
impl Fifo {
    /// How many segments were ever needed at once.
    pub fn segments_made(&self) -> u64 {
        self.segments.made()
    }
}

impl std::fmt::Debug for Fifo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fifo").finish_non_exhaustive()
    }
}
