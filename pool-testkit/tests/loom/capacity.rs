//! Capacity: never more than the maximum, and room that becomes free is noticed by somebody (I1, I4).

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pool_core::internals::{Figure, Seat};

use std::task::{Context, Waker};

use crate::common::{NEVER, assert_at_rest, explore, join, leave, open, pool, release, retire};

#[test]
fn openers_and_closers_stay_within_the_maximum_and_always_find_a_slot() {
    explore(3, || {
        // Tables have two slots at least, so one of them is always taken here.
        let core = pool(2, 1);
        let taken = open(&core, 0);
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
        release(&core, taken);
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
                let ticket = join(&core, &Context::from_waker(Waker::noop()), NEVER).expect("nothing is idle");
                let room = core.capacity.read();
                if room.open < room.max {
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                ticket
            }
        });
        core.table.publish_vacant(vacancy);
        core.capacity.open_failed();
        if core.gate.look_after_publishing().waiting() > 0 {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        let ticket = waiter.join().unwrap();
        assert!(asked.load(Ordering::Relaxed) > 0, "nobody asked for an opener");
        assert!(leave(&core, ticket).is_none());
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
                let ticket = join(&core, &Context::from_waker(Waker::noop()), NEVER).expect("nothing is idle");
                (ticket, seat.is_taken())
            }
        });
        seat.leave_first();
        let mut woken = 0;
        let _ = core.expire(NEVER, |_| woken += 1, |_| unreachable!("nothing is idle"));
        let (ticket, taken) = waiter.join().unwrap();
        assert!(woken == 1 || !taken, "the waiter relies on a janitor that is gone");
        assert!(leave(&core, ticket).is_none());
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

/// The maximum is lowered while a connection comes back: one that is one too many does not stay.
#[test]
fn a_release_and_a_lower_maximum_cannot_miss_each_other() {
    explore(3, || {
        let core = pool(2, 1);
        let held = open(&core, 1);
        let lowering = thread::spawn({
            let core = core.clone();
            move || {
                core.resize(1);
                for index in 0..core.table.size() {
                    if let Some(claim) = core.table.claim_at(index) {
                        release(&core, claim);
                    }
                }
            }
        });
        release(&core, held);
        lowering.join().unwrap();
        assert_at_rest(&core, 1);
        assert!(core.gate.glance().is_clear(), "and everybody knows that it is over");
    });
}

/// The maximum is lowered again while the last surplus of before leaves.
#[test]
fn a_maximum_that_is_lowered_twice_is_kept() {
    explore(3, || {
        let core = pool(3, 0);
        let held: Vec<_> = (0..3).map(|number| open(&core, number)).collect();
        core.resize(2);
        let lowering = thread::spawn({
            let core = core.clone();
            move || core.resize(1)
        });
        let mut held = held.into_iter();
        release(&core, held.next().unwrap());
        lowering.join().unwrap();
        held.for_each(|claim| release(&core, claim));
        assert_at_rest(&core, 1);
        assert!(core.gate.glance().is_clear());
    });
}

/// The maximum is raised while others open: the slots for it are there.
#[test]
fn a_higher_maximum_finds_its_slots() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let raising = thread::spawn({
            let core = core.clone();
            move || core.resize(5)
        });
        let mut opened = vec![held];
        while core.capacity.reserve(|_| true) {
            let vacancy = core.table.claim_vacant().expect("a reservation implies a vacant slot");
            opened.push(core.table.fill(vacancy, 1));
            core.capacity.opened();
        }
        raising.join().unwrap();
        assert!(opened.len() <= 5);
        let open = opened.len();
        for claim in opened {
            release(&core, claim);
        }
        assert_at_rest(&core, open);
    });
}
