//! Rotation: connections that reach their lifetime are replaced before they are closed, so that no caller pays for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::Engine;
use super::openers::Openers;
use crate::driver::Driver;
use crate::lifetime::RetireReason;
use crate::rotation::{Due, Next};
use crate::slot::Facts;

pub(super) struct Rotation {
    /// Replacements that are being opened.
    opening: usize,
    /// A connection was let go for which no replacement has been opened yet.
    lost: Option<Lost>,
    /// More are due than are being replaced: it goes on with whatever comes to an end, and does not wait for the next round.
    more: bool,
}

/// At the maximum: one connection goes first, and its replacement comes after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// One may leave.
    Allowed,
    /// Its replacement is being opened.
    Reopening,
}

impl Rotation {
    pub(super) fn new<D: Driver>(engine: &Engine<D>) -> Self {
        // What the last janitor allowed has no replacement that is sure to come.
        engine.may_leave.set(0);
        Self { opening: 0, lost: None, more: false }
    }

    /// A replacement is open, or could not be opened.
    pub(super) fn done<D: Driver>(&mut self, engine: &Engine<D>, opened: bool) {
        self.opening = self.opening.saturating_sub(1);
        if self.lost == Some(Lost::Reopening) {
            self.lost = if opened { None } else { Some(Lost::Allowed) };
        } else if opened {
            engine.may_leave.add();
        }
    }

    /// Goes on with the rotation. It begins in a `round`, and rests until the next one when everything that is due has been provided for, or nothing can be
    /// opened.
    pub(super) fn go_on<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers, round: bool) {
        if self.rests(engine) && !round {
            return;
        }
        let due = find_due(engine);
        if due == 0 {
            self.call_off(engine);
        }
        self.reopen(engine, openers);
        let (config, may_leave) =
            (engine.config.load(), usize::try_from(engine.may_leave.left()).unwrap_or(usize::MAX));
        let room = engine.core.capacity.read();
        let has_room = room.open < room.max + config.rotation_headroom;
        let due = Due { waiting: due, opening: self.opening, may_leave };
        match due.next(has_room, openers.at_once(engine)) {
            Next::Nothing => {}
            // What leaves makes room.
            Next::CloseOne if room.leaving > 0 => {}
            Next::Open => self.open(engine, openers),
            Next::CloseOne => self.let_one_go(engine),
        }
        self.more = due.waiting > self.opening + may_leave && !openers.are_backing_off();
        engine.let_due_leave();
    }

    /// Whether there is nothing to do before the next round.
    fn rests<D: Driver>(&self, engine: &Engine<D>) -> bool {
        self.opening == 0 && self.lost.is_none() && engine.may_leave.left() == 0 && !self.more
    }

    /// Nobody is to leave any more.
    fn call_off<D: Driver>(&mut self, engine: &Engine<D>) {
        if engine.may_leave.left() > 0 && self.lost == Some(Lost::Allowed) {
            self.lost = None;
        }
        engine.may_leave.set(0);
    }

    /// Opens the replacement for a connection that has left.
    fn reopen<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers) {
        if self.lost == Some(Lost::Allowed) && engine.may_leave.left() == 0 {
            self.open(engine, openers);
            let room = engine.core.capacity.read();
            if self.opening > 0 {
                self.lost = Some(Lost::Reopening);
            } else if room.leaving == 0 && room.open >= room.max {
                // Somebody who waited was quicker; that is as good as a replacement.
                self.lost = None;
            }
        }
    }

    /// One may leave before its replacement is there, unless there is such a one already.
    fn let_one_go<D: Driver>(&mut self, engine: &Engine<D>) {
        if self.lost.is_none() {
            self.lost = Some(Lost::Allowed);
            engine.may_leave.add();
        }
    }

    fn open<D: Driver>(&mut self, engine: &Arc<Engine<D>>, openers: &mut Openers) {
        let headroom = engine.config.load().rotation_headroom;
        if openers.may_start(engine, Instant::now())
            && let Some(opener) = engine.reserve_replacement(openers.at_once(engine), headroom)
        {
            self.opening += 1;
            openers.run(opener);
        }
    }
}

/// How many connections are due and needed.
fn find_due<D: Driver>(engine: &Engine<D>) -> usize {
    let (now, counts) = (engine.epoch.get(), engine.core.table.counts());
    let needed = engine.config.load().min_size.max(engine.core.gate().glance().waiting());
    // There is one more for each that may leave.
    let replaced = usize::try_from(engine.may_leave.left()).unwrap_or(usize::MAX);
    let mut unused = (counts.idle + counts.leased + counts.resetting).saturating_sub(needed.saturating_add(replaced));
    let due = engine.core.table.filled().filter(|(_, facts)| facts.due_at.get() <= now);
    due.filter(|(idle, facts)| {
        let stays = !idle || was_used(facts) || unused == 0;
        if !stays {
            // It goes when it is too old, and nobody misses it.
            unused -= 1;
        }
        stays
    })
    .count()
}

/// Whether somebody has used it not long before it became due.
fn was_used(facts: &Facts) -> bool {
    let due_at = facts.due_at.get();
    facts.released_at.get() >= due_at.saturating_sub(facts.expires_at.get().saturating_sub(due_at))
}

impl<D: Driver> Engine<D> {
    /// Lets idle connections leave that are due, the coldest first, as many as may.
    fn let_due_leave(&self) {
        if self.may_leave.left() == 0 {
            return;
        }
        let _inspection = self.inspections.begin();
        for index in (0..self.core.table.size()).rev() {
            let Some(claim) = self.core.table.claim_at(index) else { continue };
            if self.core.table.facts(&claim).due_at.get() <= self.epoch.get() && self.may_leave.take() {
                self.retire(claim, RetireReason::Expired);
            } else {
                self.put_back(claim);
            }
        }
    }
}
