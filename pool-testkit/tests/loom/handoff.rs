//! Hand-over: no wake-up is lost and no connection is, however a release, a waiter and a caller that gives up meet (I3, I4).

use loom::sync::Arc;
use loom::thread;
use pool_core::internals::{Alarm, Entry, Grant};

use std::task::{Context, Waker};

use crate::common::{
    NEVER, Pool, acquire, assert_at_rest, explore, give_up, join, leave, open, pass_on, pool, release, touch, wait,
};

fn use_once(core: &Pool) {
    let mut claim = acquire(core).expect("nobody closes the pool");
    touch(core, &mut claim);
    release(core, claim);
}

fn spawn_user(core: &Arc<Pool>) -> thread::JoinHandle<()> {
    let core = core.clone();
    thread::spawn(move || use_once(&core))
}

#[test]
fn a_release_and_a_waiter_find_each_other() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let waiter = spawn_user(&core);
        release(&core, held);
        waiter.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

#[test]
fn two_users_share_one_connection() {
    explore(2, || {
        let core = pool(1, 1);
        let other = spawn_user(&core);
        use_once(&core);
        other.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

#[test]
fn a_caller_that_gives_up_takes_nothing_with_it() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let giving_up = thread::spawn({
            let core = core.clone();
            move || give_up(&core)
        });
        release(&core, held);
        giving_up.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

#[test]
fn a_caller_that_gives_up_does_not_take_the_turn_of_another() {
    explore(2, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let waiter = spawn_user(&core);
        let giving_up = thread::spawn({
            let core = core.clone();
            move || give_up(&core)
        });
        release(&core, held);
        waiter.join().unwrap();
        giving_up.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

#[test]
fn the_first_waiter_serves_the_one_behind_it() {
    explore(1, || {
        let core = pool(2, 0);
        let (first, second) = (open(&core, 0), open(&core, 1));
        let waiters = [spawn_user(&core), spawn_user(&core)];
        release(&core, first);
        release(&core, second);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_at_rest(&core, 2);
    });
}

#[test]
fn nobody_overtakes_a_waiter_that_is_being_served() {
    explore(3, || {
        let core = pool(2, 2);
        let (entry, _) = core.join(Waker::noop().clone(), NEVER, |claim| {
            assert!(core.claim_at_once(None).is_none(), "the other idle connection is for those who wait");
            release(&core, claim);
        });
        let Entry::Queued(ticket) = entry else { panic!("nobody but the waiter itself serves") };
        pass_on(&core, leave(&core, ticket));
        assert_at_rest(&core, 2);
    });
}

/// The time of a waiter ends while a connection comes back: one of the two reaches it, and the connection stays.
#[test]
fn a_waiter_whose_time_is_over_loses_no_connection() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let waiter = thread::spawn({
            let core = core.clone();
            move || match wait(&core, 5) {
                Grant::Slot(claim) => release(&core, claim),
                Grant::Expired => {}
                grant => panic!("{grant:?}"),
            }
        });
        let _ = core.expire(5, Waker::wake, |claim| release(&core, claim));
        release(&core, held);
        waiter.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

/// As above, with another waiter behind, whose count the one who ends waits may have borrowed for a moment.
#[test]
fn the_end_of_one_wait_is_not_the_end_of_another() {
    explore(1, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let late = match core.join(Waker::noop().clone(), 5, |_| unreachable!("nothing is idle")) {
            (Entry::Queued(ticket), _) => ticket,
            (Entry::Served(grant), _) => panic!("{grant:?}"),
        };
        let waiter = spawn_user(&core);
        let ending = thread::spawn({
            let core = core.clone();
            move || core.expire(5, Waker::wake, |claim| release(&core, claim)).is_some()
        });
        release(&core, held);
        ending.join().unwrap();
        pass_on(&core, core.look(&mut Some(late), Waker::noop()));
        waiter.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

/// Somebody who keeps the time looks, while a waiter joins: it is found in its cell, or makes the alarm ring earlier.
#[test]
fn a_deadline_is_found_or_rung_for() {
    explore(3, || {
        let state = Arc::new((pool(1, 0), Alarm::default()));
        let waiter = thread::spawn({
            let state = state.clone();
            move || {
                let (core, alarm) = &*state;
                let ticket = join(core, &Context::from_waker(Waker::noop()), 5).expect("nobody gives");
                alarm.advance(5);
                ticket
            }
        });
        let (core, alarm) = &*state;
        alarm.silence();
        if let Some(earliest) = core.expire(1, Waker::wake, |_| unreachable!("nothing is idle")) {
            alarm.advance(earliest);
        }
        let ticket = waiter.join().unwrap();
        assert_eq!(alarm.rings_at(), 5);
        assert!(leave(core, ticket).is_none());
    });
}
