//! Close: nobody waits for ever, and nothing stays open (I9). Replacing all connections, which ends the same way for the old ones.

use std::panic::Location;
use std::task::{Context, Waker};

use pool_core::internals::{Entry, Grant};

use crate::common::{
    NEVER, Scene, acquiring, assert_at_rest, at_once, close, join, leave, offer, offer_all_idle, pass_on, race,
    release, releasing, serve,
};

fn closing(scene: &Scene) {
    close(&scene.core);
}

#[test]
fn a_waiter_that_nobody_comes_to_hears_of_the_close() {
    race(3, || Scene::new(1, 0, 0), [closing, acquiring], |scene| assert_at_rest(&scene.core, 0));
}

#[test]
fn a_release_that_misses_the_close_is_found_by_it() {
    race(3, || Scene::new(1, 0, 1), [closing, releasing], |scene| assert_at_rest(&scene.core, 0));
}

/// A release has seen a waiter, and the pool is closed before it hands over: nobody who comes afterwards gets the connection.
#[test]
fn nobody_gets_a_connection_who_comes_after_the_close() {
    let closing_and_coming = |scene: &Scene| {
        closing(scene);
        assert!(at_once(&scene.core).is_none());
        let joined = join(&scene.core, &Context::from_waker(Waker::noop()), NEVER);
        assert!(matches!(joined, Err(Grant::Closed)), "{joined:?}");
    };
    let setup = || Scene::new(1, 0, 1).with_waiters(1);
    race(3, setup, [closing_and_coming, releasing], |scene| {
        let granted = scene.core.look(&mut Some(scene.waiter()), Waker::noop());
        if let Some(Grant::Slot(claim)) = granted {
            release(&scene.core, claim);
        }
        assert_at_rest(&scene.core, 0);
    });
}

/// Somebody has counted itself before the close and enters the queue after somebody who came after the close, who so finds what was meant for the first.
#[test]
fn nobody_is_forgotten_whose_place_another_took() {
    let closing_and_coming = |scene: &Scene| {
        closing(scene);
        let joined = join(&scene.core, &Context::from_waker(Waker::noop()), NEVER);
        assert!(matches!(joined, Err(Grant::Closed)), "{joined:?}");
    };
    let coming = |scene: &Scene| match join(&scene.core, &Context::from_waker(Waker::noop()), NEVER) {
        Ok(ticket) => scene.leave_ticket(ticket),
        Err(grant) => assert!(matches!(grant, Grant::Closed), "{grant:?}"),
    };
    race(
        3,
        || Scene::new(1, 0, 0),
        [closing_and_coming, coming],
        |scene| {
            if !scene.nobody_waits() {
                let heard = scene.core.look(&mut Some(scene.waiter()), Waker::noop());
                assert!(matches!(heard, Some(Grant::Closed)), "it was not told: {heard:?}");
            }
            assert_at_rest(&scene.core, 0);
        },
    );
}

fn replacing_all(scene: &Scene) {
    scene.core.gate().begin_generation();
    offer_all_idle(&scene.core);
}

/// A connection comes back while all of its generation are replaced: it does not stay.
#[test]
fn a_release_and_a_new_generation_cannot_miss_each_other() {
    race(3, || Scene::new(1, 0, 1), [replacing_all, releasing], |scene| assert_at_rest(&scene.core, 0));
}

/// As above, and the one who replaced them acquires: it gets none of the old ones.
#[test]
fn nobody_gets_an_old_connection_who_comes_after_a_new_generation() {
    let replacing_and_coming = |scene: &Scene| {
        replacing_all(scene);
        assert!(at_once(&scene.core).is_none(), "there are only old ones");
    };
    race(3, || Scene::new(1, 0, 1), [replacing_and_coming, releasing], |scene| assert_at_rest(&scene.core, 0));
}

/// As above, and it waits behind one that came before and gives up: what was meant for that one is not for this.
#[test]
fn nobody_gets_an_old_connection_who_waits_after_a_new_generation() {
    let replacing_and_waiting = |scene: &Scene| {
        let core = &scene.core;
        replacing_all(scene);
        let (entry, _, came_in) =
            core.join(Waker::noop().clone(), NEVER, Location::caller(), false, |claim| serve(core, claim));
        let Entry::Queued(ticket) = entry else { panic!("nobody gives to the one who came last") };
        pass_on(core, leave(core, scene.waiter()));
        let mut ticket = Some(ticket);
        if let Some(Grant::Slot(claim)) = core.look(&mut ticket, Waker::noop()) {
            let present = core.gate().glance().generation().to_figure();
            let is_present = core.table.facts(&claim).generation.get() == present;
            assert_eq!(core.may_have(&claim, came_in), is_present);
            offer(core, claim);
        }
        if let Some(ticket) = ticket {
            pass_on(core, leave(core, ticket));
        }
    };
    let setup = || Scene::new(1, 0, 1).with_waiters(1);
    race(3, setup, [replacing_and_waiting, releasing], |scene| assert_at_rest(&scene.core, 0));
}
