//! Slots that several use at a time: the last one has it alone, nobody waits beside room, and nobody overtakes (I4, I5, I26).

use std::future::poll_fn;
use std::panic::Location;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use loom::sync::atomic::{AtomicBool, Ordering};
use pool_core::internals::{Entered, Fifo, Found, Grant, Heard, Parted, Resumed, SharedClaim, Ticket};

use crate::common::{assert_at_rest, at_once, race, retire, touch};
use crate::shared::{Mine, Scene};

/// A queue, and what is put into it.
struct Line {
    queue: Fifo,
    tickets: Mutex<Vec<Ticket>>,
}

impl Line {
    fn enter(&self, shares: bool) {
        match self.queue.enter(Waker::noop().clone(), 0, Location::caller(), shares) {
            Entered::Waiting(ticket) => self.tickets.lock().unwrap().push(ticket),
            Entered::Granted(note) => panic!("nobody was there to give {note}"),
        }
    }

    /// The next life of the first segment begins with the next ticket; in the last one all have shared.
    fn in_its_next_life() -> Self {
        let line = Self { queue: Fifo::default(), tickets: Mutex::default() };
        for note in 0..4 {
            line.enter(true);
            assert!(matches!(line.queue.resume(note), Resumed::Delivered(_)));
            let mut ticket = line.tickets.lock().unwrap().pop();
            assert_eq!(line.queue.look(&mut ticket, Waker::noop()), Heard::Granted(note));
        }
        line
    }
}

/// What is known about a waiter is known about this one, and not about one who was in its cell before.
#[test]
fn one_who_wants_all_is_not_taken_for_one_who_shares() {
    let admitting = |line: &Line| {
        assert!(!line.queue.is_sharer_next(), "it is taken for another one");
        assert!(line.queue.resume_sharer(9).is_none(), "a place is given to one who wants all");
    };
    race(3, Line::in_its_next_life, [|line: &Line| line.enter(false), admitting], |line| {
        assert!(matches!(line.queue.resume(1), Resumed::Delivered(_)));
        let mut ticket = line.tickets.lock().unwrap().pop();
        assert_eq!(line.queue.look(&mut ticket, Waker::noop()), Heard::Granted(1));
    });
}

/// Uses a place, so that loom sees who reads the cell.
fn look_at(scene: &Scene, place: &SharedClaim<u64>) {
    assert!(*scene.core.table.get(place.claim()) < 100);
}

/// A racer that shares from beginning to end.
fn sharing(scene: &Scene) {
    if let Mine::Place(place) = scene.share() {
        look_at(scene, &place);
        scene.leave(place);
    }
}

/// A racer that wants a connection for itself, from beginning to end.
fn using(scene: &Scene) {
    let mut claim = at_once(&scene.core).unwrap_or_else(|| match scene.wait(false) {
        Grant::Slot(claim) => claim,
        grant => panic!("nobody else is to be served here: {grant:?}"),
    });
    touch(&scene.core, &mut claim);
    scene.release(claim);
}

/// A racer that leaves its place.
fn leaving(scene: &Scene) {
    let place = scene.place();
    look_at(scene, &place);
    scene.leave(place);
}

/// A racer that gives back what it has alone.
fn releasing(scene: &Scene) {
    let claim = scene.held();
    scene.release(claim);
}

/// The waiter that came first leaves again, with what came meanwhile.
fn giving_up(scene: &Scene) {
    let ticket = scene.waiter();
    scene.pass_on(scene.give_up(ticket));
}

/// The waiter that came first has a place by now, and leaves it.
fn assert_admitted(scene: &Scene) {
    match scene.granted() {
        Some(Grant::Shared(place)) => scene.leave(place),
        Some(Grant::Slot(claim)) => scene.release(claim),
        other => panic!("it was forgotten beside room: {other:?}"),
    }
}

/// Whoever joins sees what the first user has done, and the last one has it alone.
#[test]
fn two_share_one_connection() {
    race(3, || Scene::new(2, 1).with_idle(1), [sharing, sharing], |scene| assert_at_rest(&scene.core, 1));
}

/// Whoever joins sees what was done to the connection before others were let in.
#[test]
fn whoever_joins_sees_what_the_owner_has_done() {
    let letting_in = |scene: &Scene| {
        let mut claim = scene.held();
        touch(&scene.core, &mut claim);
        let place = scene.let_in(claim);
        scene.leave(place);
    };
    let joining = |scene: &Scene| match scene.core.find_room(0) {
        Some(Found::Place(place, _)) => {
            look_at(scene, &place);
            scene.leave(place);
        }
        Some(Found::Idle(claim)) => scene.release(claim),
        None => {}
    };
    race(3, || Scene::new(2, 1).with_held(1), [letting_in, joining], |scene| assert_at_rest(&scene.core, 1));
}

#[test]
fn the_last_of_several_users_has_it_alone() {
    race(3, || Scene::new(2, 1).with_users(2), [leaving, leaving], |scene| assert_at_rest(&scene.core, 1));
}

