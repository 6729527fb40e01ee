//! A pool whose connections several use at a time, for the models: the moves of the engine, as in `common.rs`.

use std::future::poll_fn;
use std::panic::Location;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use pool_core::internals::{
    Claim, Entry, Found, Grant, IdleOrder, Joined, Left, Offered, Parted, Party, SharedClaim, Ticket, Usher,
};

use crate::common::{Pool, close_leaving, open, retire, touch};

/// A pool whose connections several use, and what the racers hand to each other out of sight of the model.
pub(crate) struct Scene {
    pub(crate) core: Pool,
    held: Mutex<Vec<Claim<u64>>>,
    places: Mutex<Vec<SharedClaim<u64>>>,
    tickets: Mutex<Vec<Ticket>>,
}

/// What somebody has who shares.
pub(crate) enum Mine {
    Place(SharedClaim<u64>),
    Closed,
}

impl Scene {
    /// A pool in which so many use a connection.
    pub(crate) fn new(most: usize, max_size: usize) -> Self {
        let core = Pool::new(max_size, IdleOrder::Recent).shared_by(most);
        Self { core, held: Mutex::default(), places: Mutex::default(), tickets: Mutex::default() }
    }

    /// With idle connections.
    pub(crate) fn with_idle(self, idle: usize) -> Self {
        for number in 0..idle {
            let claim = open(&self.core, number as u64);
            self.release(claim);
        }
        self
    }

    /// With connections that somebody has alone.
    pub(crate) fn with_held(self, held: usize) -> Self {
        for number in 0..held {
            self.held.lock().unwrap().push(open(&self.core, number as u64));
        }
        self
    }

    /// With a connection that so many use.
    pub(crate) fn with_users(self, users: usize) -> Self {
        let claim = open(&self.core, 7);
        let first = self.let_in(claim);
        let mut places = vec![first];
        for _ in 1..users {
            let Some(Found::Place(place, _)) = self.core.find_room(0) else { panic!("there is room") };
            places.push(place);
        }
        *self.places.lock().unwrap() = places;
        self
    }

    /// With waiters that have joined one after the other; whether each shares.
    pub(crate) fn with_waiters(self, waiters: &[bool]) -> Self {
        for shares in waiters {
            let Ok(ticket) = self.join(&Context::from_waker(Waker::noop()), *shares) else { panic!("nothing is free") };
            self.tickets.lock().unwrap().push(ticket);
        }
        self
    }

    pub(crate) fn held(&self) -> Claim<u64> {
        self.held.lock().unwrap().pop().expect("the model holds one more")
    }

    pub(crate) fn place(&self) -> SharedClaim<u64> {
        self.places.lock().unwrap().pop().expect("the model has one more place")
    }

    /// The waiter that has waited for longest.
    pub(crate) fn waiter(&self) -> Ticket {
        self.tickets.lock().unwrap().remove(0)
    }

    pub(crate) fn admit(&self) {
        self.core.admit(&mut Door(self));
    }

    pub(crate) fn let_in(&self, claim: Claim<u64>) -> SharedClaim<u64> {
        let (place, is_wanted) = self.core.let_in(claim);
        if is_wanted {
            self.admit();
        }
        place
    }

    pub(crate) fn leave(&self, place: SharedClaim<u64>) {
        match self.core.part(place) {
            Parted::Room if self.core.is_room_wanted() => self.admit(),
            Parted::Room => {}
            Parted::Whole(mut claim, _) => {
                touch(&self.core, &mut claim);
                self.release(claim);
            }
        }
    }

    pub(crate) fn release(&self, claim: Claim<u64>) {
        match self.core.begin_release(claim) {
            Ok(_) => {}
            Err(unfinished) => self.follow_up(self.core.finish(unfinished)),
        }
    }

    pub(crate) fn follow_up(&self, offered: Offered<u64>) {
        match offered {
            Offered::Parked | Offered::Paused => {}
            Offered::Handed(waker) => waker.into_iter().for_each(Waker::wake),
            Offered::Closed(claim) | Offered::Outdated(claim) => retire(&self.core, claim),
            Offered::Excess(claim) => close_leaving(&self.core, claim),
        }
        self.admit();
    }

