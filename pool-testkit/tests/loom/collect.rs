//! What was handed over and is not collected is taken back: it has one owner, however the two meet, and nobody is forgotten (I2, I3, I4).

use std::panic::Location;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};

use pool_core::internals::{Entered, Fifo, Grant, Heard, Resumed, Ticket};

use crate::common::{
    NEVER, Scene, assert_at_rest, at_once, close, join, leave, offer, pass_on, race, release, releasing, touch, wait,
};

/// Takes back what is not collected, and offers it to the next one. How much.
fn take_back(scene: &Scene) -> usize {
    let mut taken = 0;
    let core = &scene.core;
    core.take_uncollected(
        |_| true,
        |_, grant, _| {
            let Grant::Slot(mut claim) = grant else { panic!("nobody shares here") };
            taken += 1;
            touch(core, &mut claim);
            offer(core, claim);
        },
    );
    taken
}

fn taking_back(scene: &Scene) {
    take_back(scene);
}

/// Uses a connection, however often what it waits for is taken back before it looks.
fn using(scene: &Scene) {
    let core = &scene.core;
    let mut claim = at_once(core).unwrap_or_else(|| {
        loop {
            match wait(core, NEVER) {
                Grant::Slot(claim) => return claim,
                Grant::Expired => {}
                grant => panic!("nobody closes the pool: {grant:?}"),
            }
        }
    });
    touch(core, &mut claim);
    release(core, claim);
}

/// The waiter that was served first looks; if nothing is left for it, it waits again. It uses what it gets.
fn collecting(scene: &Scene) {
    match scene.core.look(&mut Some(scene.waiter()), Waker::noop()) {
        Some(Grant::Slot(mut claim)) => {
            touch(&scene.core, &mut claim);
            release(&scene.core, claim);
        }
        Some(Grant::Expired) => using(scene),
        other => panic!("it was served, and that was perhaps taken back: {other:?}"),
    }
}

/// The waiter that was served first is dropped.
fn leaving(scene: &Scene) {
    pass_on(&scene.core, leave(&scene.core, scene.waiter()));
}

/// So many waiters, of which the first has been handed the only connection.
fn served(waiters: usize) -> Scene {
    let scene = Scene::new(1, 0, 1).with_waiters(waiters);
    releasing(&scene);
    scene
}

#[test]
fn one_of_two_has_what_is_collected_and_taken_back() {
    race(3, || served(1), [collecting, taking_back], |scene| assert_at_rest(&scene.core, 1));
}

#[test]
fn a_waiter_that_is_dropped_and_whoever_takes_back_lose_nothing() {
    race(3, || served(1), [leaving, taking_back], |scene| assert_at_rest(&scene.core, 1));
}

