//! The queue against an obviously correct one, its memory, and wakers that misbehave. Threads are the models' business.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

use proptest::prelude::*;

use super::*;

/// A queue with the count that the gate keeps for it.
#[derive(Default)]
struct Counted {
    queue: Fifo,
    unpromised: usize,
}

impl Counted {
    fn enter(&mut self, deadline: u64) -> Ticket {
        self.unpromised += 1;
        match self.queue.enter(Waker::noop().clone(), deadline, Location::caller(), false) {
            Entered::Waiting(ticket) => ticket,
            Entered::Granted(note) => panic!("nobody gave {note}"),
        }
    }

    fn resume(&mut self, note: Note) -> bool {
        let Some(rest) = self.unpromised.checked_sub(1) else { return false };
        self.unpromised = rest;
        matches!(self.queue.resume(note), Resumed::Delivered(_))
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Note> {
        let unpromised = &mut self.unpromised;
        let withdraw = || unpromised.checked_sub(1).map(|rest| *unpromised = rest).is_some();
        match self.queue.cancel(ticket, withdraw) {
            Cancelled::Left => None,
            Cancelled::Granted(note) => Some(note),
            Cancelled::Overtaken(note) => panic!("{note} came while nobody gave"),
        }
    }
}

struct Clock<'a>(&'a mut usize, usize);

impl Overdue for Clock<'_> {
    fn withdraw(&mut self) -> bool {
        self.0.checked_sub(1).map(|rest| *self.0 = rest).is_some()
    }

    fn restore(&mut self) {
        *self.0 += 1;
    }

    fn end(&mut self, _: Waker) {
        self.1 += 1;
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// A waiter with this deadline.
    Enter(u64),
    Resume,
    /// The waiter at this place looks.
    Look(usize),
    /// The waiter at this place leaves.
    Leave(usize),
    /// All deadlines up to this one are over.
    Expire(u64),
    /// What lies there uncollected is taken back, but for notes that this divides.
    TakeBack(Note),
}

/// Deadlines that are known exactly, and not to within a millisecond.
const DEADLINE_STEP: u64 = 1 << 20;

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        4 => (1..10_u64).prop_map(|deadline| Operation::Enter(deadline * DEADLINE_STEP)),
        3 => Just(Operation::Resume),
        2 => any::<usize>().prop_map(Operation::Look),
        2 => any::<usize>().prop_map(Operation::Leave),
        1 => (1..10_u64).prop_map(|now| Operation::Expire(now * DEADLINE_STEP)),
        1 => (1..10_u32).prop_map(Operation::TakeBack),
    ];
    prop::collection::vec(one, 0..400)
}

/// A waiter as the simple queue sees it.
struct Waiter {
    ticket: Option<Ticket>,
    deadline: u64,
    heard: Heard,
}

/// What the queue has to do, in a few lines.
#[derive(Default)]
struct Oracle {
    waiters: VecDeque<Waiter>,
    /// Of those who ever came.
    deadlines: Vec<u64>,
    next_note: Note,
}

