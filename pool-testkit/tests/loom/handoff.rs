//! Hand-over: no wake-up is lost and no connection is, however a release, a waiter and a caller that gives up meet (I3, I4).

use loom::sync::Arc;
use loom::thread;

use crate::common::{Pool, acquire, assert_at_rest, explore, give_up, leave, open, pool, release, touch};

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
    explore(2, || {
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
        let waker = std::task::Waker::noop().clone();
        let (ticket, _) = core.join(waker, |claim| {
            assert!(core.claim_at_once(None).is_none(), "the other idle connection is for those who wait");
            release(&core, claim);
        });
        leave(&core, ticket);
        assert_at_rest(&core, 2);
    });
}
