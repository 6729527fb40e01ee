//! Pause: nobody is forgotten who waits for its end. And what else is decided by looking again after saying so.

use std::sync::Mutex;
use std::task::{Context, Waker};

use pool_core::internals::{Figure, Flag, Gate, Generation, Grant, Offered, Vacancy};

use crate::common::{
    NEVER, Scene, acquiring, assert_at_rest, at_once, close, give_back, join, leave, offer_all_idle, pass_on, race,
    release, releasing, serve,
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

/// A pause, whoever waits for its users to come to rest, and what they have noticed of each other.
struct Drain {
    scene: Scene,
    /// Whether nobody was seen with a connection.
    drained: Figure,
    /// Whether whoever gave a connection back told those who watch.
    told: Figure,
    /// Whether somebody has a connection.
    had: Figure,
    /// Of an opener that is under way.
    vacancy: Mutex<Option<Vacancy>>,
}

impl Drain {
    fn of(scene: Scene) -> Self {
        let [drained, told, had] = Default::default();
        Self { scene, drained, told, had, vacancy: Mutex::default() }
    }

    /// While a connection is being opened.
    fn with_an_opener() -> Self {
        let drain = Self::of(Scene::new(1, 0, 0));
        let core = &drain.scene.core;
        assert!(core.capacity.reserve(|_| true));
        *drain.vacancy.lock().unwrap() = core.table.claim_vacant();
        drain
    }

    /// Either who watches has seen that nobody has a connection, or was told to look again.
    fn assert_heard(&self) {
        assert!(self.drained.get() != 0 || self.told.get() != 0, "the drain waits for ever");
    }

    /// Nobody has a connection who was not seen.
    fn assert_nobody_was_missed(&self) {
        assert!(self.drained.get() == 0 || self.had.get() == 0, "drained, and in somebody's hands");
    }
}

/// Pauses the pool, and looks once whether it is drained.
fn draining(drain: &Drain) {
    drain.scene.core.gate().pause();
    watching(drain);
}

/// Looks once whether the pool is drained. One that does not see the pause need not be told of anything: it has its answer.
fn watching(drain: &Drain) {
    let core = &drain.scene.core;
    if core.gate().drain() {
        drain.drained.set(core.table.nobody_has_one().into());
    } else {
        drain.told.set(1);
    }
}

fn pausing(drain: &Drain) {
    drain.scene.core.gate().pause();
}

/// Gives a connection back. Those who watch are told of it if the pool seems to be paused.
fn telling(drain: &Drain, offered: &Offered<u64>) {
    match offered {
        Offered::Parked => {}
        Offered::Paused => drain.told.set(1),
        other => panic!("{other:?}"),
    }
}

fn coming_back(drain: &Drain) {
    telling(drain, &give_back(&drain.scene.core, drain.scene.held()));
}

/// Acquires at once, and keeps what it gets until the model is done.
fn keeping(drain: &Drain) {
    let claim = at_once(&drain.scene.core);
    drain.had.set(claim.is_some().into());
}

#[test]
fn a_release_and_a_drain_cannot_miss_each_other() {
    race(3, || Drain::of(Scene::new(1, 0, 1)), [draining, coming_back], |drain| drain.assert_heard());
}

/// As above, and somebody else has paused the pool.
#[test]
fn a_release_and_a_drain_of_another_pause_cannot_miss_each_other() {
    race(3, || Drain::of(Scene::new(1, 0, 1)), [pausing, watching, coming_back], |drain| drain.assert_heard());
}

/// Who passed the gate before the pause has to be seen, or gets nothing.
#[test]
fn nobody_gets_a_connection_from_a_pool_that_is_drained() {
    race(3, || Drain::of(Scene::new(1, 1, 0)), [draining, keeping], |drain| drain.assert_nobody_was_missed());
}

/// As above, and somebody else has paused it.
#[test]
fn nobody_gets_a_connection_from_a_pool_that_another_has_paused_and_that_is_drained() {
    race(3, || Drain::of(Scene::new(1, 1, 0)), [pausing, watching, keeping], |drain| drain.assert_nobody_was_missed());
}

/// As above, with a connection that comes back a moment before.
#[test]
fn nobody_gets_what_came_back_to_a_pool_that_is_drained() {
    race(
        2,
        || Drain::of(Scene::new(1, 0, 1)),
        [draining, keeping, coming_back],
        |drain| {
            drain.assert_nobody_was_missed();
        },
    );
}

/// As above, with one that is opened during the pause.
#[test]
fn nobody_gets_what_is_opened_in_a_pool_that_is_drained() {
    let opening = |drain: &Drain| {
        let core = &drain.scene.core;
        let vacancy = drain.vacancy.lock().unwrap().take().expect("one is being opened");
        let claim = core.fill(vacancy, 7, Generation::default());
        core.capacity.opened();
        telling(drain, &core.offer(claim));
    };
    race(2, Drain::with_an_opener, [draining, keeping, opening], |drain| drain.assert_nobody_was_missed());
}

/// As the documentation of `pause` says: pause, wait, replace all, resume.
#[test]
fn nobody_has_an_old_connection_after_a_failover() {
    let failing_over = |drain: &Drain| {
        draining(drain);
        if drain.drained.get() != 0 {
            drain.scene.core.gate().begin_generation();
            offer_all_idle(&drain.scene.core);
            resuming(&drain.scene);
        }
    };
    race(3, || Drain::of(Scene::new(1, 1, 0)), [failing_over, keeping], |drain| drain.assert_nobody_was_missed());
}
