//! The four races that another lock-free pool, Vitess's `smartconnpool`, shipped to its users, as models of this one. The first is
//! `handoff::a_release_and_a_waiter_find_each_other`, looked at further.

use std::task::Waker;

use pool_core::internals::Grant;

use crate::common::{Scene, acquiring, assert_at_rest, close, give_up, leave, pass_on, race, release, releasing};

/// vitessio/vitess#17662: a waiter looked at the idle connections, found none, and joined the queue after the last of them had come back. Nobody else
/// came by to wake it.
#[test]
fn a_waiter_does_not_join_after_the_last_release() {
    race(4, || Scene::new(1, 0, 1), [releasing, acquiring], |scene| assert_at_rest(&scene.core, 1));
}

/// vitessio/vitess#18202: the same, and the close that follows waits for the waiter for ever.
#[test]
fn a_close_does_not_hang_on_a_waiter_that_joins() {
    race(
        1,
        || Scene::new(1, 0, 1),
        [releasing, acquiring, |scene| close(&scene.core)],
        |scene| assert_at_rest(&scene.core, 0),
    );
}

/// vitessio/vitess#20310: connections went to waiters that had given up, one after the other, and those who still waited got none.
#[test]
fn a_connection_passes_by_those_who_have_given_up() {
    let leaving = |scene: &Scene| (0..2).for_each(|_| pass_on(&scene.core, leave(&scene.core, scene.waiter())));
    race(
        3,
        || Scene::new(1, 0, 1).with_waiters(3),
        [leaving, releasing],
        |scene| {
            let granted = scene.core.look(&mut Some(scene.waiter()), Waker::noop());
            let Some(Grant::Slot(claim)) = granted else { panic!("the one that stayed has nothing") };
            release(&scene.core, claim);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// vitessio/vitess#17807: a node that had left the queue kept others reachable, and memory grew. Here: what has been used is used again, however a
/// giver and waiters that give up meet.
#[test]
fn memory_of_those_who_have_left_is_used_again() {
    let coming_and_going = |scene: &Scene| (0..4).for_each(|_| give_up(&scene.core));
    race(
        1,
        || Scene::new(1, 0, 1),
        [coming_and_going, releasing],
        |scene| {
            assert!(scene.core.waiting_room() <= 3, "{} segments for one waiter at a time", scene.core.waiting_room());
            assert_at_rest(&scene.core, 1);
        },
    );
}
