//! Rotation: connections that reach their lifetime, or their number of uses, are replaced before they are closed, so that no caller pays for it.
//!
//! For each replacement, from the reservation on, one connection is counted as leaving: at first in the name of the opener, then in that of a permit, which a
//! connection that is due takes to leave. So nobody takes a connection beyond the maximum for a surplus whose reason is here. Whatever becomes of openers and
//! permits, the count comes back: with the connection that leaves, or by a recall, after which there may be a surplus.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::open::Opener;
use super::openers::Openers;
use crate::capacity::Room;
use crate::driver::Driver;
use crate::lifetime::{Due, RetireReason};
use crate::rotation::{Next, Progress};
use crate::slot::Facts;

#[derive(Default)]
pub(super) struct Rotation {
    /// Replacements that are being opened.
    opening: usize,
    /// For so many of them the permit has been given already.
    early: usize,
    /// A connection was let go for which no replacement has been opened yet.
    lost: Option<Lost>,
    /// More are due than are being replaced: it goes on with whatever comes to an end, and does not wait for the next round.
    more: bool,
    /// The epoch at which the next connection is due, as far as is known. That is not left to the rounds: its time may be short, and theirs long.
    next: Option<u64>,
}

/// So many milliseconds are between two looks at all connections at the least, or as many as between rounds if that is less.
const PACE: u64 = 10;

/// At the maximum: one connection goes first, and its replacement comes after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// One may leave.
    Allowed,
    /// Its replacement is being opened.
    Reopening,
}

/// What is due.
#[derive(Default)]
struct Found {
    /// Those that are needed.
    needed: usize,
    /// Of these, those whose time is nearly over.
    in_time: usize,
    /// Those that nobody misses, and that should not stay because all are to be replaced.
    unneeded: usize,
    /// When the next one is due.
    next: Option<u64>,
}

impl Rotation {
    /// When a connection will be due.
    pub(super) fn next_wake_up<D: Driver>(&self, engine: &Engine<D>) -> Option<Instant> {
        let time = self.next?.saturating_sub(engine.epoch.get());
        Instant::now().checked_add(Duration::from_millis(time))
    }

    /// A replacement is open, or could not be opened.
    pub(super) fn done<D: Driver>(&mut self, engine: &Engine<D>, opened: bool) {
        if self.opening == 0 {
            // It began with another janitor, which gave up.
            return;
        }
        self.opening -= 1;
        if self.lost == Some(Lost::Reopening) {
            self.lost = if opened { None } else { Some(Lost::Allowed) };
        } else if self.early > 0 {
            self.early -= 1;
            if !opened {
                self.lost = Some(Lost::Allowed);
            }
        } else if opened {
            engine.may_leave.add();
        } else {
            engine.recall(1);
        }
    }