impl Oracle {
    fn oldest(&mut self) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.heard == Heard::Nothing)
    }

    fn step(&mut self, queue: &mut Counted, operation: &Operation) -> Result<(), TestCaseError> {
        self.perform(queue, operation)?;
        let waiting = self.waiters.iter().filter(|waiter| waiter.heard == Heard::Nothing).count();
        prop_assert_eq!(queue.unpromised, waiting);
        Ok(())
    }

    fn perform(&mut self, queue: &mut Counted, operation: &Operation) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Enter(deadline) => {
                let ticket = Some(queue.enter(deadline));
                self.deadlines.push(deadline);
                self.waiters.push_back(Waiter { ticket, deadline, heard: Heard::Nothing });
            }
            Operation::Resume => {
                self.next_note += 1;
                let note = self.next_note;
                let oldest = self.oldest().map(|waiter| waiter.heard = Heard::Granted(note));
                prop_assert_eq!(queue.resume(note), oldest.is_some());
            }
            Operation::Look(place) => return self.look(queue, place),
            Operation::Leave(place) => return self.leave(queue, place),
            Operation::Expire(now) => return self.expire(queue, now),
            Operation::TakeBack(stays) => return self.take_back(&queue.queue, stays),
        }
        Ok(())
    }

    fn look(&mut self, queue: &Counted, place: usize) -> Result<(), TestCaseError> {
        let place = place % self.waiters.len().max(1);
        let Some(waiter) = self.waiters.get_mut(place) else { return Ok(()) };
        prop_assert_eq!(queue.queue.look(&mut waiter.ticket, Waker::noop()), waiter.heard);
        prop_assert_eq!(waiter.ticket.is_none(), waiter.heard != Heard::Nothing);
        if waiter.ticket.is_none() {
            self.waiters.remove(place);
        }
        Ok(())
    }

    fn leave(&mut self, queue: &mut Counted, place: usize) -> Result<(), TestCaseError> {
        let place = place % self.waiters.len().max(1);
        let Some(Waiter { ticket: Some(ticket), heard, .. }) = self.waiters.remove(place) else { return Ok(()) };
        let granted = if let Heard::Granted(note) = heard { Some(note) } else { None };
        prop_assert_eq!(queue.leave(ticket), granted);
        Ok(())
    }

    fn take_back(&mut self, queue: &Fifo, stays: Note) -> Result<(), TestCaseError> {
        let mut taken = Vec::new();
        queue.take_back(|_, note| !note.is_multiple_of(stays), |_, note, _| taken.push(note));
        for waiter in &mut self.waiters {
            if let Heard::Granted(note) = waiter.heard
                && !note.is_multiple_of(stays)
            {
                waiter.heard = Heard::Expired;
                prop_assert!(taken.contains(&note));
                taken.retain(|other| *other != note);
            }
        }
        prop_assert!(taken.is_empty(), "{:?} was taken from nobody", taken);
        Ok(())
    }

    fn expire(&mut self, queue: &mut Counted, now: u64) -> Result<(), TestCaseError> {
        let mut clock = Clock(&mut queue.unpromised, 0);
        let earliest = queue.queue.expire(now, &mut clock);
        let woken = clock.1;
        let (over, left): (Vec<_>, Vec<_>) = self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.heard == Heard::Nothing)
            .partition(|waiter| waiter.deadline <= now);
        prop_assert!(left.iter().all(|waiter| earliest <= waiter.deadline));
        prop_assert!(earliest > now, "nobody is told to come again at once");
        prop_assert!(earliest == u64::MAX || self.deadlines.contains(&earliest));
        prop_assert_eq!(woken, over.len());
        for waiter in over {
            waiter.heard = Heard::Expired;
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn it_does_what_a_simple_queue_does(operations in operations()) {
        let (mut queue, mut oracle) = (Counted::default(), Oracle::default());
        for operation in &operations {
            oracle.step(&mut queue, operation)?;
        }
    }
}

#[test]
fn a_million_timeouts_behind_one_waiter_need_no_more_memory_than_a_few() {
    let mut queue = Counted::default();
    let stuck = queue.enter(u64::MAX);
    for _ in 0..500_000 {
        let (leaving, late) = (queue.enter(0), queue.enter(0));
        assert!(queue.leave(leaving).is_none());
        assert_eq!(queue.queue.expire(0, &mut Clock(&mut queue.unpromised, 0)), u64::MAX);
        assert_eq!(queue.queue.look(&mut Some(late), Waker::noop()), Heard::Expired);
    }
    assert!(queue.queue.segments_made() <= 8, "{} segments", queue.queue.segments_made());
    assert!(queue.resume(7), "it is still the first");
    assert_eq!(queue.leave(stuck), Some(7));
}

