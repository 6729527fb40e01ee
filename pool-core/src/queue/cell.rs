//! A cell: where one waiter and one giver meet.
//!
//! ```text
//!                 waiter                        giver
//!   Empty ────────install──────▶ Waiting ──────deliver──────▶ Granted
//!     │                           │  ▲ │                       │  ▲
//!     │                 look at   ▼  │ └──expire──▶ Expired ◀──┘  │
//!     │                 the waker Held            take back       │
//!     │                            ├─────────────deliver──────────┤
//!     │                           └──cancel──▶ Cancelled, Refused │
//!     └──────────────────────────deliver──────────────────────────┘
//! ```
//!
//! One word holds the state, the note that is handed over, and the tag: the number of the life that the cell's segment is in. Every change is
//! a compare-exchange of the whole word, so nobody changes a cell that has been given to another ticket.
//!
//! The waker belongs to the waiter in `Empty` and `Held`, to whoever moves the word out of `Waiting` otherwise. A giver moves first and picks
//! the waker up afterwards; until then `PICKING` is set. A waiter that leaves meanwhile sets `LEFT`; the later of the two finishes the cell.
//! A finished cell is touched by nobody until its segment's next life.
//!
//! A note that nobody has collected can be taken back, until `LEFT` is set: by that the waiter says that the note is its own. One that is at its cell
//! when the note comes need not say so; the giver does.

use std::panic::Location;
use std::task::Waker;

use crate::counters::Figure;
use crate::foreign::drop_quietly;
use crate::place::Place;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, order};

use super::Note;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum State {
    /// The waiter has not arrived.
    Empty = 0,
    /// The waiter waits, and its waker is there to be used.
    Waiting = 1,
    /// The waiter is busy with its waker.
    Held = 2,
    /// The note has come.
    Granted = 3,
    /// The waiter's time is over, or what had come was taken back; nobody is on the way to it.
    Expired = 4,
    /// The waiter has left; nobody is on the way to it.
    Cancelled = 5,
    /// The waiter has left while somebody was on the way to it, who will find this.
    Refused = 6,
}

const STATE: u64 = 0b111;
/// Somebody who is not the waiter is at the cell, and has something to do there yet.
const PICKING: u64 = 1 << 3;
/// The waiter has left, with what had come, or does so without looking again.
const LEFT: u64 = 1 << 4;
const NOTE_SHIFT: u32 = 8;
pub(super) const NOTE_BITS: u32 = 20;
const TAG_SHIFT: u32 = NOTE_SHIFT + NOTE_BITS;

/// The life of a segment, as far as it fits into a word beside the rest. It repeats after 2^36 lives; only a thread that was stopped in the
/// middle of an operation for exactly that many could mistake one for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) fn of(number: u64) -> Self {
        Self(number << TAG_SHIFT >> TAG_SHIFT)
    }

    fn word(self, state: State, note: Note) -> u64 {
        self.0 << TAG_SHIFT | u64::from(note) << NOTE_SHIFT | state as u64
    }

    /// The state in this word, if it is of this life.
    fn state(self, word: u64) -> Option<State> {
        if word >> TAG_SHIFT != self.0 {
            return None;
        }
        Some(match word & STATE {
            0 => State::Empty,
            1 => State::Waiting,
            2 => State::Held,
            3 => State::Granted,
            4 => State::Expired,
            5 => State::Cancelled,
            _ => State::Refused,
        })
    }
}

#[allow(clippy::cast_possible_truncation)] // a note has 20 bits
fn note_of(word: u64) -> Note {
    (word >> NOTE_SHIFT) as Note & (super::NOTE_LIMIT - 1)
}

/// Somebody who comes to wait.
pub(super) struct Waiter {
    pub(super) waker: Waker,
    /// Since when it waits, and until when.
    pub(super) stay: Stay,
    /// Where it has asked for what it waits for.
    pub(super) asked_at: &'static Location<'static>,
    /// Whether it can do with what others use, too.
    pub(super) shares: bool,
}

/// From when to when somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// When it came; another one's, who has waited in its name before, counts.
    pub since: u64,
    /// When its time is over.
    pub until: u64,
}

impl Stay {
    /// Instead of when it came: whoever asks who has waited for longest does not mean this one.
    pub const OF_NOBODY: u64 = u64::MAX;
}

/// For one of whom nobody asks when it came.
impl From<u64> for Stay {
    fn from(until: u64) -> Self {
        Self { since: 0, until }
    }
}

/// What a giver found.
pub(super) enum Delivery {
    /// The waiter has the note, and wants to be woken if it left a waker.
    Done(Option<Waker>),
    /// The waiter left, and it was this giver who was on the way to it.
    Refused,
    /// Nobody is owed anything here.
    Gone,
}

