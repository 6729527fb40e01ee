//! Capacity: never more than the maximum, and room that becomes free is noticed by somebody (I1, I4).

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pool_core::internals::{Figure, Seat};

use crate::common::{assert_at_rest, explore, open, pool, release, retire};

#[test]
fn openers_and_closers_stay_within_the_maximum_and_always_find_a_slot() {
    explore(3, || {
        let core = pool(1, 1);
        let replace = |core: &Arc<crate::common::Pool>| {
            if let Some(claim) = core.claim_at_once(None) {
                retire(core, claim);
            }
            if !core.capacity.reserve(|room| room.opening == 0) {
                return;
            }
            let vacancy = core.table.claim_vacant().expect("the only slot is vacant, and seen to be");
            let claim = core.table.fill(vacancy, 7);
            core.capacity.opened();
            release(core, claim);
        };
        let other = thread::spawn({
            let core = core.clone();
            move || replace(&core)
        });
        replace(&core);
        other.join().unwrap();
        assert_at_rest(&core, core.table.counts().idle);
    });
}

/// An opener fails while a waiter joins: the janitor, which looks at the gate after the failure, or the waiter, which looks at the capacity
/// after it has counted itself, asks for the next attempt.
#[test]
fn a_failed_attempt_and_a_new_waiter_cannot_miss_each_other() {
    explore(3, || {
        let core = pool(1, 0);
        assert!(core.capacity.reserve(|_| true));
        let vacancy = core.table.claim_vacant().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let waiter = thread::spawn({
            let (core, asked) = (core.clone(), asked.clone());
            move || {
                let (ticket, _) = core.join(std::task::Waker::noop().clone(), |_| unreachable!("nothing is idle"));
                let room = core.capacity.read();
                if room.open < room.max {
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                ticket
            }
        });
        core.table.publish_vacant(vacancy);
        core.capacity.open_failed();
        if core.gate.look_after_publishing().waiting > 0 {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        let ticket = waiter.join().unwrap();
        assert!(asked.load(Ordering::Relaxed) > 0, "nobody asked for an opener");
        assert!(core.leave(ticket).is_none());
        let claim = open(&core, 1);
        release(&core, claim);
        assert_at_rest(&core, 1);
    });
}

/// A janitor ends while a waiter joins: the waiter is woken by the one that ends, or finds the seat free.
#[test]
fn a_janitor_that_ends_and_a_new_waiter_cannot_miss_each_other() {
    explore(3, || {
        let core = pool(1, 0);
        let seat = Arc::new(Seat::default());
        assert!(seat.occupy());
        let waiter = thread::spawn({
            let (core, seat) = (core.clone(), seat.clone());
            move || {
                let (ticket, _) = core.join(std::task::Waker::noop().clone(), |_| unreachable!("nothing is idle"));
                (ticket, seat.is_taken())
            }
        });
        seat.leave();
        let woken = core.take_wakers().len();
        let (ticket, taken) = waiter.join().unwrap();
        assert!(woken == 1 || !taken, "the waiter relies on a janitor that is gone");
        assert!(core.leave(ticket).is_none());
    });
}

/// A janitor ends and another one begins: the second sees what the first wrote down.
#[test]
fn the_next_janitor_sees_what_the_last_one_wrote() {
    explore(3, || {
        let state = Arc::new((Seat::default(), Figure::default()));
        assert!(state.0.occupy());
        let next = thread::spawn({
            let state = state.clone();
            move || (state.0.occupy(), state.1.get())
        });
        state.1.set(7);
        state.0.leave();
        let (occupied, epoch) = next.join().unwrap();
        assert!(!occupied || epoch == 7, "the epoch went back");
    });
}