#[test]
fn waiters_in_the_middle_leave_no_memory_behind() {
    let mut queue = Counted::default();
    let mut waiters: Vec<_> = (0..100_000).map(|_| queue.enter(0)).collect();
    let made = queue.queue.segments_made();
    for _ in 0..5 {
        // All but one in 64 leave, and as many come again.
        let (stay, leave): (Vec<_>, Vec<_>) = waiters.into_iter().enumerate().partition(|(place, _)| place % 64 == 0);
        let gone = leave.len();
        for (_, ticket) in leave {
            assert!(queue.leave(ticket).is_none());
        }
        waiters = stay.into_iter().map(|(_, ticket)| ticket).chain((0..gone).map(|_| queue.enter(0))).collect();
    }
    let now = queue.queue.segments_made();
    assert!(now <= made * 3 / 2, "{made} segments have become {now}");
}

#[test]
fn each_who_stays_keeps_two_segments_at_most() {
    let mut queue = Counted::default();
    // One of each segment's cells stays taken, the worst that may happen.
    let (stay, leave): (Vec<_>, Vec<_>) =
        (0..16_000).map(|_| queue.enter(0)).enumerate().partition(|(place, _)| place % 16 == 0);
    let (stay, made) = (stay.len() as u64, queue.queue.segments_made());
    let leave_all = |queue: &mut Counted, tickets: Vec<Ticket>| {
        for ticket in tickets {
            assert!(queue.leave(ticket).is_none());
        }
    };
    leave_all(&mut queue, leave.into_iter().map(|(_, ticket)| ticket).collect());
    for _ in 0..10_000 {
        let passing = (0..16).map(|_| queue.enter(0)).collect();
        leave_all(&mut queue, passing);
    }
    let now = queue.queue.segments_made();
    let taken = stay + 2;
    assert!(made <= taken && now <= 2 * taken + 3, "{made} segments have become {now} for {stay}");
}

/// Waiters that join again as soon as they are woken.
struct Insistent<'a>(&'a Fifo, usize);

impl Overdue for Insistent<'_> {
    fn withdraw(&mut self) -> bool {
        true
    }

    fn restore(&mut self) {}

    fn end(&mut self, _: Waker) {
        self.1 += 1;
        assert!(self.1 <= 1_000, "they keep it busy for ever");
        let _ = self.0.enter(Waker::noop().clone(), 0, Location::caller(), false);
    }
}

#[test]
fn those_who_join_again_at_once_keep_nobody_busy() {
    for waiters in [1, 15, 16, 17, 100] {
        let queue = Fifo::default();
        for _ in 0..waiters {
            let _ = queue.enter(Waker::noop().clone(), 0, Location::caller(), false);
        }
        let mut insistent = Insistent(&queue, 0);
        let _ = queue.expire(u64::MAX, &mut insistent);
        assert_eq!(insistent.1, waiters);
    }
}

#[test]
fn somebody_who_waits_is_seen_while_others_come_and_go() {
    let queue = Fifo::default();
    let enter = |deadline| match queue.enter(Waker::noop().clone(), deadline, Location::caller(), false) {
        Entered::Waiting(ticket) => ticket,
        Entered::Granted(note) => panic!("nobody gave {note}"),
    };
    std::thread::scope(|scope| {
        let coming_and_going = scope.spawn(|| {
            let mut waiting: VecDeque<_> = (0..20).map(|_| enter(u64::MAX)).collect();
            for _ in 0..300_000 {
                waiting.push_back(enter(u64::MAX));
                let oldest = waiting.pop_front().map(|ticket| queue.cancel(ticket, || true));
                assert!(matches!(oldest, Some(Cancelled::Left)));
            }
        });
        let mut count = 0;
        // Each time another one, among all the others. What was noted for the last one is over.
        for now in (0..).map(|round| round * DEADLINE_STEP).take_while(|_| !coming_and_going.is_finished()) {
            let waiting = enter(now + DEADLINE_STEP);
            for _ in 0..3 {
                assert_eq!(queue.expire(now, &mut Clock(&mut count, 0)), now + DEADLINE_STEP);
            }
            assert!(matches!(queue.cancel(waiting, || true), Cancelled::Left));
        }
    });
}

