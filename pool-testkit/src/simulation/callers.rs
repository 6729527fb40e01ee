//! Those who want a connection.

use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, OwnedLease};

use super::clock::millis;
use super::ensure;
use super::lending::Way;
use super::model::Checked;
use super::scenario::End;
use super::signal::Polled;
use super::world::{Held, World};
use crate::fake::{FakeConnection, FakeDriver};

type Outcome = Result<OwnedLease<FakeDriver>, AcquireError>;

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) acquire: Polled<Outcome>,
    /// When it came: a number, and a moment.
    joined: u64,
    started: u64,
    pub(super) deadline: u64,
    /// It does not take what it was woken for until it is told to look.
    pub(super) slow: bool,
    /// It was sent to the end of the queue, as the one exception to the order allows.
    rejoined: bool,
}

impl World {
    pub(super) fn try_acquire(&mut self) -> Checked {
        match self.pool.try_acquire_owned() {
            Ok(lease) => self.hold(lease, Way::WithoutWaiting),
            Err(AcquireError::Closed) if self.model.closed => {
                self.model.counts.waited += 1;
                self.model.counts.refused += 1;
                Ok(())
            }
            Err(AcquireError::Unavailable { .. }) if !self.model.closed => {
                self.model.counts.shed += 1;
                Ok(())
            }
            Err(error) => Err(format!("an acquire that does not wait: {error}")),
        }
    }

    pub(super) fn acquire(&mut self, limit: u64, slow: bool) -> Checked {
        let pool = self.pool.clone();
        let acquire = async move { pool.acquire_owned_timeout(Duration::from_millis(limit)).await };
        let mut acquire = Polled::new(&self.model.sequence, acquire);
        let (joined, started) = (self.model.sequence.next(), self.model.clock.now());
        match acquire.poll() {
            Poll::Ready(Ok(lease)) => return self.hold(lease, Way::AtOnce),
            Poll::Ready(Err(error @ (AcquireError::BreakerOpen { .. } | AcquireError::OpenFailed { .. }))) => {
                let known = self.model.is_known_for_good && matches!(error, AcquireError::OpenFailed { .. });
                let spared = self.model.breaker.may_be_open || known;
                ensure!(spared && !self.model.closed, "nobody knows that it is in vain: {error}");
                self.model.counts.waited += 1;
                self.model.counts.failed += 1;
            }
            Poll::Ready(Err(error)) => {
                ensure!(self.model.closed && matches!(error, AcquireError::Closed), "{error}");
                self.model.counts.waited += 1;
                self.model.counts.refused += 1;
            }
            Poll::Pending => {
                ensure!(!self.model.closed, "somebody waits for a closed pool");
                let deadline = started + limit;
                self.waiters.push(Waiter { acquire, joined, started, deadline, slow, rejoined: false });
            }
        }
        Ok(())
    }

    fn hold(&mut self, lease: OwnedLease<FakeDriver>, way: Way) -> Checked {
        let id = FakeConnection::id(&lease);
        let barging =
            !matches!(way, Way::Woken(_)) && self.waiters.iter().any(|waiter| waiter.acquire.woken().is_none());
        ensure!(!barging, "connection {id} went to a newcomer while somebody waits");
        ensure!(!self.model.paused || matches!(way, Way::Woken(_)), "connection {id} was handed out during a pause");
        self.names.insert(id, lease.connection_id());
        let in_hand = lease.take_in_hand();
        self.leases.push(Held { id, lease, in_hand });
        self.model.lend(id, way)
    }

