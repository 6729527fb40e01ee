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
    /// The one that became idle first: all connections are used in turn. A ping does not move a connection to the back. Costs a queue,
    /// which allocates now and then.
    Fifo,
    /// The one whose last use is longest ago, exactly. Looks at every slot.
    LeastRecentlyUsed,
}

/// The order in force, and what it has to remember. The gate says whether anybody has to ask here at all.
#[derive(Debug)]
pub(super) struct Idle {
    order: Figure,
    /// Slots in the order in which they became idle. A slot that was claimed by name leaves its ticket behind, and has none other until that
    /// one is found to be stale or the slot is idle again; so there is one for each slot at most.
    line: CachePadded<SegQueue<u32>>,
    uses: CachePadded<Counter>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { order: Figure::default(), line: CachePadded::new(SegQueue::new()), uses: CachePadded::default() }
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
        if self.order() == IdleOrder::Fifo && slot.in_line.raise() {
            self.line.push(slot.index);
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

    /// Hands out idle slots in this order from now on. Those that are idle now come in the order of their place.
    pub fn set_idle_order(&self, order: IdleOrder) {
        self.idle.order.set(match order {
            IdleOrder::Recent => 0,
            IdleOrder::Fifo => 1,
            IdleOrder::LeastRecentlyUsed => 2,
        });
        self.slots.iter().filter(|slot| slot.word.is_idle()).for_each(|slot| self.idle.announce(slot));
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
        while let Some(index) = self.idle.line.pop() {
            let slot = self.slots.get(index as usize)?;
            // Before the attempt: whoever makes the slot idle after it finds no ticket and leaves one.
            slot.in_line.lower();
            if let Some(claim) = self.claim(slot) {
                return Some(claim);
            }
        }
        None
    }

    fn claim_least_recently_used(&self) -> Option<Claim<C>> {
        loop {
            let idle = self.slots.iter().filter(|slot| slot.word.is_idle());
            let slot = idle.min_by_key(|slot| slot.facts.last_use.get())?;
            // Otherwise somebody else has it: on to the next one.
            if let Some(claim) = self.claim(slot) {
                return Some(claim);
            }
        }
    }
}
