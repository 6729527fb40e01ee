//! Capacity: never more than the maximum, and room that becomes free is noticed by somebody (I1, I4).

// Loom does not see this: it hands something over before the racers meet.
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use pool_core::internals::Vacancy;

use crate::common::{
    NEVER, Scene, assert_at_rest, at_once, close_leaving, join, leave, offer_surplus, open, race, release, releasing,
    retire,
};

#[test]
fn openers_and_closers_stay_within_the_maximum_and_always_find_a_slot() {
    let replacing = |scene: &Scene| {
        let core = &scene.core;
        if let Some(claim) = at_once(core) {
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
    // Tables have two slots at least, so one of them is always taken here.
    let setup = || {
        let scene = Scene::new(2, 0, 2);
        releasing(&scene);
        scene
    };
    race(3, setup, [replacing, replacing], |scene| {
        releasing(&scene);
        assert_at_rest(&scene.core, scene.core.table.counts().idle);
    });
}

/// A pool in which somebody may have been asked for a connection.
struct Asked {
    scene: Scene,
    asked: AtomicUsize,
}

/// Joins, and asks for an opener if there is room.
fn asking(state: &Asked) {
    let core = &state.scene.core;
    let ticket = join(core, &Context::from_waker(Waker::noop()), NEVER).expect("nothing is idle");
    let room = core.capacity.read();
    if room.open < room.max {
        state.asked.fetch_add(1, Ordering::Relaxed);
    }
    state.scene.leave_ticket(ticket);
}

/// What the janitor does whenever it may open.
fn looking(state: &Asked) {
    if state.scene.core.gate().look_after_publishing().waiting() > 0 {
        state.asked.fetch_add(1, Ordering::Relaxed);
    }
}

fn somebody_was_asked(mut state: Asked) {
    assert!(*state.asked.get_mut() > 0, "nobody asked for an opener");
    assert!(leave(&state.scene.core, state.scene.waiter()).is_none());
    let claim = open(&state.scene.core, 1);
    release(&state.scene.core, claim);
}

/// An opener fails while a waiter joins: the janitor, which looks at the gate after the failure, or the waiter, which looks at the capacity
/// after it has counted itself, asks for the next attempt.
#[test]
fn a_failed_attempt_and_a_new_waiter_cannot_miss_each_other() {
    let setup = || {
        let scene = Scene::new(1, 0, 0);
        assert!(scene.core.capacity.reserve(|_| true));
        Asked { scene, asked: 0.into() }
    };
    let failing = |state: &Asked| {
        let core = &state.scene.core;
        let vacancy = core.table.claim_vacant().unwrap();
        core.table.publish_vacant(vacancy);
        core.capacity.open_failed();
        looking(state);
    };
    race(3, setup, [failing, asking], somebody_was_asked);
}

/// The settings change, and with them the maximum, while a waiter joins: one of the two asks for the connection that there is room for now.
#[test]
fn new_settings_and_a_new_waiter_cannot_miss_each_other() {
    let setup = || Asked { scene: Scene::new(1, 0, 1), asked: 0.into() };
    let raising = |state: &Asked| {
        state.scene.core.resize(2);
        looking(state);
    };
    race(3, setup, [raising, asking], |state| {
        releasing(&state.scene);
        let granted = state.scene.core.look(&mut Some(state.scene.waiter()), Waker::noop());
        assert!(granted.is_some());
        assert!(state.asked.into_inner() > 0, "nobody asked for an opener");
    });
}

/// What `reconfigure` does with a lower maximum.
fn lowering(scene: &Scene) {
    scene.core.resize(1);
    offer_surplus(&scene.core);
}

/// The maximum is lowered while a connection comes back and the rest stay out: one that is one too many does not stay.
#[test]
fn a_release_and_a_lower_maximum_cannot_miss_each_other() {
    let check = |scene: Scene| {
        assert_eq!((scene.core.table.counts().idle, scene.core.capacity.read().open), (0, 1));
        releasing(&scene);
        assert_at_rest(&scene.core, 1);
        assert!(!scene.core.gate().glance().is_oversize(), "and everybody knows that it is over");
    };
    race(3, || Scene::new(2, 0, 2), [lowering, releasing], check);
}

/// As above, when there is an idle one that can go instead.
#[test]
fn one_of_two_goes_and_not_both() {
    race(3, || Scene::new(2, 1, 1), [lowering, releasing], |scene| assert_at_rest(&scene.core, 1));
}

/// The maximum is lowered again while the last surplus of before leaves and others come back: what is one too many does not stay.
#[test]
fn a_maximum_that_is_lowered_twice_is_kept() {
    let setup = || {
        let scene = Scene::new(3, 0, 3);
        scene.core.resize(2);
        scene
    };
    race(2, setup, [releasing, lowering, releasing], |scene| {
        let room = scene.core.capacity.read();
        assert!(room.excess() == 0 || scene.core.table.counts().idle == 0, "{room:?}");
        releasing(&scene);
        assert_at_rest(&scene.core, 1);
        assert!(!scene.core.gate().glance().is_oversize(), "and everybody knows that it is over");
    });
}

/// Two are there, one of them counted as leaving because its replacement is the other one.
fn with_a_replacement() -> Scene {
    let scene = Scene::new(2, 0, 2);
    scene.core.capacity.leaving();
    scene.core.resize(1);
    assert!(!scene.core.gate().glance().is_oversize());
    scene
}

/// What a rotation does that has no use for a replacement.
fn recalling(scene: &Scene) {
    if scene.core.recall(1) {
        offer_surplus(&scene.core);
    }
}

/// It turns out that it does not leave, while another one comes back: that is one too many now.
#[test]
fn a_release_and_a_recall_cannot_miss_each_other() {
    race(3, with_a_replacement, [recalling, releasing], |scene| {
        assert_eq!((scene.core.table.counts().idle, scene.core.capacity.read().open), (0, 1));
        releasing(&scene);
        assert_at_rest(&scene.core, 1);
        assert!(!scene.core.gate().glance().is_oversize(), "and everybody knows that it is over");
    });
}

/// The maximum is lowered while one leaves for its replacement, and others come back: one goes for each of the two reasons, and no more.
#[test]
fn one_goes_for_its_replacement_and_one_for_a_lower_maximum() {
    let setup = || {
        let scene = Scene::new(3, 0, 3);
        scene.core.capacity.leaving();
        scene.core.resize(2);
        scene
    };
    let leaving = |scene: &Scene| close_leaving(&scene.core, scene.held());
    race(2, setup, [lowering, releasing, leaving], |scene| {
        releasing(&scene);
        assert_at_rest(&scene.core, 1);
    });
}

/// A replacement beyond the maximum has a slot.
#[test]
fn a_replacement_finds_its_slot() {
    let replacing = |scene: &Scene| {
        let core = &scene.core;
        core.table.grow_to(3);
        if core.capacity.reserve_replacement(1, 3, |_| true) {
            let vacancy = core.table.claim_vacant().expect("a reservation implies a vacant slot");
            let claim = core.table.fill(vacancy, 1);
            core.capacity.opened();
            close_leaving(core, claim);
        }
    };
    let closing = |scene: &Scene| retire(&scene.core, scene.held());
    race(
        3,
        || Scene::new(2, 0, 2),
        [replacing, closing],
        |scene| {
            releasing(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// The maximum is raised while others open: whoever sees the new maximum sees the slots for it.
#[test]
fn a_higher_maximum_finds_its_slots() {
    let opening = |scene: &Scene| {
        while scene.core.capacity.reserve(|_| true) {
            let vacancy = scene.core.table.claim_vacant().expect("a reservation implies a vacant slot");
            let claim = scene.core.table.fill(vacancy, 1);
            scene.core.capacity.opened();
            retire(&scene.core, claim);
            if scene.core.capacity.read().max == 3 {
                return;
            }
        }
    };
    race(
        3,
        || Scene::new(2, 0, 2),
        [opening, |scene| scene.core.resize(3)],
        |scene| {
            releasing(&scene);
            releasing(&scene);
            assert_at_rest(&scene.core, 2);
        },
    );
}

/// Slots are added while somebody looks through them: it finds a new one ready for use, or not at all.
#[test]
fn a_search_finds_no_slot_that_is_not_made_yet() {
    let searching = |scene: &Scene| {
        let counts = scene.core.table.counts();
        assert_eq!((counts.idle, counts.opened), (0, 2));
    };
    race(
        3,
        || Scene::new(2, 0, 2),
        [|scene: &Scene| scene.core.resize(3), searching],
        |scene| {
            releasing(&scene);
            releasing(&scene);
            assert_at_rest(&scene.core, 2);
        },
    );
}

/// A pool in which a connection is being opened.
struct Opening {
    scene: Scene,
    vacancy: Mutex<Option<Vacancy>>,
}

/// Whoever sees that nothing is being opened sees what has been opened: none is left out when somebody looks for the oldest connection.
#[test]
fn what_has_been_opened_is_seen_by_who_sees_that_nothing_is_being_opened() {
    let setup = || {
        let scene = Scene::new(1, 0, 0);
        assert!(scene.core.capacity.reserve(|_| true));
        let vacancy = scene.core.table.claim_vacant();
        Opening { scene, vacancy: Mutex::new(vacancy) }
    };
    let opening = |opening: &Opening| {
        let (core, vacancy) = (&opening.scene.core, opening.vacancy.lock().unwrap().take().unwrap());
        let claim = core.fill(vacancy, 7, core.gate().glance().generation());
        core.capacity.opened();
        release(core, claim);
    };
    let looking = |opening: &Opening| {
        let core = &opening.scene.core;
        if core.capacity.read_then_look().opening == 0 {
            assert_eq!(core.table.filled().count(), 1, "a connection that nobody sees");
        }
    };
    race(3, setup, [opening, looking], |opening| assert_at_rest(&opening.scene.core, 1));
}
