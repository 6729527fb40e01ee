//! A thread of a history: what it has, and how it makes a call and notes the answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pool_core::{AcquireError, OwnedLease};
use pool_testkit::fake::{FakeConnection, FakeDriver, InHand, quiet};

use super::history::{Answer, Call, Event, Waiter};
use super::program::Step;
use super::run::World;

type Outcome = Result<OwnedLease<FakeDriver>, AcquireError>;
type Waiting = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A lease that its holder uses, which the ledger checks.
pub(crate) struct Held {
    in_hand: InHand,
    lease: OwnedLease<FakeDriver>,
}

impl Held {
    pub(crate) fn new(lease: OwnedLease<FakeDriver>) -> Self {
        Self { in_hand: lease.take_in_hand(), lease }
    }

    fn let_go(self) -> OwnedLease<FakeDriver> {
        drop(self.in_hand);
        self.lease
    }
}

/// What one thread has.
#[derive(Default)]
pub(crate) struct Person {
    pub(crate) number: usize,
    joined: usize,
    pub(crate) leases: Vec<Held>,
    waiting: Vec<(Waiter, Waiting)>,
    pub(crate) events: Vec<Event>,
}

impl Person {
    pub(crate) fn new(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    fn record<T>(&mut self, world: &World, act: impl FnOnce() -> T, call: impl FnOnce(&T) -> Call) -> T {
        let began = world.tick();
        let outcome = act();
        let ended = world.tick();
        self.events.push(Event { call: call(&outcome), began, ended });
        outcome
    }

    pub(crate) fn act(&mut self, world: &World, step: Step) {
        match step {
            Step::TryAcquire => self.try_acquire(world),
            Step::Join => self.join(world),
            Step::Look(place) => self.look(world, place),
            Step::Cancel(place) => self.cancel(world, place),
            Step::Release(place) => self.give_back(world, place, drop, Call::Release),
            Step::Discard(place) => self.give_back(world, place, OwnedLease::discard, Call::Discard),
            command => self.command(world, command),
        }
    }

    /// A call that is about the pool as a whole.
    fn command(&mut self, world: &World, command: Step) {
        match command {
            Step::Resize(max) => {
                self.record(world, || world.pool.reconfigure(quiet(max)).unwrap(), |_| Call::Resize(max));
            }
            Step::Replace => self.record(world, || world.pool.retire_all(), |()| Call::Replace),
            _ => self.close(world),
        }
    }

    /// Everybody who waits looks once.
    pub(crate) fn look_once_more(&mut self, world: &World) {
        (0..self.waiting.len()).rev().for_each(|place| self.look(world, place));
    }

    fn try_acquire(&mut self, world: &World) {
        let outcome =
            self.record(world, || world.pool.try_acquire_owned(), |outcome| Call::TryAcquire(answer(outcome)));
        self.leases.extend(outcome.map(Held::new));
    }

    fn join(&mut self, world: &World) {
        let waiter = Waiter(self.number, self.joined);
        self.joined += 1;
        let pool = world.pool.clone();
        let mut waiting: Waiting = Box::pin(async move { pool.acquire_owned().await });
        let outcome = self.record(world, || poll(&mut waiting), |outcome| Call::Join(waiter, heard(outcome)));
        match outcome {
            Poll::Ready(outcome) => self.leases.extend(outcome.map(Held::new)),
            Poll::Pending => self.waiting.push((waiter, waiting)),
        }
    }

    fn cancel(&mut self, world: &World, place: usize) {
        if place < self.waiting.len() {
            let (waiter, waiting) = self.waiting.remove(place);
            self.record(world, || drop(waiting), |()| Call::Cancel(waiter));
        }
    }

    fn look(&mut self, world: &World, place: usize) {
        if place >= self.waiting.len() {
            return;
        }
        let (waiter, mut waiting) = self.waiting.remove(place);
        let outcome = self.record(world, || poll(&mut waiting), |outcome| Call::Look(waiter, heard(outcome)));
        match outcome {
            Poll::Ready(outcome) => self.leases.extend(outcome.map(Held::new)),
            Poll::Pending => self.waiting.insert(place, (waiter, waiting)),
        }
    }

    fn give_back(
        &mut self,
        world: &World,
        place: usize,
        give: impl FnOnce(OwnedLease<FakeDriver>),
        call: impl FnOnce(u64) -> Call,
    ) {
        if place >= self.leases.len() {
            return;
        }
        let lease = self.leases.remove(place).let_go();
        let id = FakeConnection::id(&lease);
        self.record(world, || give(lease), |()| call(id));
    }

    /// The first poll does all there is to do; the rest is waiting for the leases.
    fn close(&mut self, world: &World) {
        let close = || {
            let mut closing = Box::pin(world.pool.close());
            closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        self.record(world, close, |_| Call::Close);
    }
}

fn poll(waiting: &mut Waiting) -> Poll<Outcome> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Ok(lease) => Answer::Connection(lease.id()),
        Err(AcquireError::Unavailable { .. }) => Answer::Nothing,
        Err(AcquireError::Closed) => Answer::Closed,
        Err(error) => panic!("nobody has reason to say: {error}"),
    }
}

fn heard(outcome: &Poll<Outcome>) -> Answer {
    match outcome {
        Poll::Ready(outcome) => answer(outcome),
        Poll::Pending => Answer::Nothing,
    }
}