    /// Goes on with the rotation. It begins in a round, when it is `called`, and rests until the next one when everything that is due has been provided for, or
    /// nothing can be opened.
    pub(super) fn go_on<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers, called: bool) {
        let (wearing, now) = (engine.wearing.is_up(), engine.epoch.get());
        let is_time = self.next.is_some_and(|next| next <= now);
        if self.rests(engine) && !called && !wearing && !is_time {
            return;
        }
        engine.wearing.lower();
        let sight = engine.core.gate().glance();
        if sight.is_closed() {
            return self.give_up(engine);
        }
        self.reconsider(engine);
        engine.let_due_leave(0);
        let found = self.find_due(engine);
        self.next = found.next.map(|next| next.max(now + PACE));
        engine.let_due_leave(found.unneeded);
        let unused = engine.permits().saturating_sub(found.needed);
        self.revoke(engine, unused);
        let unfounded = self.count_unfounded(engine);
        self.revoke(engine, unfounded);
        self.keep_to_headroom(engine);
        if sight.is_paused() {
            self.rest_in_pause(engine);
        } else {
            self.replace(engine, openers, &found);
        }
        engine.let_due_leave(0);
    }

    /// Whether there is nothing to do before the next round.
    fn rests<D: Driver>(&self, engine: &Engine<D>) -> bool {
        self.opening == 0 && self.lost.is_none() && engine.permits() == 0 && !self.more
    }

    /// So many that are counted as leaving are not on their way yet.
    fn promised<D: Driver>(&self, engine: &Engine<D>) -> usize {
        let without = self.early + usize::from(self.lost == Some(Lost::Reopening));
        engine.permits() + self.opening.saturating_sub(without)
    }

    /// So many are on their way out.
    fn leaving<D: Driver>(&self, engine: &Engine<D>, room: Room) -> usize {
        room.leaving.saturating_sub(self.promised(engine))
    }

    /// What is due, and whether it is needed. Not what somebody keeps who does not give it back for that: it takes no permit, so that there would be one too many in its place.
    fn find_due<D: Driver>(&self, engine: &Engine<D>) -> Found {
        let (counts, config) = (engine.core.table.counts(), engine.config.load());
        let waiting = engine.core.gate().glance().waiting();
        let needed = config.min_size.max(counts.leased + config.min_idle).max(waiting);
        let mut unused = self.staying(engine).saturating_sub(needed);
        let mut found = Found::default();
        for (idle, facts) in engine.core.table.filled() {
            let Some(due) = engine.due(facts) else {
                found.next = [found.next, Some(facts.due_at())].into_iter().flatten().min();
                continue;
            };
            if !idle && engine.is_kept_though(facts, due) {
                continue;
            }
            if !idle || unused == 0 || engine.was_used(facts, due) {
                found.needed += 1;
                found.in_time += usize::from(due != Due::Wearing);
            } else {
                // It goes when it is too old, or its turn has come, and nobody misses it.
                unused -= 1;
                found.unneeded += usize::from(due == Due::Outdated);
            }
        }
        found
    }

    /// How many connections there are, without those that only wait for another one to leave.
    fn staying<D: Driver>(&self, engine: &Engine<D>) -> usize {
        let (room, permits) = (engine.core.capacity.read(), engine.permits());
        // One that is open may be among those whose end nobody has heard of yet.
        let opening = room.opening.max(self.opening);
        room.open.saturating_sub(opening + self.leaving(engine, room) + permits)
    }

    /// How many permits would take away what the pool is to keep, because the replacement that they were given for has gone itself.
    fn count_unfounded<D: Driver>(&self, engine: &Engine<D>) -> usize {
        let config = engine.config.load();
        let missing = config.min_size.max(config.min_idle).saturating_sub(self.staying(engine));
        // For these there is no replacement yet.
        let unfounded = missing.saturating_sub(self.early + usize::from(self.lost == Some(Lost::Allowed)));
        // Nobody else is to go for that.
        let room = engine.core.capacity.read();
        unfounded.min((room.max + room.leaving).saturating_sub(room.open))
    }

    /// So many permits are not needed any more.
    fn revoke<D: Driver>(&mut self, engine: &Engine<D>, count: usize) {
        let taken = engine.may_leave.take_up_to(count as u64);
        if taken > 0 {
            if self.lost == Some(Lost::Allowed) {
                self.lost = None;
            }
            engine.recall(usize::try_from(taken).unwrap_or(usize::MAX));
        }
    }

    /// There is no rotation any more.
    pub(super) fn give_up<D: Driver>(&mut self, engine: &Engine<D>) {
        let of_openers = self.promised(engine).saturating_sub(engine.permits());
        engine.recall(of_openers);
        self.revoke(engine, usize::MAX);
        *self = Self::default();
    }

    /// Takes back what a smaller headroom, or maximum, does not allow.
    fn keep_to_headroom<D: Driver>(&mut self, engine: &Engine<D>) {
        let early = self.beyond_headroom(engine).saturating_sub(engine.permits());
        for _ in 0..early {
            // In the hope that it is one that is due which goes.
            self.early += 1;
            engine.may_leave.add();
        }
        if early > 0 {
            engine.let_due_leave(0);
        }
        let count = self.beyond_headroom(engine);
        self.revoke(engine, count);
    }

    /// How many are counted as leaving that may not be any more, because there are more connections than the maximum and the headroom.
    fn beyond_headroom<D: Driver>(&self, engine: &Engine<D>) -> usize {
        let (room, headroom) = (engine.core.capacity.read(), engine.headroom());
        let most = room.max.saturating_add(headroom);
        let too_many = room.open > most.saturating_add(self.leaving(engine, room));
        if too_many { self.promised(engine).saturating_sub(headroom) } else { 0 }
    }

    /// Nothing can be opened: nobody leaves who is to be replaced after that.
    fn rest_in_pause<D: Driver>(&mut self, engine: &Engine<D>) {
        self.more = false;
        if self.lost == Some(Lost::Allowed) {
            self.revoke(engine, 1);
        }
    }

    /// Nobody has to leave first any more if there is room meanwhile, or another one leaves.
    fn reconsider<D: Driver>(&mut self, engine: &Engine<D>) {
        let room = engine.core.capacity.read();
        if self.lost == Some(Lost::Allowed) && room.open < room.max + self.leaving(engine, room) {
            self.revoke(engine, 1);
        }
    }

    fn replace<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers, found: &Found) {
        self.reopen(engine, openers);
        let (room, headroom) = (engine.core.capacity.read(), engine.config.load().rotation_headroom);
        let Found { needed, in_time, .. } = *found;
        let progress = Progress { due: needed, in_time, opening: self.opening, may_leave: engine.permits() };
        let has_room = room.open < room.max.saturating_add(headroom) && engine.has_spare_share();
        match progress.next(has_room, openers.at_once(engine)) {
            Next::Nothing => {}
            // What leaves makes room, or is one too many.
            Next::CloseOne if self.leaving(engine, room) > 0 || room.excess() > 0 => {}
            Next::Open => self.start(engine, openers, |at_once| engine.reserve_replacement(at_once, headroom)),
            Next::CloseOne => self.let_one_go(engine),
        }
        self.more = needed > self.opening + engine.permits() && !openers.are_backing_off(engine);
    }

    /// Opens the replacement for a connection that has left.
    fn reopen<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers) {
        if self.lost == Some(Lost::Allowed) && engine.permits() == 0 {
            let before = self.opening;
            self.start(engine, openers, |at_once| engine.reserve_again(at_once));
            let room = engine.core.capacity.read();
            if self.opening > before {
                self.lost = Some(Lost::Reopening);
            } else if self.leaving(engine, room) == 0 && room.open >= room.max {
                // Somebody who waited was quicker; that is as good as a replacement.
                self.lost = None;
            }
        }
    }

    /// One may leave before its replacement is there, unless there is such a one already.
    fn let_one_go<D: Driver>(&mut self, engine: &Engine<D>) {
        if self.lost.is_none() {
            self.lost = Some(Lost::Allowed);
            engine.core.capacity.leaving();
            engine.may_leave.add();
        }
    }

    fn start<D: Driver>(
        &mut self,
        engine: &Arc<Engine<D>>,
        openers: &mut Openers,
        reserve: impl FnOnce(usize) -> Option<Opener<D>>,
    ) {
        if openers.may_start(engine, Instant::now())
            && let Some(opener) = reserve(openers.at_once(engine))
        {
            self.opening += 1;
            openers.run(opener);
        }
    }
}

