//! Connections that several use at a time.
//!
//! A connection is shared from when one who shares takes it, idle or from the hand of a release, until the last of its users leaves; then it comes back as any other.
//! What the pool has to say to it meanwhile it says by letting nobody join any more.

use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use super::acquire::Waiting;
use super::limit::Limit;
use super::panics::{caught, report};
use super::release::{Condition, Occasion};
use super::want::Want;
use super::warnings::Warning;
use super::{Engine, hint};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::gate::Joined;
use crate::handoff::{Found, Parted, Usher};
use crate::sharing::Party;
use crate::slot::{Claim, Facts, SharedClaim};
use crate::trace::may_be_wanted;

/// A place beside others, or as the first.
pub(crate) async fn share<D: Driver<Connection: Sync>>(
    engine: &Arc<Engine<D>>,
    limit: Limit,
    place: &'static Location<'static>,
) -> Result<SharedClaim<D::Connection>, AcquireError> {
    if let Some(found) = engine.share_at_once(Occasion::AtOnce) {
        if may_be_wanted() {
            engine.tell_place_at_once(engine.id(found.claim()), place);
        }
        return Ok(found);
    }
    // Owned across the await: what `Waiting` says.
    match Waiting::<D, Together>::new(engine, limit, place).telling().await? {
        Taken::Whole(claim) => Ok(engine.let_in(claim)),
        Taken::Place(place) => Ok(place),
    }
}

/// A connection, or a place beside others.
struct Together;

enum Taken<C> {
    Whole(Claim<C>),
    Place(SharedClaim<C>),
}

impl<C> Want<C> for Together {
    const SHARES: bool = true;
    const IS_CALLER: bool = true;
    type Taken = Taken<C>;

    fn whole(claim: Claim<C>) -> Taken<C> {
        Taken::Whole(claim)
    }

    fn place(place: SharedClaim<C>) -> Taken<C> {
        Taken::Place(place)
    }

    fn claim(taken: &Taken<C>) -> &Claim<C> {
        match taken {
            Taken::Whole(claim) => claim,
            Taken::Place(place) => place.claim(),
        }
    }
}

/// How many may use a connection at a time, as the driver says.
pub(super) fn most_users<D: Driver>(driver: &D) -> usize {
    caught(|| driver.shared_by()).unwrap_or_else(|message| {
        report(|| tracing::error!(panic = message, "asking how many may share a connection panicked; nobody does"));
        0
    })
}

impl<D: Driver<Connection: Sync>> Engine<D> {
    /// A place, if nobody waits: on an idle connection, or else beside others.
    pub(crate) fn share_at_once(&self, occasion: Occasion) -> Option<SharedClaim<D::Connection>> {
        loop {
            // Where this thread has just left a place, or anywhere.
            let start = hint::take(self.core.table.id()).next();
            match self.core.find_room(start.map_or_else(|| self.random.next(), |index| index as u64))? {
                Found::Idle(claim) => {
                    if let Some(claim) = self.take_idle(claim, occasion)? {
                        return Some(self.let_in(claim));
                    }
                }
                Found::Place(place, party) => match self.look_at_place(place, party) {
                    Some(place) if self.core.may_keep(self.core.table.facts(place.claim())) => {
                        self.ask_for_room(party);
                        return Some(place);
                    }
                    // The pool is paused or closed.
                    Some(place) => self.leave_unused(place),
                    None => {}
                },
            }
        }
    }

    /// As `share_at_once`, for somebody who does not wait.
    pub(crate) fn share_patiently(&self) -> Option<SharedClaim<D::Connection>> {
        self.try_patiently(|| self.share_at_once(Occasion::WithoutWaiting))
    }

    /// An idle connection that was claimed, if it may be used; `Some(None)` if it has gone elsewhere, and there may be another one.
    #[allow(clippy::option_option)] // both say something
    fn take_idle(&self, mut claim: Claim<D::Connection>, occasion: Occasion) -> Option<Option<Claim<D::Connection>>> {
        let slot = self.core.table.open(&mut claim);
        match self.condition_of(slot.facts, slot.connection, occasion) {
            Condition::Usable if self.core.may_keep(slot.facts) => {
                self.count_use(slot.facts);
                Some(Some(claim))
            }
            other => self.set_aside(claim, other).map(|()| None),
        }
    }

    /// Lets others in.
    pub(crate) fn let_in(&self, claim: Claim<D::Connection>) -> SharedClaim<D::Connection> {
        self.time_no_more(self.core.table.facts(&claim));
        let (place, is_wanted) = self.core.let_in(claim);
        if is_wanted {
            self.admit();
        }
        place
    }
}

impl<D: Driver> Engine<D> {
    /// Calls the janitor if a newcomer has found no connection with fewer users than this, and that is many. Nobody waits for what is opened then.
    fn ask_for_room(&self, party: Party) {
        if self.is_crowd(party) && !self.crowd.is_up() {
            let room = self.core.capacity.read();
            if room.open < room.max && room.opening == 0 {
                // Once: if nothing can be opened now, the janitor knows when to try again.
                self.crowd.raise();
                self.bell.notify_one();
            }
        }
    }

    /// Whether more than half of the places on a connection are taken.
    fn is_crowd(&self, party: Party) -> bool {
        let most = self.core.sharing.most();
        most > 1 && party.users() * 2 > most
    }

