//! The queue of waiters: whoever meets at a cell, and whatever becomes of its segment meanwhile (I4, I5, I12). A segment has two cells here.

use std::panic::Location;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use pool_core::internals::{Cancelled, Entered, Fifo, Figure, Heard, Resumed, Stay, Ticket};

use crate::common::race;

/// A queue, and those who wait in it.
struct Line {
    queue: Fifo,
    tickets: Mutex<Vec<Option<Ticket>>>,
    /// What was done before a note was given.
    written: Figure,
    last_note: AtomicU32,
}

impl Line {
    fn of(waiters: usize) -> Self {
        let line = Self {
            queue: Fifo::default(),
            tickets: Mutex::default(),
            written: Figure::default(),
            last_note: AtomicU32::new(6),
        };
        (0..waiters).for_each(|_| line.enter());
        line
    }

    /// One more waiter, with the next name: 0, 1, and so on.
    fn enter(&self) {
        match self.queue.enter(Waker::noop().clone(), 0, Location::caller(), false) {
            Entered::Waiting(ticket) => self.tickets.lock().unwrap().push(Some(ticket)),
            Entered::Granted(note) => panic!("{note} was given to nobody"),
        }
    }

    fn ticket(&self, waiter: usize) -> Ticket {
        self.tickets.lock().unwrap()[waiter].take().expect("it has not left before")
    }

    /// A waiter leaves, with nobody on the way to it.
    fn leave(&self, waiter: usize) {
        assert!(matches!(self.queue.cancel(self.ticket(waiter), || true), Cancelled::Left));
    }

    /// A waiter leaves, and passes on what has come.
    fn leave_it_to_the_next(&self, waiter: usize) {
        match self.queue.cancel(self.ticket(waiter), || true) {
            Cancelled::Left => {}
            Cancelled::Granted(note) | Cancelled::Overtaken(note) => {
                assert!(matches!(self.queue.resume(note), Resumed::Delivered(_)));
            }
        }
    }

    /// Gives the next note: 7, 8, and so on.
    fn give(&self) {
        let note = self.last_note.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(matches!(self.queue.resume(note), Resumed::Delivered(_)));
    }

    /// What a waiter hears.
    fn heard(&self, waiter: usize) -> Heard {
        self.queue.look(&mut Some(self.ticket(waiter)), Waker::noop())
    }
}

/// Three segments, of which those in front are emptied while somebody is resumed behind them and another waiter adds one.
#[test]
fn a_segment_that_is_unlinked_leads_whoever_comes_to_the_next_waiter() {
    let setup = || {
        let line = Line::of(4);
        line.leave(2);
        line.leave(1);
        line
    };
    race(1, setup, [|line| line.leave_it_to_the_next(0), Line::give, Line::enter], |line| {
        assert_eq!(line.heard(3), Heard::Granted(7));
        line.leave(4);
    });
}

/// As above, and the segments in the middle are unlinked, not the first.
#[test]
fn segments_in_the_middle_are_unlinked_under_a_giver() {
    // Nine waiters in five segments; the first stays, those in the three segments behind it have left but for one.
    let setup = || {
        let line = Line::of(9);
        (1..7).for_each(|waiter| line.leave(waiter));
        line
    };
    let giving_two = |line: &Line| (0..2).for_each(|_| line.give());
    race(1, setup, [|line| line.leave_it_to_the_next(7), giving_two], |line| {
        assert_eq!([line.heard(0), line.heard(8)], [Heard::Granted(7), Heard::Granted(8)]);
    });
}

/// As above, and the segment that comes next then has just been added.
#[test]
fn a_giver_is_led_to_a_segment_that_it_has_not_seen_before() {
    let setup = || {
        let line = Line::of(8);
        (1..7).for_each(|waiter| line.leave(waiter));
        line
    };
    let adding_and_unlinking = |line: &Line| {
        line.enter();
        line.leave_it_to_the_next(7);
    };
    let giving_two = |line: &Line| (0..2).for_each(|_| line.give());
    race(0, setup, [adding_and_unlinking, giving_two], |line| {
        assert_eq!([line.heard(0), line.heard(8)], [Heard::Granted(7), Heard::Granted(8)]);
    });
}

/// Two waiters add a segment at the same moment; both are found.
#[test]
fn two_that_add_a_segment_add_one() {
    race(
        3,
        || Line::of(2),
        [Line::enter, Line::enter],
        |line| {
            line.leave(0);
            line.leave(1);
            line.give();
            line.give();
            let heard = [line.heard(2), line.heard(3)];
            assert!(heard == [Heard::Granted(7), Heard::Granted(8)] || heard == [Heard::Granted(8), Heard::Granted(7)]);
        },
    );
}

/// A waiter leaves while a giver is on the way to it, which is refused, finishes the segment with that, and begins it again.
#[test]
fn a_waiter_that_refuses_has_done_with_its_cell() {
    let setup = || {
        let line = Line::of(3);
        line.leave(1);
        line
    };
    let refusing = |line: &Line| drop(line.queue.cancel(line.ticket(0), || false));
    let giving = |line: &Line| {
        if let Resumed::Refused = line.queue.resume(7) {
            (0..2).for_each(|_| line.enter());
        }
    };
    race(3, setup, [refusing, giving], drop);
}