/// For how many milliseconds a connection counts as used that is to be replaced because of its uses.
const RECENTLY: u64 = 10_000;

impl<D: Driver> Engine<D> {
    fn permits(&self) -> usize {
        usize::try_from(self.may_leave.left()).unwrap_or(usize::MAX)
    }

    /// So many are not going to leave that were counted as leaving. If there are too many now, those that are idle go.
    pub(super) fn recall(&self, count: usize) {
        if count > 0 && self.core.recall(count) {
            self.offer_all_idle();
        }
    }

    /// Whether somebody has used it not long before it became due.
    fn was_used(&self, facts: &Facts, due: Due) -> bool {
        let released_at = facts.released_at.get();
        if due == Due::Wearing {
            return released_at.saturating_add(RECENTLY) >= self.epoch.get();
        }
        let due_at = facts.due_at();
        released_at >= due_at.saturating_sub(facts.expires_at.get().saturating_sub(due_at))
    }

    /// Lets idle connections leave that are due, the coldest first, as many as may; and so many that nobody needs.
    fn let_due_leave(&self, mut unneeded: usize) {
        if self.may_leave.left() == 0 && unneeded == 0 {
            return;
        }
        let _inspection = self.inspections.begin();
        for index in (0..self.core.table.size()).rev() {
            let Some(claim) = self.core.table.claim_at(index) else { continue };
            match self.reason_of_due(self.core.table.facts(&claim), unneeded > 0) {
                Some(reason) => {
                    unneeded -= usize::from(reason == RetireReason::Outdated);
                    self.retire(claim, reason);
                }
                None => self.put_back(claim),
            }
        }
    }

    /// Why a connection leaves that is due: because nobody needs it, or because another is in its place.
    fn reason_of_due(&self, facts: &Facts, unneeded: bool) -> Option<RetireReason> {
        let due = self.due(facts)?;
        if due == Due::Outdated && unneeded && !self.was_used(facts, due) {
            return Some(RetireReason::Outdated);
        }
        self.may_leave.take().then_some(RetireReason::Replaced(due))
    }
}
