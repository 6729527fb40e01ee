//! How connections find callers and callers find connections: the protocol that joins slots, gate, capacity and queue.
//!
//! It knows no driver, runtime or clock, which is what lets the models drive exactly this code. Its two rules:
//!
//! * **Reserve first.** Whoever holds a free slot takes one waiter out of the gate's count, and only then hands the slot to the oldest waiter
//!   in the queue.
//! * **Publish, fence, look.** Whoever makes a slot idle looks at the gate again afterwards; whoever counts itself as waiting looks at
//!   the slots again afterwards. One of the two sees the other.

use std::task::Waker;

use crate::capacity::Capacity;
use crate::gate::{Gate, Joined};
use crate::queue::{Cancelled, Fifo, Resumed, Ticket};
use crate::slot::{Claim, Table};

/// What a waiter gets. `F` says why there is no connection.
#[derive(Debug)]
pub enum Grant<C, F> {
    /// A connection.
    Slot(Claim<C>),
    /// The pool cannot open connections.
    Failed(F),
    /// The pool has been closed.
    Closed,
}

/// What became of a slot that was offered.
#[derive(Debug)]
#[must_use = "a waker has to be woken, a slot of a closed pool has to be retired"]
pub enum Offered<C> {
    /// A waiter has it and wants to be woken.
    Handed(Option<Waker>),
    /// Nobody waits: the slot is idle, or somebody else has claimed it meanwhile.
    Parked,
    /// The pool is closed: the slot comes back.
    Closed(Claim<C>),
}

/// The lock-free heart of a pool.
#[derive(Debug)]
pub struct Core<C, F> {
    /// The connections.
    pub table: Table<C>,
    /// Who waits.
    pub gate: Gate,
    /// What may be opened.
    pub capacity: Capacity,
    queue: Fifo<Grant<C, F>>,
}

impl<C, F> Core<C, F> {
    /// A pool of at most `max_size` connections, none of them open.
    pub fn new(max_size: usize) -> Self {
        Self {
            table: Table::new(max_size),
            gate: Gate::default(),
            capacity: Capacity::new(max_size),
            queue: Fifo::default(),
        }
    }

    /// An idle slot, unless somebody waits for one already or the pool is closed.
    #[inline]
    pub fn claim_at_once(&self, hint: Option<usize>) -> Option<Claim<C>> {
        if self.gate.is_clear() { self.table.claim_idle(hint) } else { None }
    }

    /// Joins the queue. The waiter that finds nobody waiting before it passes every idle slot to `serve`, which judges and [offers](Core::offer)
    /// it, to the queue and not to this waiter. One that finds the pool closed leaves by [`Core::leave`].
    pub fn join(&self, waker: Waker, serve: impl FnMut(Claim<C>)) -> (Ticket, Joined) {
        // The cell first: whoever finds the count finds the cell.
        let ticket = self.queue.push(waker);
        let joined = self.gate.join();
        if joined == Joined::First {
            std::iter::from_fn(|| self.claim_for_queue()).for_each(serve);
        }
        (ticket, joined)
    }

    /// An idle slot to offer to the queue, as long as somebody waits.
    fn claim_for_queue(&self) -> Option<Claim<C>> {
        if self.gate.glance().waiting > 0 { self.table.claim_idle(None) } else { None }
    }

    /// Gives a slot to the oldest waiter, or to nobody in particular.
    pub fn offer(&self, claim: Claim<C>) -> Offered<C> {
        let mut claim = claim;
        loop {
            let sight = self.gate.glance();
            if sight.closed {
                return Offered::Closed(claim);
            }
            if sight.waiting > 0 && self.gate.reserve() {
                match self.queue.resume(Grant::Slot(claim)) {
                    Resumed::Delivered(waker) => return Offered::Handed(waker),
                    Resumed::Refused(Grant::Slot(refused)) => claim = refused,
                    Resumed::Refused(_) => return Offered::Parked,
                }
                continue;
            }
            let index = claim.index();
            self.table.publish_idle(claim);
            let sight = self.gate.look_after_publishing();
            if !sight.closed && sight.waiting == 0 {
                return Offered::Parked;
            }
            match self.table.claim_at(index) {
                Some(again) => claim = again,
                // Whoever has it now runs this protocol when it gives it back.
                None => return Offered::Parked,
            }
        }
    }

    /// Tells the oldest waiter that there is no connection for it. `None` if nobody waits.
    pub fn deny(&self, grant: Grant<C, F>) -> Option<Resumed<Grant<C, F>>> {
        self.gate.reserve().then(|| self.queue.resume(grant))
    }

    /// The grant, if it has come.
    pub fn poll(&self, ticket: &Ticket, waker: &Waker) -> Option<Grant<C, F>> {
        self.queue.poll(ticket, waker)
    }

    /// Leaves the queue. A grant that came first is returned and belongs to the caller.
    pub fn leave(&self, ticket: Ticket) -> Option<Grant<C, F>> {
        match self.queue.cancel(ticket, || self.gate.withdraw()) {
            Cancelled::Granted(grant) => Some(grant),
            Cancelled::Withdrawn | Cancelled::Refusing => None,
        }
    }

    /// The wakers of everybody who waits.
    pub fn take_wakers(&self) -> Vec<Waker> {
        self.queue.take_wakers()
    }
}