/// Segments go round: unlinked, in stock, and in the list again, while a giver is on the way.
#[test]
fn a_segment_in_its_next_life_is_not_taken_for_the_old_one() {
    let turning = |line: &Line| {
        // The first segment is done with. One more waiter fills the second, and the next one begins the first again.
        (0..2).for_each(|waiter| line.leave_it_to_the_next(waiter));
        (0..2).for_each(|_| line.enter());
    };
    race(
        2,
        || Line::of(3),
        [turning, Line::give],
        |line| {
            assert_eq!(
                [line.heard(2), line.heard(3), line.heard(4)],
                [Heard::Granted(7), Heard::Nothing, Heard::Nothing]
            );
        },
    );
}

/// One segment is finished by a waiter, and unlinked and begun again by another one who has just finished the segment before it.
#[test]
fn a_segment_begins_again_after_the_last_one_has_left_it() {
    let setup = || {
        let line = Line::of(5);
        line.leave(1);
        line.leave(3);
        line
    };
    let coming_again = |line: &Line| {
        line.leave(0);
        (0..2).for_each(|_| line.enter());
    };
    race(2, setup, [|line| line.leave(2), coming_again], |line| {
        (0..3).for_each(|_| line.give());
        assert_eq!([line.heard(4), line.heard(5), line.heard(6)].map(|heard| heard == Heard::Nothing), [false; 3]);
    });
}

/// As above, while a waiter is on the way: it finds its segment, however late it is.
#[test]
fn a_waiter_that_is_late_finds_its_segment() {
    let turning = |line: &Line| {
        line.leave(1);
        for _ in 0..2 {
            let Entered::Waiting(ticket) = line.queue.enter(Waker::noop().clone(), 0, Location::caller(), false) else {
                panic!("nobody gives")
            };
            assert!(matches!(line.queue.cancel(ticket, || true), Cancelled::Left));
        }
    };
    let coming_again = |line: &Line| {
        line.leave(0);
        line.enter();
    };
    race(
        2,
        || Line::of(2),
        [turning, coming_again],
        |line| {
            line.give();
            assert_eq!(line.heard(2), Heard::Granted(7));
        },
    );
}

/// The giver comes before the waiter, or after it; what the giver did before is visible with the note.
#[test]
fn a_note_that_comes_first_waits_in_the_cell() {
    let giving = |line: &Line| {
        line.written.set(1);
        line.give();
    };
    let entering = |line: &Line| {
        let note = match line.queue.enter(Waker::noop().clone(), 0, Location::caller(), false) {
            Entered::Granted(note) => Some(note),
            Entered::Waiting(ticket) => match line.queue.look(&mut Some(ticket), Waker::noop()) {
                Heard::Granted(note) => Some(note),
                Heard::Nothing => None,
                Heard::Expired => panic!("nobody keeps the time"),
            },
        };
        if let Some(note) = note {
            assert_eq!((note, line.written.get()), (7, 1));
        }
    };
    race(3, || Line::of(0), [giving, entering], drop);
}

/// The waiter looks with another waker while the note comes: the waker that is woken is the new one, or the waiter sees the note itself.
#[test]
fn a_waker_that_is_replaced_is_woken_or_not_needed() {
    let giving = |line: &Line| match line.queue.resume(7) {
        Resumed::Delivered(waker) => waker.into_iter().for_each(Waker::wake),
        Resumed::Refused => panic!("the waiter is there"),
    };
    let waiting = |line: &Line| {
        let mut ticket = Some(line.ticket(0));
        let heard = loom::future::block_on(std::future::poll_fn(|context| {
            match line.queue.look(&mut ticket, context.waker()) {
                Heard::Nothing => std::task::Poll::Pending,
                heard => std::task::Poll::Ready(heard),
            }
        }));
        assert_eq!(heard, Heard::Granted(7));
    };
    race(3, || Line::of(1), [giving, waiting], drop);
}

/// Whoever asks for the oldest waiter is told when one came who is there, and not of another life of its cell.
#[test]
fn the_oldest_waiter_is_one_who_waits() {
    fn enter(line: &Line, since: u64) -> Ticket {
        let stay = Stay { since, until: u64::MAX };
        match line.queue.enter(Waker::noop().clone(), stay, Location::caller(), false) {
            Entered::Waiting(ticket) => ticket,
            Entered::Granted(note) => panic!("{note} was given to nobody"),
        }
    }
    // The segment of these two is used again for those who come.
    let setup = || {
        let line = Line::of(0);
        let tickets = [enter(&line, 3), enter(&line, 3)];
        let gone = tickets.map(|ticket| line.queue.cancel(ticket, || true));
        assert!(gone.iter().all(|gone| matches!(gone, Cancelled::Left)));
        line
    };
    let coming = |line: &Line| {
        let ticket = enter(line, 7);
        line.tickets.lock().unwrap().push(Some(ticket));
    };
    let asking = |line: &Line| assert!(matches!(line.queue.oldest(), None | Some(7)));
    race(3, setup, [coming, asking], |line| assert_eq!(line.queue.oldest(), Some(7)));
}