/// What a waiter finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Waiting,
    Granted(Note),
    Expired,
}

/// What a waiter that leaves finds.
pub(super) enum Leaving {
    /// It has left, and its count has been withdrawn or somebody will be refused.
    Left,
    /// The note was there already.
    Granted(Note),
    /// The note came after the count had been withdrawn: somebody else is owed one now.
    Overtaken(Note),
}

/// Who is to be served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// Nobody has come yet.
    Unknown,
    /// Somebody who shares, or who has left and has somebody on the way to it: a note that is delivered goes to the former, and is refused by the latter.
    Sharer,
    /// Somebody who wants all for itself.
    Loner,
    /// Nobody, any more.
    Gone,
}

/// How long somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Nobody has come yet.
    Unknown,
    Until(u64),
    /// Nobody waits any more.
    Over,
}

pub(super) struct Cell {
    word: AtomicU64,
    waker: Place<Waker>,
    /// When the waiter came.
    since: Figure,
    /// When its time is over.
    deadline: Figure,
    /// Whether it can do with what others use, too: not zero then.
    shares: Figure,
    /// Who waits. Read by whoever takes a note back, while `PICKING` is set.
    asked_at: Place<&'static Location<'static>>,
}

// SAFETY: the waker and the place, which are `Send` and `Sync` themselves, are touched only by the one whom the word names as their owner; see
// the module's documentation. The other fields are atomics.
unsafe impl Sync for Cell {}

impl Cell {
    pub(super) fn unused() -> Self {
        // Of no segment's life, because no tag is that large while the word says `Cancelled`: lives are counted from 1.
        Self {
            word: AtomicU64::new(Tag(0).word(State::Cancelled, 0)),
            waker: Place::empty(),
            since: Figure::default(),
            deadline: Figure::default(),
            shares: Figure::default(),
            asked_at: Place::empty(),
        }
    }

    /// Begins a new life. For the owner of the segment, which nobody else can reach.
    pub(super) fn begin(&self, tag: Tag) {
        // ORDERING: Relaxed: published with the segment.
        self.word.store(tag.word(State::Empty, 0), Relaxed);
    }

    /// Waiter: leaves a waker and waits, unless the note is there already, which finishes the cell.
    pub(super) fn install(&self, tag: Tag, waiter: Waiter, finish: impl FnOnce()) -> Option<Note> {
        // SAFETY: in `Empty` the place is the waiter's, and it is empty.
        unsafe { self.waker.put(waiter.waker) };
        // SAFETY: as above; what may be in it needs no drop.
        unsafe { self.asked_at.put(waiter.asked_at) };
        self.since.set(waiter.stay.since);
        self.deadline.set(waiter.stay.until);
        self.shares.set(u64::from(waiter.shares));
        // ORDERING: Release, pairs with Acquire in `deliver` and `expire`: they find the waker, and whoever takes a note back finds the place; and in `guest`. Acquire on
        // failure, pairs with Release in `deliver`: what is handed over was made visible before.
        let (release, acquire) = (order("cell.install", Release), order("cell.install.granted", Acquire));
        let (empty, waiting) = (tag.word(State::Empty, 0), tag.word(State::Waiting, 0));
        let word = self.word.compare_exchange(empty, waiting, release, acquire).err()?;
        // SAFETY: whoever delivers to `Empty` leaves the place alone.
        drop_quietly(unsafe { self.waker.take() });
        finish();
        Some(note_of(word))
    }

    /// Giver: hands the note to the waiter.
    pub(super) fn deliver(&self, tag: Tag, note: Note, finish: impl FnOnce()) -> Delivery {
        // ORDERING: Acquire, pairs with Release in `cancel`: the waiter that refused has done with its waker.
        let acquire = order("cell.deliver.refused", Acquire);
        let mut word = self.word.load(acquire);
        loop {
            let to = match tag.state(word) {
                // The waiter is there, and has the note when it learns of it.
                Some(State::Empty | State::Held) => tag.word(State::Granted, note) | LEFT,
                Some(State::Waiting) => tag.word(State::Granted, note) | PICKING,
                Some(State::Refused) => {
                    finish();
                    return Delivery::Refused;
                }
                Some(State::Granted | State::Expired | State::Cancelled) | None => return Delivery::Gone,
            };
            // ORDERING: Release, pairs with Acquire in `leave`, `install`, `replace_waker`, `cancel` and `take_back`: what is handed over is visible with
            // the note. Acquire, pairs with Release in `install`, `replace_waker`: the waker is there.
            match self.word.compare_exchange_weak(word, to, order("cell.deliver", AcqRel), acquire) {
                Ok(_) if to & PICKING != 0 => return Delivery::Done(Some(self.pick(finish))),
                Ok(_) => return Delivery::Done(None),
                Err(now) => word = now,
            }
        }
    }

