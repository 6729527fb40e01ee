//! The checker itself: it accepts what a pool may do, and nothing else.

use pool_core::{Pool, PoolState};
use pool_testkit::fake::{FakeDriver, quiet};

use super::checker::check;
use super::history::{Answer, Call, Event, History, Waiter};

const A: Waiter = Waiter(0, 0);
const B: Waiter = Waiter(1, 0);

/// Calls one after the other, on `size` connections of which all but `leased` are idle.
fn one_by_one(size: u64, leased: u64, calls: &[Call]) -> History {
    let at = |place: usize, call: &Call| Event { call: *call, began: 2 * place as u64, ended: 2 * place as u64 + 1 };
    let events = calls.iter().enumerate().map(|(place, call)| at(place, call)).collect();
    let size_of_pool = usize::try_from(size).unwrap();
    History { idle: (leased..size).collect(), size: size_of_pool, max: size_of_pool, events }
}

/// The same, with one call that is under way all the time.
fn beside(call: Call, mut history: History) -> History {
    history.events.push(Event { call, began: 0, ended: u64::MAX });
    history
}

/// What a pool says that is open and at rest.
fn at_rest(size: usize, idle: usize, waiting: usize) -> Call {
    let mut state: PoolState = Pool::builder(FakeDriver::new()).config(quiet(1)).build().unwrap().state();
    (state.size, state.idle, state.waiting) = (size, idle, waiting);
    Call::Rest(state)
}

const GOT: fn(u64) -> Answer = Answer::Connection;

fn accepted(history: &History) -> bool {
    check(&history.in_steps()).is_ok()
}

#[test]
fn what_a_pool_does_is_accepted() {
    let calls = [
        Call::TryAcquire(GOT(0)),
        Call::TryAcquire(Answer::Nothing),
        Call::Join(A, Answer::Nothing),
        Call::Join(B, Answer::Nothing),
        Call::Look(A, Answer::Nothing),
        Call::Release(0),
        Call::TryAcquire(Answer::Nothing),
        Call::Look(B, Answer::Nothing),
        Call::Cancel(A),
        Call::Look(B, GOT(0)),
        Call::Discard(0),
        at_rest(0, 0, 0),
        Call::Close,
        Call::TryAcquire(Answer::Closed),
    ];
    assert!(accepted(&one_by_one(1, 0, &calls)));
}

#[test]
fn a_connection_in_two_hands_is_rejected() {
    assert!(!accepted(&one_by_one(1, 0, &[Call::TryAcquire(GOT(0)), Call::TryAcquire(GOT(0))])));
    let twice =
        [Call::Join(A, Answer::Nothing), Call::Join(B, Answer::Nothing), Call::Release(0), Call::Look(A, GOT(0))];
    assert!(accepted(&one_by_one(1, 1, &twice)));
    assert!(!accepted(&one_by_one(1, 1, &[&twice[..], &[Call::Look(B, GOT(0))]].concat())));
}

#[test]
fn a_waiter_that_was_overtaken_is_rejected() {
    let wait = [Call::Join(A, Answer::Nothing), Call::Join(B, Answer::Nothing), Call::Release(0)];
    for overtakes in [Call::Look(B, GOT(0)), Call::TryAcquire(GOT(0)), Call::Join(Waiter(2, 0), GOT(0))] {
        let history = one_by_one(1, 1, &[&wait[..], &[overtakes]].concat());
        assert!(!accepted(&history));
        // That somebody looks meanwhile is no excuse.
        assert!(!accepted(&beside(Call::TryAcquire(Answer::Nothing), history)));
    }
}

#[test]
fn a_wake_up_or_a_connection_that_was_lost_is_rejected() {
    let served = [Call::Join(A, Answer::Nothing), Call::Release(0), Call::Look(A, Answer::Nothing)];
    assert!(!accepted(&one_by_one(1, 1, &served)));
    assert!(!accepted(&one_by_one(1, 1, &[Call::Release(0), Call::TryAcquire(Answer::Nothing)])));
    assert!(!accepted(&one_by_one(1, 1, &[Call::Release(0), at_rest(1, 0, 0)])));
    assert!(!accepted(&one_by_one(1, 0, &[Call::Join(A, Answer::Nothing)])));
}

#[test]
fn an_answer_may_be_stale_only_while_somebody_moves_connections() {
    let stale = one_by_one(2, 1, &[Call::TryAcquire(Answer::Nothing)]);
    assert!(!accepted(&stale));
    assert!(accepted(&beside(Call::Release(0), one_by_one(2, 1, &[Call::TryAcquire(Answer::Nothing)]))));
    assert!(!accepted(&beside(Call::Discard(0), stale)));
}