    /// One connection more than there are, if none is idle and all that are shared are crowded: callers spread over more connections before they have to wait for one.
    pub(super) fn crowded(&self) -> usize {
        if !self.core.shares() {
            return 0;
        }
        let mut parties = self.core.sharing.parties().filter(|party| !party.is_shut()).peekable();
        let is_crowded = parties.peek().is_some() && parties.all(|party| self.is_crowd(party));
        if !is_crowded || self.core.table.counts().idle > 0 {
            self.crowd.lower();
            return 0;
        }
        let room = self.core.capacity.read();
        room.open.saturating_sub(room.opening) + 1
    }

    /// A user leaves. Runs inside `Drop`, as a release does.
    pub(crate) fn leave_shared(&self, place: SharedClaim<D::Connection>) {
        let index = self.core.table.index(place.claim());
        let parted = self.core.part(place);
        if matches!(parted, Parted::Room) {
            // A release remembers the slot by itself.
            hint::put(self.core.table.id(), index);
        }
        self.conclude_leave(parted);
    }

    /// As `leave_shared`, for one who says that the connection is of no further use: nobody joins any more, and the last one closes it.
    pub(crate) fn discard_shared(&self, place: SharedClaim<D::Connection>) {
        self.core.shut(&place, true);
        self.leave_shared(place);
    }

    /// For a user: nobody joins any more, and the connection comes back when all have left.
    pub(crate) fn shut_shared(&self, place: &SharedClaim<D::Connection>) {
        self.core.shut(place, false);
    }

    /// How many use the connection.
    pub(crate) fn users_of(&self, place: &SharedClaim<D::Connection>) -> usize {
        self.core.sharing.party(self.core.table.index(place.claim())).users()
    }

    /// As `leave_shared`, for a place that nobody has used.
    pub(super) fn leave_unused(&self, place: SharedClaim<D::Connection>) {
        self.conclude_leave(self.core.part_unused(place));
    }

    fn conclude_leave(&self, parted: Parted<D::Connection>) {
        match parted {
            Parted::Room if self.core.is_room_wanted() => self.admit(),
            Parted::Room => {}
            Parted::Whole(claim, party) => {
                // The first one has been counted when it got it.
                self.count_more_uses(self.core.table.facts(&claim), party.joined().saturating_sub(1));
                if party.is_discarded() { self.discard(claim) } else { self.release(claim) }
            }
        }
    }

    /// Admits those who share, if the oldest waiter is one of them and there is room. Called by whoever has made room, or has changed who is the oldest.
    #[inline]
    pub(super) fn admit(&self) {
        if self.core.shares() {
            self.admit_those_who_share();
        }
    }

    #[cold]
    #[inline(never)] // or those who do not share would pay for it
    fn admit_those_who_share(&self) {
        self.core.admit(&mut Door(self));
    }

    /// A place on a connection that is to take another user. Otherwise nobody joins any more, and it is left.
    fn look_at_place(&self, place: SharedClaim<D::Connection>, party: Party) -> Option<SharedClaim<D::Connection>> {
        let facts = self.core.table.facts(place.claim());
        let uses = facts.uses.get() + party.joined().saturating_sub(1);
        let left = self.uses_left(facts, uses);
        if left.is_none() || self.is_to_drain(facts) || !self.takes_another(&place) {
            self.core.shut(&place, false);
            self.leave_unused(place);
            return None;
        }
        if left == Some(0) {
            self.core.shut(&place, false);
        }
        Some(place)
    }

    /// Whether the driver lets another one use the connection of this place.
    fn takes_another(&self, place: &SharedClaim<D::Connection>) -> bool {
        let connection = self.connection(place.claim());
        caught(|| self.driver.takes_another(connection)).unwrap_or_else(|message| {
            self.panicked(
                Warning::Another,
                &message,
                "asking whether another one may share a connection panicked; nobody does",
            );
            false
        })
    }

    /// Whether a connection is to come back before anybody else uses it: it is from before a retirement, or too old, or one that replaces it is there, or there are more
    /// than the maximum.
    fn is_to_drain(&self, facts: &Facts) -> bool {
        let sight = self.core.gate().glance();
        sight.generation() != facts.generation()
            || (sight.is_oversize() && self.are_too_few_drained())
            || (facts.is_doubtful(self.epoch.get()) && self.has_to_leave(facts))
    }

    /// Whether fewer connections are shut than there are too many.
    #[cold]
    fn are_too_few_drained(&self) -> bool {
        let shut = self.core.sharing.parties().filter(|party| party.is_shut()).count();
        self.core.capacity.read().excess() > shut
    }

    fn has_to_leave(&self, facts: &Facts) -> bool {
        facts.expires_at.get() <= self.epoch.get() || (self.may_leave.left() > 0 && self.due(facts).is_some())
    }

    /// Gives back a place that was meant for one who has left, and the count that has come with it.
    pub(super) fn settle_place(&self, place: SharedClaim<D::Connection>, restored: Option<Joined>) {
        self.core.settle_debt(restored, &mut Door(self));
        self.leave_unused(place);
    }

    /// Whether several use the connection of a slot.
    pub(super) fn is_shared(&self, facts: &Facts) -> bool {
        self.core.sharing.party(facts.index()).users() > 0
    }
}

/// The one who admits.
struct Door<'a, D: Driver>(&'a Engine<D>);

impl<D: Driver> Usher<D::Connection> for Door<'_, D> {
    fn judge(&mut self, place: SharedClaim<D::Connection>, party: Party) -> Option<SharedClaim<D::Connection>> {
        self.0.look_at_place(place, party)
    }

    fn leave(&mut self, place: SharedClaim<D::Connection>) {
        self.0.leave_unused(place);
    }

    fn wake(&mut self, waker: Waker) {
        self.0.wake(waker);
    }

    fn serve(&mut self, claim: Claim<D::Connection>) -> bool {
        self.0.serve(claim)
    }
}