    /// Whoever moved the word out of `Waiting`: takes the waker.
    fn pick(&self, finish: impl FnOnce()) -> Waker {
        // SAFETY: moving the word out of `Waiting` made the place the caller's, and in `Waiting` it is filled.
        let waker = unsafe { self.waker.take() };
        self.step_back(finish);
        waker
    }

    /// Whoever set `PICKING`: has done.
    fn step_back(&self, finish: impl FnOnce()) {
        // ORDERING: Release, pairs with Acquire in `leave`: whoever finishes the cell does so after the waker was taken, and the place read. Acquire, for
        // the case that the waiter has left and it is finished here.
        let before = self.word.fetch_and(!PICKING, order("cell.pick", AcqRel));
        if before & LEFT != 0 {
            finish();
        }
    }

    /// The note that lies here and that its waiter has not come for, as far as anybody can tell.
    pub(super) fn uncollected(&self, tag: Tag) -> Option<Note> {
        // ORDERING: Relaxed: a guess that `take_back` confirms.
        let word = self.word.load(Relaxed);
        (word == tag.word(State::Granted, note_of(word))).then(|| note_of(word))
    }

    /// Takes a note back that its waiter has not come for; it is the caller's then. Who has not come. The waiter finds that its time is over.
    pub(super) fn take_back(&self, tag: Tag, note: Note, finish: impl FnOnce()) -> Option<&'static Location<'static>> {
        let (granted, taken) = (tag.word(State::Granted, note), tag.word(State::Expired, 0) | PICKING);
        // ORDERING: Acquire, pairs with Release in `deliver`: the place is there, which the giver has found with the waker. What was handed over is visible,
        // too, and is by `step_back` in any case.
        self.word.compare_exchange(granted, taken, order("cell.take_back", Acquire), Relaxed).ok()?;
        // SAFETY: moving the word out of `Granted` has set `PICKING`: the place is filled, as somebody has waited here, and nobody begins another
        // life of the cell meanwhile.
        let asked_at = *unsafe { self.asked_at.get() };
        self.step_back(finish);
        Some(asked_at)
    }

    /// Until when somebody waits here.
    pub(super) fn term(&self, tag: Tag) -> Term {
        // ORDERING: Acquire, pairs with Release in `install`: the deadline is that of this waiter, or an earlier one's, which `expire` notices.
        let word = self.word.load(order("cell.term", Acquire));
        match tag.state(word) {
            Some(State::Empty) => Term::Unknown,
            Some(State::Waiting | State::Held) => Term::Until(self.deadline.get()),
            _ => Term::Over,
        }
    }

    /// Since when somebody waits here, if anybody does who says so.
    pub(super) fn since(&self, tag: Tag) -> Option<u64> {
        let waits = |term| matches!(term, Term::Until(_));
        // Asked once more: the figure is that of this waiter only if it has not been another one's meanwhile.
        let since = waits(self.term(tag)).then(|| self.since.get()).filter(|_| waits(self.term(tag)));
        since.filter(|since| *since != Stay::OF_NOBODY)
    }

    /// Who is to be served here.
    pub(super) fn guest(&self, tag: Tag) -> Guest {
        // ORDERING: Acquire, pairs with Release in `install`: what is said about sharing is said by this waiter.
        let word = self.word.load(order("cell.guest", Acquire));
        match tag.state(word) {
            Some(State::Empty) => Guest::Unknown,
            Some(State::Waiting | State::Held) if self.shares.get() == 0 => Guest::Loner,
            Some(State::Waiting | State::Held | State::Refused) => Guest::Sharer,
            Some(State::Granted | State::Expired | State::Cancelled) | None => Guest::Gone,
        }
    }

    /// Ends the waiter's time. For a caller that has taken one from the count. `None` if it does not wait any more, or is busy at this moment.
    pub(super) fn expire(&self, tag: Tag, finish: impl FnOnce()) -> Option<Waker> {
        let (waiting, expired) = (tag.word(State::Waiting, 0), tag.word(State::Expired, 0) | PICKING);
        // ORDERING: Acquire, pairs with Release in `install`, `look`: the waker is there.
        let order = order("cell.expire", Acquire);
        self.word.compare_exchange(waiting, expired, order, Relaxed).ok().map(|_| self.pick(finish))
    }

