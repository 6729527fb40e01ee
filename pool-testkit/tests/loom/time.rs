//! Time: a wait ends at its deadline, by whoever keeps the time, and takes nothing with it (I3, I4, I6).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};

use pool_core::internals::{Alarm, Claim, Figure, Grant, Seat};

use crate::common::{
    NEVER, Scene, assert_at_rest, at_once, close, join, leave, pass_on, race, release, releasing, serve, wait,
};

/// The one who keeps the time ends what is due.
fn ending(scene: &Scene) {
    let _ = scene.core.expire(5, Waker::wake, |claim| serve(&scene.core, claim));
}

/// A pool, and somebody who keeps the time.
struct Watch {
    scene: Scene,
    alarm: Alarm,
    seat: Seat,
    woken: AtomicUsize,
    taken: AtomicBool,
}

fn watch() -> Watch {
    let seat = Seat::default();
    assert!(seat.occupy(1));
    Watch { scene: Scene::new(1, 0, 0), alarm: Alarm::default(), seat, woken: 0.into(), taken: true.into() }
}

/// Joins, and relies on the alarm.
fn waiting_for_the_alarm(watch: &Watch) {
    let ticket = join(&watch.scene.core, &Context::from_waker(Waker::noop()), 5).expect("nobody gives");
    watch.alarm.advance(5);
    watch.taken.store(watch.seat.is_taken(), Relaxed);
    watch.scene.leave_ticket(ticket);
}

/// The time of a waiter ends while a connection comes back: one of the two reaches it, and the connection stays.
#[test]
fn a_waiter_whose_time_is_over_loses_no_connection() {
    let waiting = |scene: &Scene| match wait(&scene.core, 5) {
        Grant::Slot(claim) => release(&scene.core, claim),
        Grant::Expired => {}
        grant => panic!("{grant:?}"),
    };
    race(1, || Scene::new(1, 0, 1), [releasing, ending, waiting], |scene| assert_at_rest(&scene.core, 1));
}

/// A pool of connections that are all held, somebody whose time is over, and another waiter behind.
fn one_that_is_late(connections: usize) -> Scene {
    let scene = Scene::new(connections, 0, connections);
    let late = join(&scene.core, &Context::from_waker(Waker::noop()), 5).expect("nothing is idle");
    scene.leave_ticket(late);
    scene.with_waiters(1)
}

