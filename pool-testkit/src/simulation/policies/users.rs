//! Those who want a connection of the pool itself.

use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, OwnedLease, OwnedSharedLease};

use super::super::ensure;
use super::super::model::Checked;
use super::super::scenario::End;
use super::super::signal::Polled;
use super::stage::{Held, Lease, Stage, Tenant};
use crate::fake::{Event, FakeDriver};

/// What somebody gets.
pub(super) enum Got {
    Whole(OwnedLease<FakeDriver>),
    Part(OwnedSharedLease<FakeDriver>),
}

type Outcome = Result<Got, AcquireError>;

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) acquire: Polled<Outcome>,
    /// When it came: a number.
    pub(super) joined: u64,
    pub(super) deadline: u64,
    /// It does not take what it was woken for until it is told to look.
    pub(super) slow: bool,
    /// It may have been sent to the end of the queue.
    pub(super) rejoined: bool,
    /// It can do with a connection that others use, too.
    pub(super) shares: bool,
}

impl Stage {
    pub(super) fn try_acquire(&mut self) -> Checked {
        match self.pool.try_acquire_owned() {
            Ok(lease) => {
                self.books.acquired += 1;
                self.take(Box::new(lease), None, self.clock.now())
            }
            Err(AcquireError::Closed) if self.closed => {
                self.books.refused += 1;
                Ok(())
            }
            Err(AcquireError::Unavailable { .. }) if !self.closed => {
                self.books.shed += 1;
                Ok(())
            }
            Err(error) => Err(format!("an acquire that does not wait: {error}")),
        }
    }

    pub(super) fn acquire(&mut self, limit: u64, slow: bool) -> Checked {
        let pool = self.pool.clone();
        let acquire = async move { pool.acquire_owned_timeout(Duration::from_millis(limit)).await.map(Got::Whole) };
        self.begin(acquire, limit, slow, false)
    }

    pub(super) fn begin(
        &mut self,
        acquire: impl Future<Output = Outcome> + Send + 'static,
        limit: u64,
        slow: bool,
        shares: bool,
    ) -> Checked {
        let acquire = Polled::new(&self.sequence, acquire);
        let (joined, deadline) = (self.sequence.next(), self.clock.now() + limit);
        self.poll(Waiter { acquire, joined, deadline, slow, rejoined: false, shares }, u64::MAX)
    }

    /// One who waits looks, woken at this point of the sequence.
    fn poll(&mut self, mut waiter: Waiter, woken: u64) -> Checked {
        match waiter.acquire.poll() {
            Poll::Pending => {
                waiter.rejoined |= woken != u64::MAX;
                // Who looks too late at what ends in time has a moment more.
                waiter.deadline = waiter.deadline.max(self.clock.now());
                self.waiters.push(waiter);
                Ok(())
            }
            Poll::Ready(outcome) => self.answer(&waiter, woken, outcome),
        }
    }

    fn answer(&mut self, waiter: &Waiter, woken: u64, outcome: Outcome) -> Checked {
        let now = self.clock.now();
        match outcome {
            Ok(got) => {
                self.books.acquired += 1;
                self.nobody_is_overtaken(waiter, woken)?;
                match got {
                    Got::Whole(lease) => return self.take(Box::new(lease), None, now),
                    Got::Part(lease) => self.join(lease),
                }
            }
            Err(AcquireError::Timeout { .. }) => {
                ensure!(now >= waiter.deadline, "a wait ended at {now}, its deadline is {}", waiter.deadline);
                self.books.timeouts += 1;
            }
            Err(AcquireError::Closed) => {
                ensure!(self.closed, "a waiter was told that the pool is closed");
                self.books.refused += 1;
            }
            Err(AcquireError::BreakerOpen { .. } | AcquireError::OpenFailed { .. } | AcquireError::Hook { .. }) => {
                self.books.failed += 1;
            }
            Err(error) => return Err(format!("a waiter was told: {error}")),
        }
        Ok(())
    }

    fn nobody_is_overtaken(&self, waiter: &Waiter, woken: u64) -> Checked {
        let before = |other: &&Waiter| !other.rejoined && other.joined < waiter.joined;
        let overtaken = self.waiters.iter().filter(before);
        let overtaken = overtaken.filter(|other| other.acquire.woken().is_none_or(|other| other > woken)).count();
        // Hooks take their time.
        ensure!(waiter.rejoined || self.is_prepared || overtaken == 0, "a waiter overtook {overtaken} others");
        Ok(())
    }

    /// Somebody has a connection, since then at the earliest.
    pub(super) fn take(&mut self, lease: Box<dyn Lease>, tenant: Option<Tenant>, since: u64) -> Checked {
        let (name, connection) = (lease.name(), lease.connection());
        let (id, broken, dirty) = (connection.id(), connection.is_broken(), connection.is_dirty());
        // A part of what somebody wanted may have been cut off while the rest was missing.
        let waited = since < self.clock.now();
        ensure!(self.aborted || waited || !broken, "connection {id} was handed out broken or cut off");
        ensure!(!dirty, "connection {id} was handed out dirty");
        let in_hand = connection.take_in_hand();
        self.driver.ledger().note(Event::Lent(id));
        self.held.push(Held { id, name, lease, in_hand, since: (since, self.clock.now()), tenant });
        Ok(())
    }

    /// Everybody who was woken takes what came, but for those who are slow. `true` if anybody was.
    pub(super) fn look(&mut self) -> Result<bool, String> {
        let mut any = false;
        while let Some((woken, place)) = self.next_woken() {
            let waiter = self.waiters.remove(place);
            self.poll(waiter, woken)?;
            any = true;
        }
        self.closes.retain_mut(|close| close.woken().is_none() || close.poll().is_pending());
        Ok(any)
    }

    fn next_woken(&self) -> Option<(u64, usize)> {
        let quick = self.waiters.iter().enumerate().filter(|(_, waiter)| !waiter.slow);
        quick.filter_map(|(place, waiter)| Some((waiter.acquire.woken()?, place))).min()
    }

    /// The slow waiter at this place takes what it was woken for.
    pub(super) fn look_at(&mut self, place: usize) -> Checked {
        let woken = |waiter: &Waiter| waiter.acquire.woken().filter(|_| waiter.slow);
        let slow: Vec<_> =
            self.waiters.iter().enumerate().filter_map(|(at, waiter)| Some((at, woken(waiter)?))).collect();
        let Some(place) = place.checked_rem(slow.len()) else { return Ok(()) };
        let (at, woken) = slow[place];
        let waiter = self.waiters.remove(at);
        self.poll(waiter, woken)
    }

    /// A waiter is dropped.
    pub(super) fn cancel(&mut self, place: usize) {
        if let Some(place) = place.checked_rem(self.waiters.len()) {
            self.books.cancelled += 1;
            drop(self.waiters.remove(place));
        }
    }

    pub(super) fn release(&mut self, place: usize, end: End) {
        let Some(place) = place.checked_rem(self.held.len()) else { return };
        let Held { id, lease, in_hand, tenant, .. } = self.held.remove(place);
        self.returned.extend(tenant);
        self.driver.ledger().note(Event::Returned(id));
        drop(in_hand);
        match end {
            End::Dirty => lease.connection().make_dirty(),
            End::Broken => lease.connection().break_it(),
            End::Discarded => return lease.discard(),
            _ => {}
        }
        drop(lease);
    }
}
