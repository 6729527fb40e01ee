//! Slots that several use at a time, and how those get there who wait.
//!
//! There is one queue, in the order of arrival. A waiter that shares takes a whole slot as any other does, and lets others in; or it is *admitted* to a slot that is open
//! to others. Only the oldest waiter is ever admitted: while it is one that wants a slot for itself nobody is, and newcomers queue, so that users leave and do not
//! come until one of the slots is nobody's. That one goes the way of a release.
//!
//! Whoever makes room, or changes who is the oldest, calls [`Core::admit`] afterwards, unless nobody waits. One of them admits at a time; the others leave a call, and it is
//! done once more. So whatever one of them has changed is seen by the one who looks after that.

use std::task::Waker;

use super::{Core, SHARED};
use crate::gate::Joined;
use crate::queue::{Note, Resumed};
use crate::sharing::{Party, Remaining};
use crate::slot::{Claim, Facts, SharedClaim, Table};

/// How many slots a newcomer looks at before it takes the least used of them.
const LOOKS: usize = 16;

/// What a newcomer that shares finds.
#[derive(Debug)]
#[must_use = "a place has to be left, a claim to be given back"]
pub enum Found<C> {
    /// An idle slot. Whoever gets it asks whether it [may keep](Core::may_keep) it.
    Idle(Claim<C>),
    /// A place beside others, and what the word said then. Whoever gets it asks the same.
    Place(SharedClaim<C>, Party),
}

/// What remains when a user leaves.
#[derive(Debug)]
#[must_use = "the last user gives the slot back"]
pub enum Parted<C> {
    /// Others use the slot, and there may be room for those who wait.
    Room,
    /// The slot is the caller's, and what the word said.
    Whole(Claim<C>, Party),
}

/// The surroundings of an admission.
pub trait Usher<C> {
    /// Whether somebody may be admitted to a slot, with what its word says. Otherwise it is shut and left.
    fn judge(&mut self, place: SharedClaim<C>, party: Party) -> Option<SharedClaim<C>>;
    /// Gives a place back that nobody has used.
    fn leave(&mut self, place: SharedClaim<C>);
    /// Somebody has been admitted.
    fn wake(&mut self, waker: Waker);
    /// Offers an idle slot, as for [`Core::join`].
    fn serve(&mut self, claim: Claim<C>) -> bool;
}

impl<C> Core<C> {
    /// Lets so many use a slot at a time, at most 65 535.
    #[must_use]
    pub fn shared_by(mut self, most: usize) -> Self {
        self.sharing.set_most(most);
        self.sharing.grow_to(self.table.size());
        self
    }

    /// Whether several may use a slot.
    #[inline]
    pub fn shares(&self) -> bool {
        self.sharing.most() > 0
    }

    /// How often slots were leased, by those who share as well: at moments too few, if several are just being added up, and never too many.
    pub fn leases(&self) -> u64 {
        let of_slot = |facts: &Facts| {
            let alone = facts.uses.get();
            alone + self.sharing.beside_the_first(facts.index())
        };
        self.table.all_facts().map(of_slot).sum()
    }

    /// A slot for a newcomer that shares, unless somebody waits or the pool is closed or paused: an idle one, or a place in the one that the fewest use of those it looks at, from `start`
    /// on.
    pub fn find_room(&self, start: u64) -> Option<Found<C>> {
        if !self.gate.glance().lets_pass_in_order() {
            return None;
        }
        let size = self.table.size().max(1);
        let start = usize::try_from(start % size as u64).unwrap_or(0);
        // Once more for each that somebody else has taken meanwhile.
        loop {
            let index = self.least_used((0..size).map(|step| (start + step) % size))?;
            if let Some(claim) = self.table.claim_at(index) {
                return Some(Found::Idle(claim));
            }
            if let Some((place, party)) = self.enter(index) {
                return Some(Found::Place(place, party));
            }
        }
    }