/// It is used by somebody, handed over, taken back and used: each sees what the one before has done.
#[test]
fn what_is_taken_back_is_as_the_last_user_left_it() {
    let giving_back = |scene: &Scene| {
        let mut claim = scene.held();
        touch(&scene.core, &mut claim);
        release(&scene.core, claim);
    };
    race(
        3,
        || Scene::new(1, 0, 1).with_waiters(1),
        [giving_back, taking_back],
        |scene| {
            taking_back(&scene);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// Whoever takes back knows who has not come, as soon as there is something to take.
#[test]
fn whoever_takes_back_knows_from_whom() {
    let joining_and_giving = |scene: &Scene| {
        let ticket = join(&scene.core, &Context::from_waker(Waker::noop()), NEVER).expect("nothing is idle");
        scene.leave_ticket(ticket);
        releasing(scene);
    };
    race(
        3,
        || Scene::new(1, 0, 1),
        [joining_and_giving, taking_back],
        |scene| {
            taking_back(&scene);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// Two who take back at the same moment: one does.
#[test]
fn two_that_take_back_take_it_once() {
    struct Twice(Scene, AtomicUsize);
    let both = |twice: &Twice| {
        twice.1.fetch_add(take_back(&twice.0), Relaxed);
    };
    race(
        3,
        || Twice(served(1), 0.into()),
        [both, both],
        |Twice(scene, taken)| {
            assert_eq!(taken.into_inner(), 1);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// The next waiter comes, waits, and is served with what is taken back.
#[test]
fn what_is_taken_back_goes_to_the_next_waiter() {
    let taking_back_for_it = |scene: &Scene| assert_eq!(take_back(scene), 1, "nobody else has it");
    race(
        3,
        || served(1),
        [using, taking_back_for_it],
        |scene| {
            assert!(matches!(scene.core.look(&mut Some(scene.waiter()), Waker::noop()), Some(Grant::Expired)));
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// As above, while the first one comes for it after all, and may have to wait again.
#[test]
fn the_next_waiter_and_the_one_that_is_late_are_served() {
    race(1, || served(1), [using, collecting, taking_back], |scene| assert_at_rest(&scene.core, 1));
}

/// The pool is closed meanwhile: what is taken back is closed, and the one that is late is told when it looks.
#[test]
fn what_is_taken_back_from_a_pool_that_is_closed_is_closed() {
    let closing = |scene: &Scene| close(&scene.core);
    race(
        3,
        || served(2),
        [closing, taking_back],
        |scene| {
            taking_back(&scene);
            leaving(&scene);
            pass_on(&scene.core, leave(&scene.core, scene.waiter()));
            assert_at_rest(&scene.core, 0);
        },
    );
}

/// As above, and the one that is late looks meanwhile.
#[test]
fn a_late_waiter_of_a_pool_that_is_closed_is_told() {
    let closing = |scene: &Scene| close(&scene.core);
    let looking = |scene: &Scene| match scene.core.look(&mut Some(scene.waiter()), Waker::noop()) {
        Some(Grant::Slot(claim)) => release(&scene.core, claim),
        Some(Grant::Expired) => match join(&scene.core, &Context::from_waker(Waker::noop()), NEVER) {
            Ok(ticket) => pass_on(&scene.core, leave(&scene.core, ticket)),
            Err(grant) => pass_on(&scene.core, Some(grant)),
        },
        other => panic!("{other:?}"),
    };
    race(1, || served(1), [closing, taking_back, looking], |scene| assert_at_rest(&scene.core, 0));
}

/// A queue whose first segment goes round.
struct Line {
    queue: Fifo,
    tickets: Mutex<Vec<Ticket>>,
}

impl Line {
    fn enter(&self, at: &'static Location<'static>) {
        match self.queue.enter(Waker::noop().clone(), 0, at, false) {
            Entered::Waiting(ticket) => self.tickets.lock().unwrap().push(ticket),
            Entered::Granted(note) => panic!("{note} was given to nobody"),
        }
    }

    fn first_hears(&self) -> Heard {
        self.queue.look(&mut Some(self.tickets.lock().unwrap().remove(0)), Waker::noop())
    }
}

/// A segment is used again while somebody takes back what lay there: the place that is named is that of the one who did not come.
#[test]
fn a_cell_that_is_used_again_does_not_name_another() {
    let setup = || {
        let line = Line { queue: Fifo::default(), tickets: Mutex::default() };
        (0..3).for_each(|_| line.enter(first_place()));
        (0..2).for_each(|note| assert!(matches!(line.queue.resume(note), Resumed::Delivered(_))));
        assert_eq!(line.first_hears(), Heard::Granted(0));
        line
    };
    let turning = |line: &Line| {
        // The first segment is done with. One more waiter fills the second, and the next one begins the first again.
        assert_ne!(line.first_hears(), Heard::Nothing);
        (0..3).for_each(|_| line.enter(second_place()));
    };
    let taking = |line: &Line| {
        line.queue.take_back(|_, _| true, |_, note, at| assert_eq!((note, at), (1, first_place())));
    };
    race(3, setup, [turning, taking], drop);
}

fn first_place() -> &'static Location<'static> {
    Location::caller()
}

fn second_place() -> &'static Location<'static> {
    Location::caller()
}
