//! The two counters of tickets, and the queue as the hand-over uses it.
//!
//! The queue does not count who waits; the gate does. What it relies on (I4): a waiter has counted itself before it enters, and whoever resumes
//! has taken one out of that count. So there are never more givers on their way than tickets that somebody will turn up for, or has
//! refused.

use std::task::Waker;

use super::Note;
use super::cell::{Cell, Delivery, Found, Leaving, Tag};
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
    /// Its time is over.
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
    /// Joins the end of the queue. For a waiter that has counted itself.
    pub fn enter(&self, waker: Waker, deadline: u64) -> Entered {
        // ORDERING: Relaxed: a ticket is unique; what the two at one ticket exchange is ordered by the word of its cell.
        let number = self.entering.fetch_add(1, Relaxed);
        match self.segments.find(number / CELLS) {
            Position::Here(index, segment) => {
                let finish = || self.segments.finish_one(segment);
                let granted = cell(segment, number).install(Tag::of(number / CELLS), waker, deadline, finish);
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

    /// Ends the time of every waiter whose deadline is not after `now`. Returns the earliest deadline of the others; one whose time is over
    /// but to whom somebody is on the way, or who is busy at this moment, counts among them.
    pub fn expire(&self, now: u64, overdue: &mut impl Overdue) -> Option<u64> {
        let mut earliest: Option<u64> = None;
        self.segments.visit(|segment, number| {
            let tag = Tag::of(number);
            for cell in &segment.cells {
                let Some(deadline) = cell.waits_until(tag) else { continue };
                if deadline > now || !self.expire_one(segment, cell, tag, overdue) {
                    earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
            }
        });
        earliest
    }

    /// `false` if it still waits.
    fn expire_one(&self, segment: &Segment, cell: &Cell, tag: Tag, overdue: &mut impl Overdue) -> bool {
        if !overdue.withdraw() {
            return false;
        }
        let Some(waker) = cell.expire(tag, || self.segments.finish_one(segment)) else {
            overdue.restore();
            return cell.waits_until(tag).is_none();
        };
        overdue.end(waker);
        true
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
