//! Those who want a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_core::{AcquireError, OwnedLease};
use pool_testkit::fake::{Call, FakeConnection, FakeDriver, Step};
use proptest::prelude::*;

use super::model::{Connection, Fate, Waiter};
use super::operation::{End, Operation};
use super::world::{Checked, UNIT, World};

type Outcome = Result<OwnedLease<FakeDriver>, AcquireError>;
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Outcome>>>;

pub(crate) fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

impl World {
    /// Somebody asks for a connection, now or again.
    pub(crate) fn ask(&mut self, operation: Operation) -> Checked {
        match operation {
            Operation::TryAcquire(broken) => self.try_acquire(broken),
            Operation::Join(limit, broken) => self.join(limit * UNIT + UNIT / 2, broken),
            Operation::Look(place) => self.look(place),
            _ => Ok(()),
        }
    }

    /// The next idle connection that somebody claims turns out to be broken.
    fn break_one(&mut self, broken: bool) {
        if broken && self.model.idle > 0 {
            self.driver.script(Call::Inspect, [Step::Fail]);
            self.model.counts.broken += 1;
            self.model.retire_idle(1);
        }
    }

    fn try_acquire(&mut self, broken: bool) -> Checked {
        self.break_one(broken);
        match self.pool.try_acquire_owned() {
            Ok(lease) => self.claimed(lease),
            Err(AcquireError::Closed) if self.model.closed => {
                // Refused, as whoever wants to wait is, after no time.
                self.model.count_wait(self.model.now);
                Ok(())
            }
            Err(AcquireError::Unavailable { .. }) if self.model.idle == 0 && !self.model.closed => Ok(()),
            Err(error) => Err(TestCaseError::fail(error.to_string())),
        }
    }

    fn claimed(&mut self, lease: OwnedLease<FakeDriver>) -> Checked {
        let id = FakeConnection::id(&lease);
        prop_assert!(self.model.idle > 0 && self.model.waiting() == 0, "{id} was not to be had");
        prop_assert!(self.leases.iter().all(|other| FakeConnection::id(other) != id), "{id} is leased already");
        self.model.claim(id);
        self.leases.push(lease);
        Ok(())
    }

    fn join(&mut self, limit: u64, broken: bool) -> Checked {
        self.break_one(broken);
        let pool = self.pool.clone();
        let mut waiting: Waiting =
            Box::pin(async move { pool.acquire_owned_timeout(Duration::from_millis(limit)).await });
        match poll(&mut waiting) {
            Poll::Ready(Ok(lease)) => return self.claimed(lease),
            Poll::Ready(Err(error)) => {
                prop_assert!(self.model.closed && matches!(error, AcquireError::Closed), "{}", error);
                self.model.count_wait(self.model.now);
            }
            Poll::Pending => {
                prop_assert!(self.model.idle == 0 && !self.model.closed, "there was no reason to wait");
                let (started, deadline) = (self.model.now, self.model.now + limit);
                self.model.waiters.push(Waiter { fate: Fate::Waits, started, deadline });
                self.waiting.push(waiting);
            }
        }
        Ok(())
    }

    pub(crate) fn cancel(&mut self, place: usize) {
        if let Some(place) = place.checked_rem(self.waiting.len()) {
            drop(self.waiting.remove(place));
            self.model.cancel(place);
        }
    }

    fn look(&mut self, place: usize) -> Checked {
        let Some(place) = place.checked_rem(self.waiting.len()) else { return Ok(()) };
        let (outcome, fate, started) =
            (poll(&mut self.waiting[place]), self.model.waiters[place].fate, self.model.waiters[place].started);
        match (outcome, fate) {
            (Poll::Pending, Fate::Waits) => return Ok(()),
            (Poll::Ready(Ok(lease)), Fate::Has(connection)) => {
                let id = Some(FakeConnection::id(&lease));
                prop_assert!(
                    connection.id.is_none_or(|given| Some(given) == id),
                    "{:?} came, not {:?}",
                    id,
                    connection
                );
                self.model.leases.push(Connection { id, ..connection });
                self.model.counts.acquired += 1;
                self.leases.push(lease);
            }
            (Poll::Ready(Err(AcquireError::Timeout { situation, .. })), Fate::Expired) => {
                prop_assert_eq!(situation.waited, Duration::from_millis(self.model.now - started));
                self.model.counts.timeouts += 1;
            }
            (Poll::Ready(Err(AcquireError::Closed)), Fate::Dismissed) => {}
            (outcome, fate) => return Err(TestCaseError::fail(format!("{outcome:?} for one whose fate is {fate:?}"))),
        }
        drop(self.waiting.remove(place));
        self.model.waiters.remove(place);
        self.model.count_wait(started);
        Ok(())
    }

    pub(crate) fn release(&mut self, place: usize, end: End) {
        let Some(place) = place.checked_rem(self.leases.len()) else { return };
        let (lease, connection) = (self.leases.remove(place), self.model.leases.remove(place));
        match end {
            End::Clean => drop(lease),
            End::Dirty => {
                lease.make_dirty();
                drop(lease);
            }
            End::Broken => {
                lease.break_it();
                drop(lease);
            }
            End::Discarded => lease.discard(),
        }
        self.model.release(connection, end);
    }
}