/// As above, with another waiter behind, whose count the one who ends waits may have borrowed for a moment.
#[test]
fn the_end_of_one_wait_is_not_the_end_of_another() {
    race(
        3,
        || one_that_is_late(1),
        [releasing, ending],
        |scene| {
            let hear = || {
                scene.core.look(&mut Some(scene.waiter()), Waker::noop()).expect("its time is over, or it was first")
            };
            if let Grant::Slot(claim) = hear() {
                release(&scene.core, claim);
            }
            let Grant::Slot(claim) = hear() else { panic!("the other one has time") };
            release(&scene.core, claim);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// As above, and while that count is borrowed somebody new comes: it does not pass the one behind.
#[test]
fn nobody_overtakes_while_a_wait_is_ended() {
    struct Late {
        scene: Scene,
        newcomer: Mutex<Option<Claim<u64>>>,
    }
    let setup = || Late { scene: one_that_is_late(2), newcomer: Mutex::default() };
    let coming = |late: &Late| {
        (0..2).for_each(|_| releasing(&late.scene));
        *late.newcomer.lock().unwrap() = at_once(&late.scene.core);
    };
    race(3, setup, [coming, |late| ending(&late.scene)], |late| {
        let core = &late.scene.core;
        let [first, behind] = [0; 2].map(|_| core.look(&mut Some(late.scene.waiter()), Waker::noop()));
        let newcomer = late.newcomer.into_inner().unwrap();
        assert!(newcomer.is_none() || behind.is_some(), "the one behind {first:?} was overtaken");
    });
}

/// As above, and the pool is closed meanwhile: all are told.
#[test]
fn a_close_does_not_miss_those_behind_a_wait_that_is_ended() {
    race(
        3,
        || one_that_is_late(1),
        [ending, |scene| close(&scene.core)],
        |scene| {
            for _ in 0..2 {
                assert!(scene.core.look(&mut Some(scene.waiter()), Waker::noop()).is_some(), "one was not told");
            }
            releasing(&scene);
            assert_at_rest(&scene.core, 0);
        },
    );
}

/// A wait is ended, and the waiter gives up at the same moment. It may stay in the count, until the next connection comes back and is refused by it.
#[test]
fn the_end_of_a_wait_and_a_waiter_that_gives_up_lose_nothing() {
    let setup = || {
        let scene = Scene::new(1, 0, 1);
        let late = join(&scene.core, &Context::from_waker(Waker::noop()), 5).expect("nothing is idle");
        scene.leave_ticket(late);
        scene
    };
    let giving_up = |scene: &Scene| pass_on(&scene.core, leave(&scene.core, scene.waiter()));
    race(3, setup, [ending, giving_up], |scene| {
        releasing(&scene);
        assert_at_rest(&scene.core, 1);
    });
}

/// A janitor that leaves ends all waits while the next one ends the first of them. What it cannot end, because the count was borrowed, is the next one's.
#[test]
fn two_that_keep_time_end_what_each_has_to() {
    let ending_all = |scene: &Scene| {
        let _ = scene.core.expire(NEVER, Waker::wake, |claim| serve(&scene.core, claim));
    };
    race(
        2,
        || one_that_is_late(2),
        [ending, ending_all],
        |scene| {
            let _ = scene.core.expire(NEVER, Waker::wake, |claim| serve(&scene.core, claim));
            for _ in 0..2 {
                let heard = scene.core.look(&mut Some(scene.waiter()), Waker::noop());
                assert!(matches!(heard, Some(Grant::Expired)), "{heard:?}");
            }
            (0..2).for_each(|_| releasing(&scene));
            assert_at_rest(&scene.core, 2);
            assert!(at_once(&scene.core).is_some(), "and newcomers pass again");
        },
    );
}

/// What the janitor does when it rings.
fn keeping_time(watch: &Watch, now: u64) {
    watch.alarm.silence();
    watch.alarm.advance(watch.scene.core.expire(now, Waker::wake, |_| unreachable!("nothing is idle")));
}

/// Somebody who keeps the time looks, while a waiter joins: it is found in its cell, or makes the alarm ring earlier.
#[test]
fn a_deadline_is_found_or_rung_for() {
    race(3, watch, [|watch| keeping_time(watch, 1), waiting_for_the_alarm], |watch| {
        assert_eq!(watch.alarm.rings_at(), 5);
        assert!(leave(&watch.scene.core, watch.scene.waiter()).is_none());
    });
}

/// As above, for a waiter whose ticket was seen and who was not: what is remembered about its neighbours does not stand for it.
#[test]
fn a_waiter_that_comes_during_a_look_ends_in_time() {
    let setup = || Watch { scene: Scene::new(1, 0, 0).with_waiters(1), ..watch() };
    race(3, setup, [|watch| keeping_time(watch, 1), waiting_for_the_alarm], |watch| {
        assert_eq!(watch.alarm.rings_at(), 5);
        keeping_time(&watch, 5);
        let (patient, mut late) = (watch.scene.waiter(), Some(watch.scene.waiter()));
        assert!(matches!(watch.scene.core.look(&mut late, Waker::noop()), Some(Grant::Expired)));
        assert!(leave(&watch.scene.core, patient).is_none());
    });
}

/// With a waiter that has joined.
fn watch_with_a_waiter() -> Watch {
    let watch = watch();
    waiting_for_the_alarm(&watch);
    watch
}

/// A waiter looks, and relies on the janitor that it relied on before, unless that is gone.
fn looking(watch: &Watch) {
    let mut ticket = Some(watch.scene.waiter());
    if watch.scene.core.look(&mut ticket, Waker::noop()).is_none() {
        watch.taken.store(watch.seat.is_taken(), Relaxed);
    }
    if let Some(ticket) = ticket {
        watch.scene.leave_ticket(ticket);
    }
}

/// Somebody who keeps the time looks, while a waiter looks after its waker: its deadline is not forgotten.
#[test]
fn a_waiter_that_looks_keeps_its_deadline() {
    race(3, watch_with_a_waiter, [looking, |watch| keeping_time(watch, 1)], |watch| {
        assert_eq!(watch.alarm.rings_at(), 5);
    });
}

/// As above, when the time is over: it ends now, or the janitor comes again.
#[test]
fn a_waiter_that_looks_ends_in_time() {
    race(3, watch_with_a_waiter, [looking, |watch| keeping_time(watch, 5)], |watch| {
        let waits = !watch.scene.nobody_waits()
            && watch.scene.core.look(&mut Some(watch.scene.waiter()), Waker::noop()).is_none();
        assert!(!waits || watch.alarm.rings_at() != NEVER, "its time is over, and nobody will come again");
    });
}

/// The janitor ends, and with it the waits.
fn going(watch: &Watch) {
    watch.seat.leave_first();
    let wake = |waker: Waker| {
        watch.woken.fetch_add(1, Relaxed);
        waker.wake();
    };
    let _ = watch.scene.core.expire(NEVER, wake, |_| unreachable!("nothing is idle"));
}

/// As above, while a waiter that joined before looks after its waker.
#[test]
fn a_janitor_that_ends_and_a_waiter_that_looks_cannot_miss_each_other() {
    race(3, watch_with_a_waiter, [looking, going], |mut watch| {
        let relies = watch.scene.nobody_waits() || *watch.taken.get_mut();
        assert!(*watch.woken.get_mut() == 1 || !relies, "the waiter relies on a janitor that is gone");
    });
}

/// The one who keeps the time ends while a waiter joins: the waiter is woken by it, or finds the seat free.
#[test]
fn a_janitor_that_ends_and_a_new_waiter_cannot_miss_each_other() {
    race(3, watch, [going, waiting_for_the_alarm], |mut watch| {
        let woken = *watch.woken.get_mut() == 1;
        assert!(woken || !*watch.taken.get_mut(), "the waiter relies on a janitor that is gone");
        assert!(leave(&watch.scene.core, watch.scene.waiter()).is_none());
    });
}

/// A janitor ends and another one begins: the second sees what the first wrote down.
#[test]
fn the_next_janitor_sees_what_the_last_one_wrote() {
    let setup = || {
        let seat = Seat::default();
        assert!(seat.occupy(1));
        (seat, Figure::default())
    };
    let ending = |(seat, epoch): &(Seat, Figure)| {
        epoch.set(7);
        seat.leave();
    };
    let beginning = |(seat, epoch): &(Seat, Figure)| {
        assert!(!seat.occupy(1) || epoch.get() == 7, "the epoch went back");
    };
    race(3, setup, [ending, beginning], drop);
}

/// A deadline that is known exactly, and not to within a millisecond.
const FAR: u64 = 1 << 30;

/// Segments are unlinked and begin again while somebody who keeps the time walks along them: it does not miss those who wait all the while.
#[test]
fn whoever_keeps_the_time_sees_those_who_wait_all_the_while() {
    let coming_and_going = |scene: &Scene| {
        for _ in 0..2 {
            assert!(leave(&scene.core, scene.waiter()).is_none());
        }
        let ticket = join(&scene.core, &Context::from_waker(Waker::noop()), NEVER).expect("nobody gives");
        scene.leave_ticket(ticket);
    };
    let looking = |scene: &Scene| {
        let earliest = scene.core.expire(0, Waker::wake, |_| unreachable!("nothing is idle"));
        assert_eq!(earliest, FAR);
    };
    race(
        2,
        || Scene::new(1, 0, 0).with_waiters_until(4, FAR),
        [coming_and_going, looking],
        |scene| {
            (0..3).for_each(|_| assert!(leave(&scene.core, scene.waiter()).is_none()));
        },
    );
}