#[test]
fn waiters_come_and_go_without_a_new_segment() {
    let mut queue = Counted::default();
    for round in 0..100_000 {
        let mut tickets: Vec<_> = (0..3).map(|_| Some(queue.enter(0))).collect();
        for ticket in &mut tickets {
            assert!(queue.resume(round % NOTE_LIMIT));
            assert_eq!(queue.queue.look(ticket, Waker::noop()), Heard::Granted(round % NOTE_LIMIT));
        }
    }
    assert!(queue.queue.segments_made() <= 3);
}

/// Counts its wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // ORDERING: Relaxed: there is one thread.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_waker_of_the_last_look_is_woken_and_none_is_kept() {
    let (first, second) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let queue = Fifo::default();
    let Entered::Waiting(ticket) = queue.enter(Arc::clone(&first).into(), 0, Location::caller(), false) else {
        panic!("nobody gives")
    };
    assert_eq!(queue.look(&mut Some(ticket), &Arc::clone(&second).into()), Heard::Nothing);
    assert_eq!(Arc::strong_count(&first), 1, "the first one has been dropped");
    let Resumed::Delivered(Some(waker)) = queue.resume(1) else { panic!("somebody waits") };
    waker.wake();
    // ORDERING: Relaxed: there is one thread.
    assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
    assert_eq!(Arc::strong_count(&second), 1);
}

#[test]
fn a_waiter_that_is_forgotten_does_not_keep_its_waker_for_ever() {
    let bell = Arc::new(Bell::default());
    let queue = Fifo::default();
    // A ticket is no guard: this is what forgetting a future does.
    let _ = queue.enter(Arc::clone(&bell).into(), 0, Location::caller(), false);
    drop(queue);
    assert_eq!(Arc::strong_count(&bell), 1);
}

/// A waker that panics wherever it can.
fn hostile() -> Waker {
    fn panic(_: *const ()) {
        panic!("a hostile waker");
    }
    fn clone(data: *const ()) -> RawWaker {
        panic(data);
        RawWaker::new(data, &VTABLE)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, panic, panic, panic);
    // SAFETY: no function of the table does anything but panic.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) }
}

#[test]
fn hostile_wakers_break_nothing() {
    let mut queue = Counted::default();
    // One whose waker cannot be dropped leaves; another's cannot be cloned for a look.
    queue.unpromised += 1;
    let Entered::Waiting(leaving) = queue.queue.enter(hostile(), 0, Location::caller(), false) else {
        panic!("nobody gives")
    };
    let mut looking = Some(queue.enter(0));
    let waker = std::mem::ManuallyDrop::new(hostile());
    assert!(catch_unwind(AssertUnwindSafe(|| queue.queue.look(&mut looking, &waker))).is_err());
    assert!(queue.leave(leaving).is_none());
    assert!(queue.resume(3));
    assert_eq!(queue.queue.look(&mut looking, Waker::noop()), Heard::Granted(3));
    assert_eq!(queue.unpromised, 0);
}

/// A waker of a task that gives something to the oldest waiter of this queue when it is cloned, and panics when the clone is dropped.
fn giving(queue: &Fifo) -> Waker {
    fn clone(data: *const ()) -> RawWaker {
        // SAFETY: `giving` made it of a queue that outlives the waker.
        let queue = unsafe { &*data.cast::<Fifo>() };
        let Resumed::Delivered(Some(_)) = queue.resume(3) else { panic!("somebody waits") };
        RawWaker::new(data, &CLONED)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| (), |_| (), |_| ());
    static CLONED: RawWakerVTable = RawWakerVTable::new(|_| panic!(), |_| panic!(), |_| panic!(), |_| panic!());
    // SAFETY: as above; nothing is counted.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::from_ref(queue).cast(), &VTABLE)) }
}

#[test]
fn a_waker_that_is_not_needed_any_more_may_panic() {
    let queue = Fifo::default();
    let enter = || match queue.enter(Waker::noop().clone(), 0, Location::caller(), false) {
        Entered::Waiting(ticket) => Some(ticket),
        Entered::Granted(note) => panic!("nobody gave {note}"),
    };
    let mut ticket = enter();
    assert_eq!(queue.look(&mut ticket, &giving(&queue)), Heard::Granted(3));
    assert!(ticket.is_none(), "whoever had it could leave a second time");
}
