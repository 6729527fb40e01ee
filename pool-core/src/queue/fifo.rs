//! First in, first out, behind a short critical section.
//!
//! Waiting is the slow path: nobody comes here while connections are idle. The lock is held for a few pointer writes and never while
//! foreign code runs: wakers are cloned before, and woken and dropped after it.

use std::sync::PoisonError;
use std::task::Waker;

use super::slab::{Key, Slab};
use crate::sync::{Mutex, MutexGuard};

/// One waiter's place in the queue.
struct Cell<G> {
    state: State<G>,
    /// `None` once somebody has taken it to wake the waiter.
    waker: Option<Waker>,
}

enum State<G> {
    /// Nothing has come yet.
    Waiting,
    /// A grant has come and the waiter has not picked it up.
    Granted(G),
    /// The waiter has gone while somebody was on the way to it. In the list until that somebody finds it.
    Refused,
}

impl<G> Cell<G> {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    fn into_grant(self) -> Option<G> {
        match self.state {
            State::Granted(grant) => Some(grant),
            State::Waiting | State::Refused => None,
        }
    }
}

/// The right to one cell of the queue. Not a guard: its holder gives it back through `poll` or `cancel`.
#[derive(Debug)]
#[must_use = "a cell stays in use until its ticket is polled to the end or cancelled"]
pub struct Ticket(Key);

/// What became of a grant.
#[derive(Debug)]
#[must_use = "a waker has to be woken, a refused grant has to go elsewhere"]
pub enum Resumed<G> {
    /// The oldest waiter has it. It finds out when it is woken.
    Delivered(Option<Waker>),
    /// The oldest waiter has gone; the grant comes back.
    Refused(G),
}

/// What became of a waiter that gave up.
#[derive(Debug)]
#[must_use = "a grant that came first has to go elsewhere"]
pub enum Cancelled<G> {
    /// Nobody owes it anything.
    Withdrawn,
    /// Somebody is on the way and will be refused.
    Refusing,
    /// The grant was already there.
    Granted(G),
}

/// The queue.
pub struct Fifo<G>(Mutex<Slab<Cell<G>>>);

impl<G> Default for Fifo<G> {
    fn default() -> Self {
        Self(Mutex::new(Slab::new()))
    }
}

impl<G> Fifo<G> {
    fn lock(&self) -> MutexGuard<'_, Slab<Cell<G>>> {
        // Nothing that runs under the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the end of the queue.
    pub fn push(&self, waker: Waker) -> Ticket {
        Ticket(self.lock().push(Cell { state: State::Waiting, waker: Some(waker) }))
    }

    /// Gives a grant to the oldest waiter. For a caller that reserved one.
    pub fn resume(&self, grant: G) -> Resumed<G> {
        let mut cells = self.lock();
        // A reservation implies a cell in the list: waiters join the queue before they count themselves.
        let Some(key) = cells.first() else { return Resumed::Refused(grant) };
        cells.unlink(key);
        let Some(cell) = cells.get_mut(key).filter(|cell| cell.is_waiting()) else {
            cells.free(key);
            return Resumed::Refused(grant);
        };
        cell.state = State::Granted(grant);
        Resumed::Delivered(cell.waker.take())
    }

    /// The grant, if it has come. Otherwise `waker` is woken when it does.
    pub fn poll(&self, ticket: &Ticket, waker: &Waker) -> Option<G> {
        let mut mine = Some(waker.clone());
        let mut cells = self.lock();
        if let Some(cell) = cells.get_mut(ticket.0).filter(|cell| cell.is_waiting()) {
            std::mem::swap(&mut cell.waker, &mut mine);
            drop(cells);
            // `mine`, the waker of the last poll, is dropped here, after the lock.
            return None;
        }
        cells.free(ticket.0)?.into_grant()
    }

    /// Leaves the queue. `withdraw` takes the waiter out of the gate's count, if nobody has reserved it yet.
    pub fn cancel(&self, ticket: Ticket, withdraw: impl FnOnce() -> bool) -> Cancelled<G> {
        let Ticket(key) = ticket;
        let mut cells = self.lock();
        let Some(cell) = cells.get_mut(key).filter(|cell| cell.is_waiting()) else {
            return cells.free(key).and_then(Cell::into_grant).map_or(Cancelled::Withdrawn, Cancelled::Granted);
        };
        let waker = cell.waker.take();
        let cancelled = if withdraw() {
            cells.unlink(key);
            cells.free(key);
            Cancelled::Withdrawn
        } else {
            cell.state = State::Refused;
            Cancelled::Refusing
        };
        drop(cells);
        drop(waker);
        cancelled
    }

    /// Takes the wakers of all waiters, so that each looks at the pool again.
    pub fn take_wakers(&self) -> Vec<Waker> {
        self.lock().iter_mut().filter(|cell| cell.is_waiting()).filter_map(|cell| cell.waker.take()).collect()
    }
}

impl<G> std::fmt::Debug for Fifo<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fifo").finish_non_exhaustive()
    }
}
