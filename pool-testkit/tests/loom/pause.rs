//! Pause: nobody is forgotten who waits for its end. And what else is decided by looking again after saying so.

use std::task::{Context, Waker};

use pool_core::internals::{Figure, Flag, Gate, Generation, Grant};

use crate::common::{
    NEVER, Scene, acquiring, assert_at_rest, at_once, close, join, leave, pass_on, race, release, releasing, serve,
};

fn resuming(scene: &Scene) {
    scene.core.resume(|claim| serve(&scene.core, claim));
}

/// A pause that somebody has begun before.
fn paused(scene: Scene) -> Scene {
    assert!(scene.core.gate().pause());
    scene
}

/// The one who waits has been served.
fn assert_served(scene: &Scene) {
    match scene.core.look(&mut Some(scene.waiter()), Waker::noop()) {
        Some(Grant::Slot(claim)) => release(&scene.core, claim),
        other => panic!("it was forgotten: {other:?}"),
    }
}

#[test]
fn a_release_and_a_resume_cannot_miss_each_other() {
    let setup = || paused(Scene::new(1, 0, 1)).with_waiters(1);
    race(3, setup, [resuming, releasing], |scene| {
        assert_served(&scene);
        assert_at_rest(&scene.core, 1);
    });
}

#[test]
fn a_waiter_and_a_resume_cannot_miss_each_other() {
    race(3, || paused(Scene::new(1, 1, 0)), [resuming, acquiring], |scene| assert_at_rest(&scene.core, 1));
}

/// Served or not, the connection is not lost, and nobody gets it while the pause goes on.
#[test]
fn a_pause_and_a_release_agree_on_who_has_the_connection() {
    let pausing = |scene: &Scene| {
        scene.core.gate().pause();
        assert!(at_once(&scene.core).is_none(), "it is paused");
    };
    race(
        3,
        || Scene::new(1, 0, 1).with_waiters(1),
        [pausing, releasing],
        |scene| {
            let idle = scene.core.table.counts().idle;
            if idle == 1 {
                assert_eq!(scene.core.gate().glance().waiting(), 1, "it still waits");
                resuming(&scene);
            }
            assert_served(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// Somebody who waits through a pause hears of the close; what rests is found by it.
#[test]
fn a_close_during_a_pause_finds_everything() {
    let closing = |scene: &Scene| close(&scene.core);
    race(
        3,
        || paused(Scene::new(1, 0, 1)).with_waiters(1),
        [closing, releasing],
        |scene| {
            let heard = scene.core.look(&mut Some(scene.waiter()), Waker::noop());
            assert!(matches!(heard, Some(Grant::Closed)), "it was not told: {heard:?}");
            assert_at_rest(&scene.core, 0);
        },
    );
}

/// A gate, and a note that somebody leaves before passing it.
#[derive(Default)]
struct Note {
    gate: Gate,
    note: Figure,
}

/// Whoever judges a connection by a generation knows why it was begun.
#[test]
fn whoever_sees_a_generation_knows_the_reason() {
    let beginning = |scene: &Note| {
        scene.note.set(1);
        scene.gate.begin_generation();
    };
    let judging = |scene: &Note| {
        let present = scene.gate.present_generation();
        assert!(present == Generation::default() || scene.note.get() == 1, "nobody told it why");
    };
    race(3, Note::default, [beginning, judging], |_| {});
}

/// A pool in which connections may be left to those who wait, and whether each side has noticed the other.
struct Left {
    scene: Scene,
    unserved: Flag,
    noticed: [Figure; 2],
}

/// Somebody leaves idle connections because enough are being checked for those who wait, and somebody joins: one of the two knows of the other.
#[test]
fn a_waiter_knows_that_there_may_be_more() {
    let leaving = |left: &Left| {
        left.unserved.raise();
        let waiting = left.scene.core.gate().look_after_publishing().to_be_served();
        left.noticed[0].set(u64::from(waiting > 0));
    };
    let joining = |left: &Left| {
        let scene = &left.scene;
        let ticket = join(&scene.core, &Context::from_waker(Waker::noop()), NEVER).expect("nothing is idle");
        left.noticed[1].set(left.unserved.is_up().into());
        scene.leave_ticket(ticket);
    };
    let setup = || Left { scene: Scene::new(1, 0, 0), unserved: Flag::default(), noticed: Default::default() };
    race(3, setup, [leaving, joining], |left| {
        assert!(left.noticed.iter().any(|noticed| noticed.get() != 0), "they missed each other");
        let core = &left.scene.core;
        pass_on(core, leave(core, left.scene.waiter()));
        assert_at_rest(core, 0);
    });
}