    /// An idle slot, or the one with the fewest users among the first that are looked at, or the first with room after these.
    fn least_used(&self, slots: impl Iterator<Item = usize>) -> Option<usize> {
        let mut best = None;
        for (looked, index) in slots.enumerate() {
            if looked >= LOOKS && best.is_some() {
                break;
            }
            let party = self.sharing.party(index);
            if party.users() == 0 && self.table.is_idle(index) {
                return Some(index);
            }
            if let Some(users) = self.sharing.room_in(party)
                && best.is_none_or(|(fewest, _)| users < fewest)
            {
                best = Some((users, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Becomes another user of a slot, if there is room.
    fn enter(&self, index: usize) -> Option<(SharedClaim<C>, Party)> {
        let party = self.sharing.join(index)?;
        // SAFETY: counted above, and whoever has let others in has a `Sync` connection (`let_in`).
        let place = unsafe { self.table.join(index) }?;
        Some((place, party))
    }

    /// The owner of a slot lets others in, and becomes one of its users. `true` if somebody may wait for that: then it [admits](Self::admit).
    pub fn let_in(&self, claim: Claim<C>) -> (SharedClaim<C>, bool)
    where
        C: Sync,
    {
        let index = self.table.index(&claim);
        let place = Table::share(claim);
        self.sharing.let_in(index);
        (place, self.gate.look_after_publishing().to_be_served() > 0)
    }

    /// A user leaves.
    pub fn part(&self, place: SharedClaim<C>) -> Parted<C> {
        self.leave_place(place, true)
    }

    /// As `part`, for one that has not used the slot.
    pub fn part_unused(&self, place: SharedClaim<C>) -> Parted<C> {
        self.leave_place(place, false)
    }

    /// For a user: nobody joins any more. `discarded`: the connection is of no further use.
    pub fn shut(&self, place: &SharedClaim<C>, discarded: bool) {
        self.sharing.shut(self.table.index(place.claim()), discarded);
    }

    fn leave_place(&self, place: SharedClaim<C>, used: bool) -> Parted<C> {
        match self.sharing.leave(self.table.index(place.claim()), used) {
            Remaining::Others => Parted::Room,
            // SAFETY: this was the last user, and nobody joins a word that says so.
            Remaining::Nobody(party) => Parted::Whole(unsafe { place.into_claim() }, party),
        }
    }

    /// Whether somebody waits, for one who has made room.
    #[inline]
    pub fn is_room_wanted(&self) -> bool {
        self.gate.look_after_publishing().to_be_served() > 0
    }

    /// Admits those who share to the slots that are open to others, for as long as the oldest waiter is one of them and there is room. For one who has made room, or who
    /// has changed who is the oldest.
    pub fn admit(&self, usher: &mut impl Usher<C>) {
        if !self.sharing.call() {
            return;
        }
        let mut heard = 1;
        loop {
            while self.admit_one(usher) {}
            if self.sharing.is_done(&mut heard) {
                return;
            }
        }
    }

    /// `false` if nobody is to be admitted, as far as this can see.
    fn admit_one(&self, usher: &mut impl Usher<C>) -> bool {
        if self.gate.glance().to_be_served() == 0 || !self.queue.is_sharer_next() {
            return false;
        }
        let Some((place, party)) = self.least_used_place() else { return false };
        let Some(place) = usher.judge(place, party) else { return true };
        let generation = self.generation(place.claim());
        if !self.gate.begin_to_admit(generation) {
            usher.leave(place);
            return true;
        }
        self.sharing.sent.enter();
        let outcome = self.queue.resume_sharer(SHARED + self.table.note(&place));
        if let Some(Resumed::Delivered(waker)) = outcome {
            // The place is that one's.
            self.gate.end();
            if let Some(waker) = waker {
                usher.wake(waker);
            }
            return true;
        }
        self.sharing.sent.leave();
        let refused = outcome.is_some();
        if refused {
            self.gate.end();
        } else {
            self.settle_debt(Some(self.gate.restore()), usher);
        }
        usher.leave(place);
        refused
    }

    fn least_used_place(&self) -> Option<(SharedClaim<C>, Party)> {
        loop {
            let with_room =
                (0..self.table.size()).filter_map(|index| Some((self.sharing.users_with_room(index)?, index)));
            let (_, index) = with_room.min()?;
            if let Some(found) = self.enter(index) {
                return Some(found);
            }
        }
    }

    /// Does what is to be done when a count has come back: as if somebody had joined.
    pub fn settle_debt(&self, restored: Option<Joined>, usher: &mut impl Usher<C>) {
        match restored {
            None | Some(Joined::Behind) => {}
            Some(Joined::First) => {
                self.gate.fence_after_joining();
                self.serve(|claim| usher.serve(claim));
            }
            // Whoever closed the pool may have counted one waiter too few.
            Some(Joined::Closed) => self.send_away(|waker| usher.wake(waker)),
        }
    }

    /// Passes a place on that was meant for a waiter whose count somebody else was given: to the oldest waiter, if that one shares. Otherwise it comes back, and with it
    /// what the gate says about the count.
    pub(super) fn pass_on_place(&self, note: Note) -> Result<Option<Waker>, (SharedClaim<C>, Option<Joined>)> {
        let restored = match self.queue.resume_sharer(note) {
            Some(Resumed::Delivered(waker)) => return Ok(waker),
            Some(Resumed::Refused) => None,
            None => Some(self.gate.come_back()),
        };
        Err((self.place(note), restored))
    }

    /// The place that a note stands for, for the one who collects it.
    pub(super) fn place(&self, note: Note) -> SharedClaim<C> {
        self.sharing.sent.leave();
        // SAFETY: counted by `admit_one`, which sent the note; it is delivered once, to whoever collects it or takes it back, and the queue orders the delivery before
        // this.
        match unsafe { self.table.join((note - SHARED) as usize) } {
            Some(place) => place,
            None => unreachable!("slot {} is shared and does not exist", note - SHARED),
        }
    }
}
