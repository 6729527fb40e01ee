//! The queue of waiters: whoever meets at a cell, and whatever becomes of its segment meanwhile (I4, I5, I12). A segment has two cells here.

use std::task::Waker;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pool_core::internals::{Cancelled, Entered, Fifo, Heard, Resumed, Ticket};

use crate::common::explore;

fn enter(queue: &Fifo) -> Ticket {
    match queue.enter(Waker::noop().clone(), 0) {
        Entered::Waiting(ticket) => ticket,
        Entered::Granted(note) => panic!("{note} was given to nobody"),
    }
}

/// Leaves with nobody on the way.
fn leave(queue: &Fifo, ticket: Ticket) {
    assert!(matches!(queue.cancel(ticket, || true), Cancelled::Left));
}

fn look(queue: &Fifo, ticket: &mut Option<Ticket>) -> Heard {
    queue.look(ticket, Waker::noop())
}

/// Three segments, of which those in front are emptied while somebody is resumed behind them.
#[test]
fn a_segment_that_is_unlinked_leads_whoever_comes_to_the_next_waiter() {
    explore(3, || {
        let queue = Arc::new(Fifo::default());
        let mut early: Vec<_> = (0..3).map(|_| enter(&queue)).collect();
        let mut last = Some(enter(&queue));
        leave(&queue, early.pop().unwrap());
        leave(&queue, early.pop().unwrap());
        let emptying = thread::spawn({
            let queue = queue.clone();
            move || leave(&queue, early.pop().unwrap())
        });
        emptying.join().unwrap();
        let resuming = thread::spawn({
            let queue = queue.clone();
            move || assert!(matches!(queue.resume(7), Resumed::Delivered(_)))
        });
        // Another waiter adds a segment, and the empty one in front may go.
        let other = enter(&queue);
        resuming.join().unwrap();
        assert_eq!(look(&queue, &mut last), Heard::Granted(7));
        leave(&queue, other);
    });
}

/// Two waiters add a segment at the same moment; both are found.
#[test]
fn two_that_add_a_segment_add_one() {
    explore(3, || {
        let queue = Arc::new(Fifo::default());
        let (first, second) = (enter(&queue), enter(&queue));
        let adding = thread::spawn({
            let queue = queue.clone();
            move || enter(&queue)
        });
        let mut mine = Some(enter(&queue));
        let mut other = Some(adding.join().unwrap());
        leave(&queue, first);
        leave(&queue, second);
        for note in [1, 2] {
            assert!(matches!(queue.resume(note), Resumed::Delivered(_)));
        }
        let heard = [look(&queue, &mut mine), look(&queue, &mut other)];
        assert!(heard == [Heard::Granted(1), Heard::Granted(2)] || heard == [Heard::Granted(2), Heard::Granted(1)]);
    });
}

/// Segments go round: unlinked, in stock, and in the list again, while one that is late is on the way.
#[test]
fn a_segment_in_its_next_life_is_not_taken_for_the_old_one() {
    explore(2, || {
        let queue = Arc::new(Fifo::default());
        let mut stays = Some(enter(&queue));
        let goes = enter(&queue);
        let turning = thread::spawn({
            let queue = queue.clone();
            move || {
                leave(&queue, goes);
                for _ in 0..2 {
                    leave(&queue, enter(&queue));
                }
            }
        });
        assert!(matches!(queue.resume(7), Resumed::Delivered(_)));
        assert_eq!(look(&queue, &mut stays), Heard::Granted(7));
        let mut next = Some(enter(&queue));
        turning.join().unwrap();
        assert!(matches!(queue.resume(8), Resumed::Delivered(_)));
        assert_eq!(look(&queue, &mut next), Heard::Granted(8));
    });
}

/// The giver comes before the waiter, or after it.
#[test]
fn a_note_that_comes_first_waits_in_the_cell() {
    explore(3, || {
        let queue = Arc::new(Fifo::default());
        let shown = Arc::new(AtomicUsize::new(0));
        let giving = thread::spawn({
            let (queue, shown) = (queue.clone(), shown.clone());
            move || {
                shown.store(1, Ordering::Relaxed);
                assert!(matches!(queue.resume(7), Resumed::Delivered(_)));
            }
        });
        let note = match queue.enter(Waker::noop().clone(), 0) {
            Entered::Granted(note) => Some(note),
            Entered::Waiting(ticket) => match look(&queue, &mut Some(ticket)) {
                Heard::Granted(note) => Some(note),
                Heard::Nothing => None,
                Heard::Expired => panic!("nobody keeps the time"),
            },
        };
        if let Some(note) = note {
            assert_eq!((note, shown.load(Ordering::Relaxed)), (7, 1), "what came before the note is visible with it");
        }
        giving.join().unwrap();
    });
}

/// The waiter changes its waker while the note comes: the waker that is woken is the new one, or the waiter sees the note itself.
#[test]
fn a_waker_that_is_replaced_is_woken_or_not_needed() {
    explore(3, || {
        let queue = Arc::new(Fifo::default());
        let mut ticket = Some(enter(&queue));
        let giving = thread::spawn({
            let queue = queue.clone();
            move || match queue.resume(7) {
                Resumed::Delivered(Some(waker)) => waker.wake(),
                Resumed::Delivered(None) => {}
                Resumed::Refused => panic!("the waiter is there"),
            }
        });
        let heard =
            loom::future::block_on(std::future::poll_fn(|context| match queue.look(&mut ticket, context.waker()) {
                Heard::Nothing => std::task::Poll::Pending,
                heard => std::task::Poll::Ready(heard),
            }));
        assert_eq!(heard, Heard::Granted(7));
        giving.join().unwrap();
    });
}
