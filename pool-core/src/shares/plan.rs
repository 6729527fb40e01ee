//! Who gives back what to whom, from what each has and wants.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Share;

/// One pool while it is decided.
#[derive(Debug)]
struct Part {
    id: u64,
    share: Share,
    /// What it has beyond its guarantee, with what it will get, and without what it will give.
    beyond: i64,
    left: usize,
    owed: usize,
    meant: usize,
    /// So many will be given back for it.
    promised: usize,
}

impl Part {
    fn has_nothing(&self) -> bool {
        self.share.held + self.meant + self.promised == 0
    }

    /// Whether it can give one back.
    fn lends(&self) -> bool {
        self.beyond > 0 && self.share.held > self.share.opening + self.owed
    }

    /// One more is for it.
    fn serve(&mut self) {
        self.left -= 1;
        self.beyond += 1;
    }
}

/// The pools by their place in the plan: first who is next to be served.
type Hungry = BinaryHeap<Reverse<(i64, u64, usize)>>;
/// First who has most; of equal ones, who took its last one first.
type Lenders = BinaryHeap<(i64, Reverse<u64>, usize)>;

/// A decision in the making.
#[derive(Debug)]
pub(super) struct Plan {
    parts: Vec<Part>,
    hungry: Hungry,
    lenders: Lenders,
    /// So many are wanted that nobody has too many for.
    unserved: usize,
}

impl Plan {
    pub(super) fn new(shares: impl Iterator<Item = (u64, Share)>) -> Self {
        let part = |(id, share): (u64, Share)| {
            let (beyond, left) = (share.beyond(), share.wants);
            Part { id, share, beyond, left, owed: 0, meant: 0, promised: 0 }
        };
        let parts: Vec<_> = shares.map(part).collect();
        let open = || parts.iter().enumerate().filter(|(_, part)| !part.share.closed);
        let hungry = open().filter(|(_, part)| part.left > 0);
        let hungry = hungry.map(|(place, part)| Reverse((part.beyond, part.share.since, place))).collect();
        let lenders = open().filter(|(_, part)| part.lends());
        let lenders = lenders.map(|(place, part)| (part.beyond, Reverse(part.share.took), place)).collect();
        Self { hungry, lenders, unserved: 0, parts }
    }

    /// There are so many too many.
    pub(super) fn take_back(&mut self, over: usize) {
        for _ in 0..over {
            let Some((_, _, lender)) = self.lenders.pop() else { return };
            self.owe(lender);
        }
    }

    /// So many are free.
    pub(super) fn share_out(&mut self, free: usize) {
        for _ in 0..free {
            let Some(Reverse((_, _, place))) = self.hungry.pop() else { return };
            self.parts[place].serve();
            self.parts[place].meant += 1;
            self.queue(place);
        }
    }

    /// Those who have most beyond their guarantee give to those who have less.
    pub(super) fn lend(&mut self) {
        while let Some(Reverse((beyond, _, place))) = self.hungry.pop() {
            let nothing = self.parts[place].has_nothing();
            let fits = |(most, _, lender): &(i64, Reverse<u64>, usize)| {
                *lender != place && (nothing || *most >= beyond.saturating_add(2))
            };
            if !self.lenders.peek().is_some_and(fits) {
                self.unserved += self.parts[place].left;
                continue;
            }
            if let Some((_, _, lender)) = self.lenders.pop() {
                self.owe(lender);
                self.parts[place].serve();
                self.parts[place].promised += 1;
                self.queue(place);
            }
        }
    }

    /// What nobody uses is for those who want some, whatever they have.
    pub(super) fn lend_unused(&mut self) {
        while self.unserved > 0 {
            let Some((_, _, lender)) = self.lenders.pop() else { return };
            let Part { share, owed, .. } = &self.parts[lender];
            if share.wants == 0 && *owed < share.unused {
                self.unserved -= 1;
                self.owe(lender);
            }
        }
    }

    fn owe(&mut self, lender: usize) {
        let part = &mut self.parts[lender];
        part.owed += 1;
        part.beyond -= 1;
        if part.lends() {
            self.lenders.push((part.beyond, Reverse(part.share.took), lender));
        }
    }

    /// Those who want still more wait again.
    fn queue(&mut self, place: usize) {
        let part = &self.parts[place];
        if part.left > 0 {
            self.hungry.push(Reverse((part.beyond, part.share.since, place)));
        }
    }

    /// How many of those that are free are meant for one.
    pub(super) fn meant_for(&self, id: u64) -> usize {
        self.parts.iter().find(|part| part.id == id).map_or(0, |part| part.meant)
    }

    /// How many each owes, and how many of those that are free are meant for it.
    pub(super) fn outcome(self) -> impl Iterator<Item = (u64, usize, usize)> {
        self.parts.into_iter().map(|part| (part.id, part.owed, part.meant))
    }
}
