//! Hand-over: no wake-up is lost and no connection is, however a release, a waiter and a caller that gives up meet (I3, I4).

use std::panic::Location;
use std::task::Waker;

use pool_core::internals::{Entry, Grant};

use crate::common::{
    NEVER, Scene, assert_at_rest, at_once, give_up, leave, open, pass_on, race, release, releasing, serve, use_once,
};

fn using(scene: &Scene) {
    use_once(&scene.core);
}

fn giving_up(scene: &Scene) {
    give_up(&scene.core);
}

/// The waiter that came first leaves again, with what came meanwhile.
fn leaving(scene: &Scene) {
    pass_on(&scene.core, leave(&scene.core, scene.waiter()));
}

/// What the waiter that has waited for longest has got by now.
fn granted(scene: &Scene) -> Option<Grant<u64>> {
    scene.core.look(&mut Some(scene.waiter()), Waker::noop())
}

/// Somebody enters the queue while a connection comes back. Reserve first: a giver that took the waiter from the queue before it took it from the count
/// would leave this waiter parked beside an idle connection.
#[test]
fn a_release_and_a_waiter_find_each_other() {
    race(3, || Scene::new(1, 0, 1), [releasing, using], |scene| assert_at_rest(&scene.core, 1));
}

#[test]
fn two_users_share_one_connection() {
    race(2, || Scene::new(1, 1, 0), [using, using], |scene| assert_at_rest(&scene.core, 1));
}

#[test]
fn a_caller_that_gives_up_takes_nothing_with_it() {
    race(3, || Scene::new(1, 0, 1), [releasing, giving_up], |scene| assert_at_rest(&scene.core, 1));
}

/// The same, for one that has been in the queue for a while, with another one behind it.
#[test]
fn a_waiter_that_leaves_does_not_take_the_connection_of_the_next() {
    race(
        3,
        || Scene::new(1, 0, 1).with_waiters(2),
        [releasing, leaving],
        |scene| {
            let Some(Grant::Slot(claim)) = granted(&scene) else { panic!("the one that stayed has nothing") };
            release(&scene.core, claim);
            assert_at_rest(&scene.core, 1);
        },
    );
}

#[test]
fn a_caller_that_gives_up_does_not_take_the_turn_of_another() {
    race(1, || Scene::new(1, 0, 1), [releasing, using, giving_up], |scene| assert_at_rest(&scene.core, 1));
}

/// Two connections come back at the same moment: the two that have waited for longest have them, and the third has none.
#[test]
fn two_releases_serve_the_two_that_came_first() {
    race(
        3,
        || Scene::new(2, 0, 2).with_waiters(3),
        [releasing, releasing],
        |scene| {
            for _ in 0..2 {
                let Some(Grant::Slot(claim)) = granted(&scene) else { panic!("one of the first two has nothing") };
                // Kept from the third one.
                let (_, vacancy) = scene.core.table.take(claim);
                scene.core.table.publish_closed(vacancy);
                scene.core.capacity.leaving();
                scene.core.capacity.closed();
            }
            assert!(leave(&scene.core, scene.waiter()).is_none(), "the third has overtaken somebody");
            assert_at_rest(&scene.core, 0);
        },
    );
}

#[test]
fn the_first_waiter_serves_the_one_behind_it() {
    let releasing_both = |scene: &Scene| (0..2).for_each(|_| releasing(scene));
    race(1, || Scene::new(2, 0, 2), [releasing_both, using, using], |scene| assert_at_rest(&scene.core, 2));
}

/// A connection that was opened for a waiter is there while the waiter gives up: it stays, for the next one.
#[test]
fn an_opener_whose_waiter_is_gone_opens_for_the_pool() {
    let opening = |scene: &Scene| {
        let claim = open(&scene.core, 1);
        release(&scene.core, claim);
    };
    race(3, || Scene::new(1, 0, 0).with_waiters(1), [opening, leaving], |scene| assert_at_rest(&scene.core, 1));
}

#[test]
fn nobody_overtakes_a_waiter_that_is_being_served() {
    let waiting = |scene: &Scene| {
        let core = &scene.core;
        let (entry, ..) = core.join(Waker::noop().clone(), NEVER, Location::caller(), false, |claim| {
            assert!(at_once(core).is_none(), "the other idle connection is for those who wait");
            serve(core, claim)
        });
        let Entry::Queued(ticket) = entry else { panic!("nobody but the waiter itself serves") };
        pass_on(core, leave(core, ticket));
    };
    race(3, || Scene::new(2, 2, 0), [waiting], |scene| assert_at_rest(&scene.core, 2));
}