#[test]
fn a_connection_too_many_or_after_the_close_is_rejected() {
    let surplus = [Call::Resize(1), Call::Release(0), Call::Release(1), Call::TryAcquire(GOT(1))];
    assert!(accepted(&one_by_one(2, 2, &surplus)));
    assert!(!accepted(&one_by_one(2, 2, &[&surplus[..], &[Call::TryAcquire(GOT(0))]].concat())));
    assert!(!accepted(&one_by_one(1, 0, &[Call::Close, Call::TryAcquire(GOT(0))])));
    let dismissed = [Call::Join(A, Answer::Nothing), Call::Close, Call::Look(A, Answer::Closed)];
    assert!(accepted(&one_by_one(1, 1, &dismissed)));
    // A connection that had come is kept.
    let served = [Call::Join(A, Answer::Nothing), Call::Release(0), Call::Close];
    assert!(accepted(&one_by_one(1, 1, &[&served[..], &[Call::Look(A, GOT(0))]].concat())));
    assert!(!accepted(&one_by_one(1, 1, &[&served[..], &[Call::Look(A, Answer::Closed)]].concat())));
}

#[test]
fn a_connection_that_was_to_be_replaced_is_rejected() {
    let replaced = [Call::Replace, Call::Release(0), Call::TryAcquire(GOT(0))];
    assert!(!accepted(&one_by_one(1, 1, &replaced)));
    assert!(!accepted(&one_by_one(1, 0, &[Call::Replace, Call::TryAcquire(GOT(0))])));
    let kept = [Call::Join(A, Answer::Nothing), Call::Release(0), Call::Replace, Call::Look(A, GOT(0))];
    assert!(accepted(&one_by_one(1, 1, &kept)));
    let opened =
        [Call::Join(A, Answer::Nothing), Call::Replace, Call::Release(0), at_rest(1, 0, 0), Call::Look(A, GOT(1))];
    assert!(accepted(&one_by_one(1, 1, &opened)));
}

#[test]
fn calls_at_the_same_time_may_have_come_in_any_order() {
    // B was served before A, although A came first: two connections were on their way at the same time.
    let event = |call, began, ended| Event { call, began, ended };
    let mut history = one_by_one(2, 2, &[Call::Join(A, Answer::Nothing), Call::Join(B, Answer::Nothing)]);
    history.events.extend([
        event(Call::Release(0), 10, 20),
        event(Call::Release(1), 11, 12),
        event(Call::Look(B, GOT(1)), 13, 14),
        event(Call::Look(A, Answer::Nothing), 15, 16),
        event(Call::Look(A, GOT(0)), 21, 22),
    ]);
    assert!(accepted(&history));
    history.events[2].ended = 12;
    assert!(!accepted(&history), "both have come, and A has not got any");
}

/// Calls with the times at which they began and ended, on one connection, which is leased.
fn at_times(calls: &[(u64, u64, Call)]) -> History {
    let event = |(began, ended, call): &(u64, u64, Call)| Event { call: *call, began: *began, ended: *ended };
    History { idle: Vec::new(), size: 1, max: 1, events: calls.iter().map(event).collect() }
}

#[test]
fn whoever_has_taken_its_place_may_be_served_before_it_hears_of_it() {
    let calls = [
        (0, 7, Call::Join(A, GOT(0))),
        (1, 2, Call::Join(B, Answer::Nothing)),
        (3, 4, Call::Release(0)),
        (5, 6, Call::Look(B, Answer::Nothing)),
    ];
    assert!(accepted(&at_times(&calls)));
    let overtaking = [
        (0, 1, Call::Join(B, Answer::Nothing)),
        (2, 5, Call::Join(A, GOT(0))),
        (3, 4, Call::Release(0)),
        (6, 7, Call::Look(B, Answer::Nothing)),
    ];
    assert!(!accepted(&at_times(&overtaking)));
}

#[test]
fn a_close_sends_away_whom_it_reaches_and_nobody_gets_a_connection_after_it() {
    let calls = [
        (0, 1, Call::Join(A, Answer::Nothing)),
        (2, 3, Call::Release(0)),
        (4, 6, Call::Join(B, Answer::Nothing)),
        (5, 8, Call::Close),
        (7, 9, Call::TryAcquire(Answer::Closed)),
        (10, 11, Call::Cancel(B)),
        (12, 13, Call::Look(A, GOT(0))),
    ];
    assert!(accepted(&at_times(&calls)));
    let late = [(0, 1, Call::Close), (2, 5, Call::Join(A, GOT(0))), (3, 4, Call::Release(0))];
    assert!(!accepted(&at_times(&late)));
}
