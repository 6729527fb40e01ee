//! Who has how many connections of a budget that several pools share, who wants more, and who gives some back for that. No lock, no clock: every change says whom it concerns.
//!
//! What a pool has *beyond* its guarantee decides, and may be negative:
//!
//! * What is free is for the pool that has least beyond, of equal ones for the one that waits for longest.
//! * When nothing is free, the pool that has most beyond gives one back; only what is beyond, and only if it has as much as the other one afterwards, or the other one has nothing at all. So two pools that want everything
//!   come to rest with equal parts, a pool below its guarantee is always served (what the others have beyond is at least what it lacks), and more pools than there are connections take turns.
//! * What a pool has not used for a while it gives back even if the other one has more.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use plan::Plan;

/// One pool of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// So many it can have whatever others want.
    pub(crate) guaranteed: usize,
    /// So many it has: open, being opened, or being closed.
    pub(crate) held: usize,
    /// Of these, so many are being opened. They are not lent before somebody has had them: two pools could take them from each other for ever.
    opening: usize,
    /// So many more it could use at once.
    pub(crate) wants: usize,
    /// So many it is to give back.
    pub(crate) owed: usize,
    /// So many free ones are meant for it.
    meant: usize,
    /// So many were not used for a while.
    unused: usize,
    /// Since when it wants some, and when it took the last one: numbers that grow.
    since: u64,
    took: u64,
    /// It opens no more.
    closed: bool,
}

impl Share {
    fn beyond(&self) -> i64 {
        signed(self.held) - signed(self.guaranteed)
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whom a change concerns: those who owe another number than before, and those for whom something is free.
pub(crate) type Concerned = Vec<u64>;

/// All of them.
#[derive(Debug)]
pub(crate) struct Shares {
    cap: usize,
    all: BTreeMap<u64, Share>,
    joined: u64,
    moment: u64,
    /// Whether anybody owes anything, or something is meant for somebody.
    planned: bool,
}

impl Shares {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, all: BTreeMap::new(), joined: 0, moment: 0, planned: false }
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// Each of them, in the order in which they joined.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Share> {
        self.all.values()
    }

    pub(crate) fn get(&self, id: u64) -> Share {
        self.all.get(&id).copied().unwrap_or_default()
    }

    fn sum(&self, of: fn(&Share) -> usize) -> usize {
        self.all().map(of).sum()
    }

    pub(crate) fn held(&self) -> usize {
        self.sum(|share| share.held)
    }

    pub(crate) fn guaranteed(&self) -> usize {
        self.sum(|share| share.guaranteed)
    }

    pub(crate) fn wanted(&self) -> usize {
        self.sum(|share| share.wants)
    }

    /// How many nobody has.
    pub(crate) fn free(&self) -> usize {
        self.cap.saturating_sub(self.held())
    }

    /// Whether so many can be guaranteed to one pool, with what is guaranteed to the others.
    fn can_guarantee(&self, id: u64, guaranteed: usize) -> bool {
        let others = self.guaranteed() - self.get(id).guaranteed;
        guaranteed <= self.cap.saturating_sub(others)
    }

    /// Another pool, if so many can be guaranteed to it.
    pub(crate) fn join(&mut self, guaranteed: usize) -> Option<u64> {
        let id = self.joined;
        if !self.can_guarantee(id, guaranteed) {
            return None;
        }
        self.joined += 1;
        self.all.insert(id, Share { guaranteed, ..Share::default() });
        Some(id)
    }

    /// The pool and all that it had is gone.
    pub(crate) fn leave(&mut self, id: u64) -> Concerned {
        self.all.remove(&id);
        self.plan()
    }

    /// It opens no more, and gives back what it has.
    pub(crate) fn close(&mut self, id: u64) -> Concerned {
        self.change(id, |share| {
            *share = Share { held: share.held, opening: share.opening, closed: true, ..Share::default() }
        })
    }

    /// Another guarantee, if there can be so many. `None` if not.
    pub(crate) fn guarantee(&mut self, id: u64, guaranteed: usize) -> Option<Concerned> {
        if !self.can_guarantee(id, guaranteed) {
            return None;
        }
        Some(self.change(id, |share| share.guaranteed = if share.closed { 0 } else { guaranteed }))
    }

    /// Another cap, if it is not less than what is guaranteed. `None` if it is.
    pub(crate) fn resize(&mut self, cap: usize) -> Option<Concerned> {
        if cap < self.guaranteed() {
            return None;
        }
        self.cap = cap;
        Some(self.plan())
    }