/// No more than may, and the third is not forgotten.
#[test]
fn a_place_that_is_left_and_a_waiter_find_each_other() {
    race(
        3,
        || Scene::new(2, 1).with_users(2),
        [leaving, sharing],
        |scene| {
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

#[test]
fn one_who_shares_and_one_who_does_not_take_turns() {
    race(2, || Scene::new(2, 1).with_idle(1), [sharing, using], |scene| assert_at_rest(&scene.core, 1));
}

/// Users leave and none come until the connection is nobody's.
#[test]
fn a_connection_is_drained_for_one_who_wants_it_alone() {
    race(2, || Scene::new(2, 1).with_users(1), [leaving, using], |scene| assert_at_rest(&scene.core, 1));
}

/// A connection goes to the oldest waiter while a place becomes free, which is for the one behind it: one of the two who have changed something sees both.
#[test]
fn the_one_behind_is_admitted_when_its_turn_comes() {
    race(
        3,
        || Scene::new(2, 2).with_held(1).with_users(2).with_waiters(&[false, true]),
        [leaving, releasing],
        |scene| {
            let Some(Grant::Slot(claim)) = scene.granted() else { panic!("the first one has nothing") };
            assert_admitted(&scene);
            scene.release(claim);
            leaving(&scene);
            assert_at_rest(&scene.core, 2);
        },
    );
}

/// The same, if the oldest waiter gives up.
#[test]
fn the_one_behind_is_admitted_when_the_one_before_gives_up() {
    race(
        3,
        || Scene::new(2, 1).with_users(2).with_waiters(&[false, true]),
        [leaving, giving_up],
        |scene| {
            assert_admitted(&scene);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// One who is being admitted gives up: its place, or its turn, is the next one's.
#[test]
fn one_who_gives_up_does_not_take_the_place_of_the_next() {
    race(
        3,
        || Scene::new(2, 1).with_users(2).with_waiters(&[true, true]),
        [leaving, giving_up],
        |scene| {
            assert_admitted(&scene);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// The same, if the next one cannot do with a place: it is not lost to those who can.
#[test]
fn a_place_for_one_who_gives_up_is_not_for_one_who_wants_all() {
    race(
        3,
        || Scene::new(2, 1).with_users(2).with_waiters(&[true, false]),
        [leaving, giving_up],
        |scene| {
            assert!(scene.core.gate().glance().waiting() == 1, "the other one still waits");
            leaving(&scene);
            let Some(Grant::Slot(claim)) = scene.granted() else { panic!("it was forgotten") };
            scene.release(claim);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// Two places become free at the same moment, and two wait for them.
#[test]
fn two_places_are_for_two() {
    race(
        2,
        || Scene::new(3, 1).with_users(3).with_waiters(&[true, true]),
        [leaving, leaving],
        |scene| {
            assert_admitted(&scene);
            assert_admitted(&scene);
            leaving(&scene);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// Whoever gets a whole connection and shares it lets those in who wait behind.
#[test]
fn a_connection_that_comes_back_is_for_all_who_share() {
    race(
        2,
        || Scene::new(2, 1).with_held(1).with_waiters(&[true]),
        [releasing, sharing_behind],
        |scene| {
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// One who came first takes what came for it, and the one of this racer comes behind.
fn sharing_behind(scene: &Scene) {
    let mut ticket = Some(scene.waiter());
    let grant = loom::future::block_on(poll_fn(|context| {
        scene.core.look(&mut ticket, context.waker()).map_or(Poll::Pending, Poll::Ready)
    }));
    let Grant::Slot(claim) = grant else { panic!("it is to have all of it: {grant:?}") };
    let place = scene.let_in(claim);
    sharing(scene);
    scene.leave(place);
}

/// Whoever closes the pool finds every connection, those that several use when the last of them has left.
#[test]
fn a_close_finds_what_is_shared() {
    let closing = |scene: &Scene| {
        scene.core.gate().close();
        scene.core.send_away(Waker::wake);
        (0..scene.core.table.size())
            .filter_map(|index| scene.core.table.claim_at(index))
            .for_each(|claim| retire(&scene.core, claim));
    };
    race(3, || Scene::new(2, 1).with_users(1), [closing, leaving], |scene| assert_at_rest(&scene.core, 0));
    race(2, || Scene::new(2, 1).with_idle(1), [closing, sharing], |scene| assert_at_rest(&scene.core, 0));
}

/// The last one to leave adds those who have joined to what is known about the slot.
fn leave_and_count(scene: &Scene) {
    if let Parted::Whole(claim, party) = scene.core.part(scene.place()) {
        // It has not been leased before. If this read that, loom would not try what is between another one's look at it and this.
        scene.core.table.facts(&claim).uses.set(party.joined() - 1);
        scene.release(claim);
    }
}

/// Whoever counts while the last one leaves counts nobody twice.
#[test]
fn nobody_who_shares_is_counted_twice() {
    let leaving = |scene: &Scene| (0..2).for_each(|_| leave_and_count(scene));
    let counting = |scene: &Scene| assert!(scene.core.leases() <= 1, "one has joined the first");
    race(
        3,
        || Scene::new(2, 1).with_users(2),
        [leaving, counting],
        |scene| {
            assert_eq!(scene.core.leases(), 1);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// What is read before a party is counted is read before the last one has left, and changes it, if the party is counted: here it is known that it is.
#[test]
fn whoever_counts_a_party_has_done_so_before_its_end() {
    struct Counted {
        scene: Scene,
        has_read: AtomicBool,
        is_done: AtomicBool,
    }
    let setup = || Counted {
        scene: Scene::new(2, 1).with_users(2),
        has_read: AtomicBool::new(false),
        is_done: AtomicBool::new(false),
    };
    let counting = |counted: &Counted| {
        counted.has_read.store(true, Ordering::Relaxed);
        assert_eq!(counted.scene.core.leases(), 1);
        counted.is_done.store(true, Ordering::Relaxed);
    };
    let leaving = |counted: &Counted| {
        // It says when to leave, and nothing is seen through it.
        while !counted.is_done.load(Ordering::Relaxed) {
            loom::thread::yield_now();
        }
        (0..2).for_each(|_| leave_and_count(&counted.scene));
        assert!(
            counted.has_read.load(Ordering::Relaxed),
            "it may read what is changed now, and count the party as well"
        );
    };
    race(3, setup, [leaving, counting], |counted| assert_at_rest(&counted.scene.core, 1));
}