    pub(crate) fn offer(&self, claim: Claim<u64>) -> bool {
        self.follow_up(self.core.offer(claim));
        true
    }

    pub(crate) fn join(&self, context: &Context<'_>, shares: bool) -> Result<Ticket, Grant<u64>> {
        let (core, waker) = (&self.core, context.waker().clone());
        let (entry, joined, _) = core.join(waker, u64::MAX, Location::caller(), shares, |claim| self.offer(claim));
        if shares {
            self.admit();
        }
        match entry {
            Entry::Queued(ticket) if joined == Joined::Closed => {
                self.pass_on(self.give_up(ticket));
                core.send_away(Waker::wake);
                Err(Grant::Closed)
            }
            Entry::Queued(ticket) => Ok(ticket),
            Entry::Served(grant) => Err(grant),
        }
    }

    /// Leaves the queue, with what came first.
    pub(crate) fn give_up(&self, ticket: Ticket) -> Option<Grant<u64>> {
        match self.core.leave(ticket) {
            Left::Nothing => self.admit(),
            Left::Grant(grant) => return Some(grant),
            Left::PassedOn(offered) => self.follow_up(offered),
            Left::Place(place, restored) => {
                self.core.settle_debt(restored, &mut Door(self));
                self.leave_unused(place);
            }
        }
        None
    }

    pub(crate) fn leave_unused(&self, place: SharedClaim<u64>) {
        match self.core.part_unused(place) {
            Parted::Room if self.core.is_room_wanted() => self.admit(),
            Parted::Room => {}
            Parted::Whole(claim, _) => self.release(claim),
        }
    }

    pub(crate) fn pass_on(&self, grant: Option<Grant<u64>>) {
        match grant {
            Some(Grant::Slot(claim)) => drop(self.offer(claim)),
            Some(Grant::Shared(place)) => self.leave_unused(place),
            _ => {}
        }
    }

    /// Waits until a grant comes. Loom reports a deadlock if none does.
    pub(crate) fn wait(&self, shares: bool) -> Grant<u64> {
        let mut ticket = None;
        loom::future::block_on(poll_fn(|context| {
            if ticket.is_none() {
                match self.join(context, shares) {
                    Ok(mine) => ticket = Some(mine),
                    Err(grant) => return Poll::Ready(grant),
                }
            }
            self.core.look(&mut ticket, context.waker()).map_or(Poll::Pending, Poll::Ready)
        }))
    }

    /// Takes what was found, unless the pool has been closed meanwhile.
    pub(crate) fn take(&self, found: Found<u64>) -> Option<SharedClaim<u64>> {
        let may_keep = |claim: &Claim<u64>| self.core.may_keep(self.core.table.facts(claim));
        match found {
            Found::Idle(claim) if may_keep(&claim) => return Some(self.let_in(claim)),
            Found::Idle(claim) => drop(self.offer(claim)),
            Found::Place(place, _) if may_keep(place.claim()) => return Some(place),
            Found::Place(place, _) => self.leave_unused(place),
        }
        None
    }

    /// As one who shares.
    pub(crate) fn share(&self) -> Mine {
        while let Some(found) = self.core.find_room(0) {
            if let Some(place) = self.take(found) {
                return Mine::Place(place);
            }
        }
        match self.wait(true) {
            Grant::Slot(claim) => Mine::Place(self.let_in(claim)),
            Grant::Shared(place) => Mine::Place(place),
            Grant::Closed => Mine::Closed,
            grant => panic!("nobody fails or is late in these models: {grant:?}"),
        }
    }

    /// What the waiter that has waited for longest has got by now.
    pub(crate) fn granted(&self) -> Option<Grant<u64>> {
        self.core.look(&mut Some(self.waiter()), Waker::noop())
    }
}

struct Door<'a>(&'a Scene);

impl Usher<u64> for Door<'_> {
    fn judge(&mut self, place: SharedClaim<u64>, _: Party) -> Option<SharedClaim<u64>> {
        Some(place)
    }

    fn leave(&mut self, place: SharedClaim<u64>) {
        self.0.leave_unused(place);
    }

    fn wake(&mut self, waker: Waker) {
        waker.wake();
    }

    fn serve(&mut self, claim: Claim<u64>) -> bool {
        self.0.offer(claim)
    }
}
