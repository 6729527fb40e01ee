//! Time: a wait ends at its deadline, by whoever keeps the time, and takes nothing with it (I3, I4, I6).

use std::task::{Context, Waker};

use pool_core::internals::{Alarm, Figure, Grant, Seat};

use crate::common::{NEVER, Scene, assert_at_rest, join, leave, race, release, releasing, wait};

/// The one who keeps the time ends what is due.
fn ending(scene: &Scene) {
    let _ = scene.core.expire(5, Waker::wake, |claim| release(&scene.core, claim));
}

/// A pool, and somebody who keeps the time.
struct Watch {
    scene: Scene,
    alarm: Alarm,
    seat: Seat,
    woken: std::sync::atomic::AtomicUsize,
    taken: std::sync::atomic::AtomicBool,
}

fn watch() -> Watch {
    let seat = Seat::default();
    assert!(seat.occupy());
    Watch { scene: Scene::new(1, 0, 0), alarm: Alarm::default(), seat, woken: 0.into(), taken: true.into() }
}

/// Joins, and relies on the alarm.
fn waiting_for_the_alarm(watch: &Watch) {
    let ticket = join(&watch.scene.core, &Context::from_waker(Waker::noop()), 5).expect("nobody gives");
    watch.alarm.advance(5);
    watch.taken.store(watch.seat.is_taken(), std::sync::atomic::Ordering::Relaxed);
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

/// As above, with another waiter behind, whose count the one who ends waits may have borrowed for a moment.
#[test]
fn the_end_of_one_wait_is_not_the_end_of_another() {
    let setup = || {
        let scene = Scene::new(1, 0, 1);
        let late = join(&scene.core, &Context::from_waker(Waker::noop()), 5).expect("nothing is idle");
        scene.leave_ticket(late);
        scene.with_waiters(1)
    };
    race(3, setup, [releasing, ending], |scene| {
        let hear =
            || scene.core.look(&mut Some(scene.waiter()), Waker::noop()).expect("its time is over, or it was first");
        if let Grant::Slot(claim) = hear() {
            release(&scene.core, claim);
        }
        let Grant::Slot(claim) = hear() else { panic!("the other one has time") };
        release(&scene.core, claim);
        assert_at_rest(&scene.core, 1);
    });
}

/// Somebody who keeps the time looks, while a waiter joins: it is found in its cell, or makes the alarm ring earlier.
#[test]
fn a_deadline_is_found_or_rung_for() {
    let keeping_time = |watch: &Watch| {
        watch.alarm.silence();
        if let Some(earliest) = watch.scene.core.expire(1, Waker::wake, |_| unreachable!("nothing is idle")) {
            watch.alarm.advance(earliest);
        }
    };
    race(3, watch, [keeping_time, waiting_for_the_alarm], |watch| {
        assert_eq!(watch.alarm.rings_at(), 5);
        assert!(leave(&watch.scene.core, watch.scene.waiter()).is_none());
    });
}

/// The one who keeps the time ends while a waiter joins: the waiter is woken by it, or finds the seat free.
#[test]
fn a_janitor_that_ends_and_a_new_waiter_cannot_miss_each_other() {
    let going = |watch: &Watch| {
        watch.seat.leave_first();
        let wake = |waker: Waker| {
            watch.woken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            waker.wake();
        };
        let _ = watch.scene.core.expire(NEVER, wake, |_| unreachable!("nothing is idle"));
    };
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
        assert!(seat.occupy());
        (seat, Figure::default())
    };
    let ending = |(seat, epoch): &(Seat, Figure)| {
        epoch.set(7);
        seat.leave();
    };
    let beginning = |(seat, epoch): &(Seat, Figure)| {
        assert!(!seat.occupy() || epoch.get() == 7, "the epoch went back");
    };
    race(3, setup, [ending, beginning], drop);
}

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
        assert_eq!(earliest, Some(NEVER));
    };
    race(
        2,
        || Scene::new(1, 0, 0).with_waiters(4),
        [coming_and_going, looking],
        |scene| {
            (0..3).for_each(|_| assert!(leave(&scene.core, scene.waiter()).is_none()));
        },
    );
}
