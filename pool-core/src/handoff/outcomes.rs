//! What comes of an offer, of joining, and of leaving.

use std::task::Waker;

use crate::gate::Joined;
use crate::queue::Ticket;
use crate::slot::{Claim, SharedClaim};

/// What a waiter gets.
#[derive(Debug)]
pub enum Grant<C> {
    /// A connection.
    Slot(Claim<C>),
    /// A place in one that others use, too.
    Shared(SharedClaim<C>),
    /// The pool cannot open connections.
    Failed,
    /// The pool has been closed.
    Closed,
    /// The waiter's time is over; or it is not, and it has to join again: nobody keeps it any more, or a slot that it did not come for was taken back.
    Expired,
}

/// Why somebody who waits gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The pool cannot open connections.
    Failed,
    /// The pool has been closed.
    Closed,
}

/// What became of a denial.
#[derive(Debug)]
#[must_use = "a waker has to be woken"]
pub enum Denied {
    /// Nobody waits.
    Nobody,
    /// A waiter, or one that has just left, and whom to wake.
    Told(Option<Waker>),
}

/// What became of a slot that was offered.
#[derive(Debug)]
#[must_use = "a waker has to be woken, a slot that comes back has to be retired"]
pub enum Offered<C> {
    /// A waiter has it, and wants to be woken if it left a waker.
    Handed(Option<Waker>),
    /// Nobody waits: the slot is idle, or somebody else has claimed it meanwhile.
    Parked,
    /// The pool is paused: the slot is idle, whoever waits.
    Paused,
    /// The pool is closed: the slot comes back.
    Closed(Claim<C>),
    /// There are more connections than the maximum, and this one is counted as leaving: the slot comes back.
    Excess(Claim<C>),
    /// The connection is of an earlier generation: the slot comes back.
    Outdated(Claim<C>),
}

/// How a waiter has joined.
#[derive(Debug)]
pub enum Entry<C> {
    /// In the queue.
    Queued(Ticket),
    /// Served before it got there.
    Served(Grant<C>),
}

/// What a waiter that leaves leaves behind.
#[derive(Debug)]
#[must_use = "a grant that came first has to go elsewhere"]
pub enum Left<C> {
    /// Nothing.
    Nothing,
    /// The grant that came first.
    Grant(Grant<C>),
    /// A slot that was meant for it has been offered to the next one.
    PassedOn(Offered<C>),
    /// A place that was meant for it and that the next one cannot do with: it has to be left, and the count that came back with it, if one did, to be
    /// [settled](super::Core::settle_debt).
    Place(SharedClaim<C>, Option<Joined>),
}