    /// The slow waiter at this place takes what it was woken for.
    pub(super) fn look(&mut self, place: usize) -> Checked {
        let slow: Vec<_> = (0..self.waiters.len()).filter(|index| self.waiters[*index].slow).collect();
        match place.checked_rem(slow.len()) {
            Some(place) if self.waiters[slow[place]].acquire.woken().is_some() => {
                self.take_answer(slow[place]).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Everybody who was woken takes what came, in the order of the calls, but for those who are slow. `true` if somebody waits again.
    pub(super) fn look_all(&mut self) -> Result<bool, String> {
        let mut again = false;
        while let Some(next) = self.next_woken() {
            again |= self.take_answer(next)?;
        }
        Ok(again)
    }

    fn next_woken(&self) -> Option<usize> {
        let quick = self.waiters.iter().enumerate().filter(|(_, waiter)| !waiter.slow);
        let woken = quick.filter_map(|(place, waiter)| Some((waiter.acquire.woken()?, place)));
        woken.min().map(|(_, place)| place)
    }

    /// `true` if this one waits again.
    fn take_answer(&mut self, place: usize) -> Result<bool, String> {
        let Some(woken) = self.waiters[place].acquire.woken() else { return Ok(false) };
        match self.waiters[place].acquire.poll() {
            Poll::Pending => {
                let waiter = &mut self.waiters[place];
                let retired = self.model.demands.last().is_some_and(|demand| demand.number > waiter.joined);
                ensure!(retired, "a waiter was woken for nothing");
                waiter.rejoined = true;
                Ok(true)
            }
            Poll::Ready(outcome) => {
                let waiter = self.waiters.remove(place);
                self.count_wait(waiter.started);
                self.answer(&waiter, woken, outcome)?;
                Ok(false)
            }
        }
    }

    fn answer(&mut self, waiter: &Waiter, woken: u64, outcome: Outcome) -> Checked {
        match outcome {
            Ok(lease) => {
                let overtaken = self.waiters.iter().filter(|other| !other.rejoined && other.joined < waiter.joined);
                let overtaken =
                    overtaken.filter(|other| other.acquire.woken().is_none_or(|other| other > woken)).count();
                ensure!(waiter.rejoined || overtaken == 0, "a waiter overtook {overtaken} others");
                self.hold(lease, Way::Woken(woken))
            }
            Err(AcquireError::Timeout { situation, .. }) => {
                self.model.counts.timeouts += 1;
                let now = self.model.clock.now();
                ensure!(now >= waiter.deadline, "a wait ended at {now}, its deadline is {}", waiter.deadline);
                ensure!(millis(situation.waited) == now - waiter.started, "since {}: {situation}", waiter.started);
                Ok(())
            }
            Err(AcquireError::BreakerOpen { .. }) => {
                self.model.counts.failed += 1;
                ensure!(self.model.breaker.last_open > waiter.joined, "the breaker has not been open");
                Ok(())
            }
            Err(AcquireError::OpenFailed { .. }) => {
                self.model.counts.failed += 1;
                ensure!(self.model.has_failed_for_good_since(waiter.joined), "no attempt has failed for good");
                Ok(())
            }
            Err(AcquireError::Closed) if self.model.closed => {
                self.model.counts.refused += 1;
                Ok(())
            }
            Err(error) => Err(format!("a waiter was told: {error}")),
        }
    }

    fn count_wait(&mut self, started: u64) {
        self.model.counts.waited += 1;
        self.model.counts.wait_time += self.model.clock.now() - started;
    }

    /// A waiter is dropped; one who watches if nobody waits.
    pub(super) fn cancel(&mut self, place: usize) {
        if let Some(place) = place.checked_rem(self.waiters.len()) {
            let waiter = self.waiters.remove(place);
            self.model.counts.cancelled += 1;
            self.count_wait(waiter.started);
            drop(waiter);
        } else if let Some(place) = place.checked_rem(self.watchers.len()) {
            drop(self.watchers.remove(place));
        }
    }

    pub(super) fn release(&mut self, place: usize, end: End) -> Checked {
        let Some(place) = place.checked_rem(self.leases.len()) else { return Ok(()) };
        let Held { id, lease, in_hand } = self.leases.remove(place);
        drop(in_hand);
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
            End::Detached | End::Moved => {
                self.model.detach(id)?;
                return self.move_out(id, lease, end);
            }
        }
        self.model.take_back(id, end)
    }

    fn move_out(&mut self, id: u64, lease: OwnedLease<FakeDriver>, end: End) -> Checked {
        let connection = lease.detach();
        // The name of a connection that has left names nothing, even if it comes back.
        let evicted = self.names.remove(&id).is_some_and(|name| self.pool.evict(name));
        ensure!(!evicted, "connection {id} was evicted, which is not in the pool");
        if end == End::Moved { self.adopt(connection) } else { Ok(()) }
    }
}