    /// Waiter: looks whether something has come. What has come finishes the cell; otherwise `waker` is the one to wake from now on.
    #[inline]
    pub(super) fn look(&self, tag: Tag, waker: &Waker, finish: impl FnOnce()) -> Found {
        // ORDERING: Relaxed: what has come is acquired by `leave`.
        if tag.state(self.word.load(Relaxed)) != Some(State::Waiting) {
            return self.leave(tag, finish);
        }
        // Foreign code, so before anything else.
        let fresh = waker.clone();
        if !self.hold(tag) {
            drop_quietly(fresh);
            return self.leave(tag, finish);
        }
        match self.replace_waker(tag, fresh) {
            None => Found::Waiting,
            Some(note) => {
                finish();
                Found::Granted(note)
            }
        }
    }

    /// Waiter: makes the waker its own, unless something has come.
    fn hold(&self, tag: Tag) -> bool {
        let (waiting, held) = (tag.word(State::Waiting, 0), tag.word(State::Held, 0));
        // ORDERING: Relaxed: the waker is the waiter's own, and what has come is acquired by `leave`.
        self.word.compare_exchange(waiting, held, Relaxed, Relaxed).is_ok()
    }

    /// Waiter, in `Held`: leaves another waker, unless the note has come.
    fn replace_waker(&self, tag: Tag, fresh: Waker) -> Option<Note> {
        // SAFETY: in `Held` the place is the waiter's, and it is filled.
        let old = unsafe { self.waker.take() };
        // SAFETY: as above, and it is empty now.
        unsafe { self.waker.put(fresh) };
        let (waiting, held) = (tag.word(State::Waiting, 0), tag.word(State::Held, 0));
        // ORDERING: Release, pairs with Acquire in `deliver` and `expire`: they find the new waker. Acquire on failure, pairs with Release in `deliver`:
        // what is handed over is visible with the note.
        let (release, acquire) = (order("cell.replace_waker", Release), order("cell.replace_waker.granted", Acquire));
        let come = self.word.compare_exchange(held, waiting, release, acquire).err();
        if come.is_some() {
            // SAFETY: whoever delivers to `Held` leaves the place alone.
            drop_quietly(unsafe { self.waker.take() });
        }
        drop_quietly(old);
        come.map(note_of)
    }

    /// Waiter: has seen that something has come, and leaves the cell for good, with that, unless it has been taken back by now.
    fn leave(&self, tag: Tag, finish: impl FnOnce()) -> Found {
        // ORDERING: AcqRel: with `step_back`, the later one sees what the earlier one has done, and finishes. Acquire, pairs with Release in `deliver`,
        // too: what is handed over is visible with the note.
        let word = self.word.fetch_or(LEFT, order("cell.leave", AcqRel));
        if word & PICKING == 0 {
            finish();
        }
        match tag.state(word) {
            Some(State::Granted) => Found::Granted(note_of(word)),
            _ => Found::Expired,
        }
    }

    /// Waiter: gives up. `withdraw` takes it out of the count of those who wait, unless somebody is on the way to it, or to one before it.
    pub(super) fn cancel(&self, tag: Tag, withdraw: impl FnOnce() -> bool, finish: impl FnOnce()) -> Leaving {
        if !self.hold(tag) {
            return match self.leave(tag, finish) {
                Found::Granted(note) => Leaving::Granted(note),
                Found::Expired | Found::Waiting => Leaving::Left,
            };
        }
        // SAFETY: in `Held` the place is the waiter's, and it is filled.
        let waker = unsafe { self.waker.take() };
        let withdrawn = withdraw();
        let to = tag.word(if withdrawn { State::Cancelled } else { State::Refused }, 0);
        // ORDERING: Release, pairs with Acquire in `deliver`: the one who is refused finishes the cell after the waker was taken. Acquire on
        // failure, pairs with Release in `deliver`: what is handed over is visible with the note.
        let (release, acquire) = (order("cell.cancel", Release), order("cell.cancel.granted", Acquire));
        let left = self.word.compare_exchange(tag.word(State::Held, 0), to, release, acquire);
        let leaving = match left {
            Ok(_) => Leaving::Left,
            Err(word) if withdrawn => Leaving::Overtaken(note_of(word)),
            Err(word) => Leaving::Granted(note_of(word)),
        };
        // Refused: the one who is refused finishes it.
        if withdrawn || left.is_err() {
            finish();
        }
        drop_quietly(waker);
        leaving
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // ORDERING: Relaxed: `&mut self`.
        if self.word.load(Relaxed) & STATE == State::Waiting as u64 {
            // SAFETY: `&mut self`, and in `Waiting` the place is filled. The waiter was forgotten.
            drop_quietly(unsafe { self.waker.take() });
        }
    }
}