    /// Takes one, if one is free that nobody else has a better claim to; for somebody who does not `need` it, only if there are enough for all who do. `None` if not.
    pub(crate) fn take(&mut self, id: u64, need: bool) -> Option<Concerned> {
        let share = self.get(id);
        let others = self.wanted() - share.wants;
        let needs = need || share.held < share.guaranteed;
        let allowed = self.free() > others || (needs && self.is_next(id));
        if share.closed || !allowed {
            return None;
        }
        self.moment += 1;
        let moment = self.moment;
        Some(self.change(id, |share| {
            share.held += 1;
            share.opening += 1;
            share.wants = share.wants.saturating_sub(1);
            (share.since, share.took) = (moment, moment);
            share.unused = 0;
        }))
    }

    /// Whether one of the free ones would be meant for it if it wanted one.
    fn is_next(&self, id: u64) -> bool {
        self.available(id, 1) > 0
    }

    /// How many of the free ones would be meant for it if it wanted at least so many.
    pub(crate) fn available(&self, id: u64, wants: usize) -> usize {
        let others = self.wanted() - self.get(id).wants;
        if others == 0 {
            return self.free().min(wants);
        }
        let now = self.moment + 1;
        let mut plan = Plan::new(self.all.iter().map(|(other, share)| {
            let asks = *other == id && share.wants < wants;
            let since = if share.wants == 0 { now } else { share.since };
            (*other, if asks { Share { wants, since, ..*share } } else { *share })
        }));
        plan.share_out(self.free());
        plan.meant_for(id)
    }

    /// Whether it could have more than it holds if it wanted more: one is free, or somebody else has one beyond its guarantee.
    pub(crate) fn may_grow(&self, id: u64) -> bool {
        self.free() > 0 || self.all.iter().any(|(other, share)| *other != id && share.beyond() > 0)
    }

    /// Whether one is free that nobody needs.
    pub(crate) fn has_spare(&self) -> bool {
        self.free() > self.wanted()
    }

    /// One that was being opened is open, and whoever waited for it has it.
    pub(crate) fn opened(&mut self, id: u64) -> Concerned {
        self.change(id, |share| share.opening = share.opening.saturating_sub(1))
    }

    /// One is free again.
    pub(crate) fn give(&mut self, id: u64) -> Concerned {
        self.change(id, |share| share.held = share.held.saturating_sub(1))
    }

    /// One is free again that was being opened.
    pub(crate) fn give_up(&mut self, id: u64) -> Concerned {
        self.change(id, |share| {
            share.held = share.held.saturating_sub(1);
            share.opening = share.opening.saturating_sub(1);
        })
    }

    /// It could use so many more.
    pub(crate) fn want(&mut self, id: u64, wants: usize) -> Concerned {
        let before = self.get(id);
        if before.wants == wants || before.closed {
            return Concerned::new();
        }
        self.moment += 1;
        let since = if before.wants == 0 { self.moment } else { before.since };
        self.change(id, |share| (share.wants, share.since) = (wants, since))
    }

    /// So many of those that it has were not used for a while.
    pub(crate) fn note_unused(&mut self, id: u64, unused: usize) -> Concerned {
        if self.get(id).unused == unused {
            return Concerned::new();
        }
        self.change(id, |share| share.unused = unused)
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Share)) -> Concerned {
        self.all.get_mut(&id).map(change);
        self.plan()
    }

    /// Decides anew who owes what, and for whom something is free.
    fn plan(&mut self) -> Concerned {
        // Those that are closed give back what they have anyway.
        let leaving: usize = self.all().filter(|share| share.closed).map(|share| share.held).sum();
        let over = self.held().saturating_sub(self.cap + leaving);
        let at_rest = over == 0 && self.wanted() == 0;
        if at_rest && !self.planned {
            return Concerned::new();
        }
        let mut plan = Plan::new(self.all.iter().map(|(id, share)| (*id, *share)));
        plan.take_back(over);
        plan.share_out(self.free());
        plan.lend();
        plan.lend_unused();
        self.planned = false;
        let mut concerned = Concerned::new();
        for (id, owed, meant) in plan.outcome() {
            let Some(share) = self.all.get_mut(&id) else { continue };
            if owed != share.owed || meant > share.meant {
                concerned.push(id);
            }
            (share.owed, share.meant) = (owed, meant);
            self.planned |= owed > 0 || meant > 0;
        }
        concerned
    }
}
