//! Which of several idle connections is handed out.
//!
//! The state word of a slot remains the only truth: an order says where to look first, and any idle slot can be claimed by name at any time. Orders
//! other than [`IdleOrder::Recent`] write memory that all threads share, so they cost what a queue costs.

use crossbeam_utils::CachePadded;

use super::claim::Claim;
use super::table::{Slot, Table};
use crate::counters::{Counter, Figure};
use crate::sync::SegQueue;

/// Which of several idle connections is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleOrder {
    /// The one that this thread used last, or the one in the lowest slot. What is not needed stays unused, so that it reaches its idle timeout, and
    /// threads that use a connection each do not disturb each other. The default.
    #[default]
    Recent,
    /// The one that became idle first: all connections are used in turn. A ping does not move a connection to the back. What is idle already when this
    /// order begins comes in the order of its last use, as far as that is known: to within a second. Costs a queue, which allocates now and then.
    Fifo,
    /// The one whose last use, or opening, is longest ago: exactly, among the uses since this order began, and to within a second among those
    /// before. Looks at every slot.
    LeastRecentlyUsed,
}

/// A place in the line of idle slots.
#[derive(Debug)]
struct Ticket {
    index: u32,
    /// What has to be in the mark of the slot, or somebody else has the slot's turn.
    number: u64,
}

/// The order in force, and what it has to remember. The gate says whether anybody has to ask here at all.
#[derive(Debug)]
pub(super) struct Idle {
    order: Figure,
    /// How often there has been another order.
    orders: Counter,
    /// Slots in the order in which they became idle. A slot that was claimed by name leaves its ticket behind, and has none other until that
    /// one is found to be stale or the slot is idle again with the same connection; so there is one for each slot, and some for connections that are
    /// gone.
    line: CachePadded<SegQueue<Ticket>>,
    uses: CachePadded<Counter>,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            order: Figure::default(),
            orders: Counter::default(),
            line: CachePadded::new(SegQueue::new()),
            uses: CachePadded::default(),
        }
    }
}

impl Idle {
    fn order(&self) -> IdleOrder {
        match self.order.get() {
            0 => IdleOrder::Recent,
            1 => IdleOrder::Fifo,
            _ => IdleOrder::LeastRecentlyUsed,
        }
    }

    fn announce<C>(&self, slot: &Slot<C>) {
        if self.order() != IdleOrder::Fifo {
            return;
        }
        // Of this connection and this order: a turn is neither inherited nor kept for later. Each repeats after 2^32.
        let number = self.orders.get() << 32 | slot.word.read().1 & u64::from(u32::MAX);
        if slot.in_line.raise(number) {
            self.line.push(Ticket { index: slot.facts.index, number });
        }
    }
}

impl<C> Table<C> {
    /// Makes a slot that has just become idle known to those who keep an order. Somebody may have claimed it already; then its ticket will be stale.
    pub fn announce_idle(&self, index: usize) {
        if let Some(slot) = self.slots.get(index) {
            self.idle.announce(slot);
        }
    }

    /// Hands out idle slots in this order from now on. One that becomes idle at this moment may be left without a ticket, which
    /// [`claim_in_order`](Self::claim_in_order) allows for.
    pub fn set_idle_order(&self, order: IdleOrder) {
        if order == self.idle.order() {
            return;
        }
        self.idle.orders.add(1);
        self.idle.order.set(match order {
            IdleOrder::Recent => 0,
            IdleOrder::Fifo => 1,
            IdleOrder::LeastRecentlyUsed => 2,
        });
        self.tidy_line(0);
        let mut idle: Vec<_> = self.slots.iter().filter(|slot| slot.word.is_idle()).collect();
        idle.sort_by_key(|slot| slot.last_use());
        for slot in idle {
            self.idle.announce(slot);
        }
    }

    /// Throws away the tickets of connections that are gone if there are more than `limit` tickets. Those that stay keep their order, unless somebody takes or
    /// adds one meanwhile.
    pub fn tidy_line(&self, limit: usize) {
        let tickets = self.idle.line.len();
        if tickets <= limit {
            return;
        }
        for ticket in (0..tickets).map_while(|_| self.idle.line.pop()) {
            if self.slots.get(ticket.index as usize).is_some_and(|slot| slot.in_line.is(ticket.number)) {
                self.idle.line.push(ticket);
            }
        }
    }

    /// Notes that a claimed slot has been used, for the order that wants to know.
    pub fn note_use(&self, claim: &Claim<C>) {
        if self.idle.order() == IdleOrder::LeastRecentlyUsed {
            self.facts(claim).last_use.set(self.idle.uses.next() + 1);
        }
    }

    /// Claims the idle slot whose turn it is.
    pub fn claim_in_order(&self) -> Option<Claim<C>> {
        match self.idle.order() {
            // A slot may have become idle without a ticket while the order was changed, and one may be about to get its ticket.
            IdleOrder::Fifo => self.claim_next_in_line().or_else(|| self.claim_lowest()),
            IdleOrder::LeastRecentlyUsed => self.claim_least_recently_used(),
            IdleOrder::Recent => self.claim_lowest(),
        }
    }

    /// Claims the slot that became idle first, as far as tickets tell.
    pub fn claim_next_in_line(&self) -> Option<Claim<C>> {
        while let Some(ticket) = self.idle.line.pop() {
            let slot = self.slots.get(ticket.index as usize)?;
            // Before the attempt: whoever makes the slot idle after it finds no mark and leaves another ticket.
            if slot.in_line.lower(ticket.number)
                && let Some(claim) = self.claim(slot)
            {
                return Some(claim);
            }
        }
        None
    }

    fn claim_least_recently_used(&self) -> Option<Claim<C>> {
        loop {
            let idle = self.slots.iter().filter(|slot| slot.word.is_idle());
            let slot = idle.min_by_key(|slot| slot.last_use())?;
            // Otherwise somebody else has it: on to the next one.
            if let Some(claim) = self.claim(slot) {
                return Some(claim);
            }
        }
    }
}

impl<C> Slot<C> {
    /// Grows from one use to the next. Uses that nobody noted are as far apart as the epoch tells.
    fn last_use(&self) -> (u64, u64) {
        (self.facts.released_at.get(), self.facts.last_use.get())
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    /// Two slots: the second one is idle all the while, the first one gets one connection after the other.
    #[test]
    fn connections_that_are_gone_leave_no_tickets_behind() {
        let table = Table::<()>::new(2);
        table.set_idle_order(IdleOrder::Fifo);
        let open = || table.fill(table.claim_vacant().expect("a slot is vacant"), ());
        let park = |claim: Claim<()>| {
            let index = table.index(&claim);
            table.publish_idle(claim);
            table.announce_idle(index);
        };
        let (first, second) = (open(), open());
        park(second);
        park(first);
        for _ in 0..100 {
            let ((), vacancy) = table.take(table.claim_at(0).expect("it is idle"));
            table.publish_closed(vacancy);
            park(open());
            table.tidy_line(4);
            assert!(table.idle.line.len() <= 4);
        }
        let in_turn = [(); 3].map(|()| table.claim_next_in_line().map(|claim| table.index(&claim)));
        assert_eq!(in_turn, [Some(1), Some(0), None]);
    }
}
