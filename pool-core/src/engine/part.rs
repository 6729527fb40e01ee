//! The pool's part of a budget that it shares with others: what it takes and gives back, what it wants, and what it owes.
//!
//! A pool holds as many of the budget as its capacity counts as open. What it owes leaves as a surplus does: the maximum is lower for as long, so that as many are too many.

use std::sync::{Arc, PoisonError};

use super::{Engine, ensure_janitor};
use crate::budget::{Member, Membership, Notice, ShareStats};
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;

/// How many connections are wanted whoever waits, and how many may be opened at the same time.
pub(super) struct Demanded {
    pub(super) warm: usize,
    pub(super) at_once: usize,
}

/// What a pool keeps about it.
pub(crate) struct Part {
    pub(super) membership: Membership,
    /// What somebody has said that is guaranteed to it; otherwise it is the minimum.
    guaranteed: Option<usize>,
}

impl Part {
    /// For a membership with this guarantee.
    pub(crate) fn new(membership: Membership, guaranteed: Option<usize>) -> Self {
        Self { membership, guaranteed }
    }
}

/// What is guaranteed to a pool: what somebody has said, or its minimum, and no more than it can have.
pub(crate) fn guarantee(guaranteed: Option<usize>, config: &Config) -> usize {
    guaranteed.unwrap_or(config.min_size).min(config.max_size)
}

impl<D: Driver> Engine<D> {
    /// From now on the budget tells what concerns the pool.
    pub(crate) fn join_budget(self: &Arc<Self>) {
        if let Some(part) = &self.part {
            let member: Arc<dyn Member> = self.clone();
            part.membership.show(Arc::downgrade(&member));
        }
    }

    /// What the pool has of its budget.
    pub(crate) fn share(&self) -> Option<ShareStats> {
        self.part.as_ref().map(|part| part.membership.stats())
    }

    /// Whether all that there are of the budget are held.
    pub(super) fn is_budget_exhausted(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.membership.is_exhausted())
    }

    /// Takes one of the budget for what has been reserved. `need`: it would be missed. Without a budget, always.
    pub(super) fn take_share(&self, need: bool) -> bool {
        self.part.as_ref().is_none_or(|part| part.membership.take(need))
    }

    /// What was reserved has not been opened; its slot is vacant again.
    pub(super) fn give_up_opening(&self) {
        self.core.capacity.open_failed();
        if let Some(part) = &self.part {
            part.membership.give_up();
        }
    }

    /// What was reserved has been opened, and whoever waited for it has it: from now on others may.
    pub(super) fn end_opening(&self) {
        if let Some(part) = &self.part {
            part.membership.opened();
            self.tell_followers();
        }
    }

    /// What was on its way out has been closed; its slot is vacant again.
    pub(super) fn end_leaving(&self) {
        self.core.capacity.closed();
        if let Some(part) = &self.part {
            part.membership.give();
        }
    }

    /// Whether there is one for somebody who does not need it.
    pub(super) fn has_spare_share(&self) -> bool {
        self.part.as_ref().is_none_or(|part| part.membership.has_spare())
    }

    /// Whether there is one to share.
    #[inline]
    pub(super) fn has_a_budget(&self) -> bool {
        self.part.is_some()
    }

    /// Whether one more would be missed.
    #[cold]
    pub(super) fn would_miss_one(&self, demanded: &Demanded) -> bool {
        self.missing(demanded) > 0
    }

    /// Tells the budget how many could be opened now that would be missed, of which so many at once.
    #[cold]
    pub(super) fn want_shares(&self, demanded: &Demanded) {
        if let Some(part) = &self.part {
            let opening = self.core.capacity.read().opening;
            let at_once = demanded.at_once.saturating_sub(opening).max(self.in_front_at_once());
            part.membership.want(self.missing(demanded).min(at_once));
        }
    }

    /// Those who wait, what the pool is to have by its guarantee, and what somebody waits to see open.
    fn missing(&self, demanded: &Demanded) -> usize {
        let sight = self.core.gate().look_after_publishing();
        if sight.is_closed() || sight.is_paused() {
            return 0;
        }
        let (room, config) = (self.core.capacity.read(), self.config.load());
        let guaranteed = self.part.as_ref().and_then(|part| part.guaranteed).unwrap_or(config.min_size);
        let kept = if self.used.is_up() || !config.lazy { config.min_size.min(guaranteed) } else { 0 };
        let waiting = (self.unprovided(sight) + self.missing_in_front()).saturating_sub(room.opening);
        let missing = kept.max(demanded.warm).saturating_sub(room.open);
        waiting.max(missing).min(room.max.saturating_sub(room.open))
    }

    /// How many more those want who wait in front of the pool: what is idle is not enough, or it would have been given to them.
    fn missing_in_front(&self) -> usize {
        match self.in_front() {
            0 => 0,
            wanted => wanted.saturating_sub(self.core.table.counts().idle_soon()),
        }
    }

    /// So many connections have not been used since the last round.
    pub(super) fn note_unused(&self, unused: usize) {
        if let Some(part) = &self.part {
            part.membership.note_unused(unused);
        }
    }

    /// The budget guarantees what these settings ask for.
    pub(super) fn guarantee(&self, config: &Config) -> Result<Notice, ConfigError> {
        let Some(part) = &self.part else { return Ok(Notice::default()) };
        part.membership.guarantee(guarantee(part.guaranteed, config))
    }

    /// Nothing can be opened now.
    pub(super) fn want_no_shares(&self) {
        if let Some(part) = &self.part {
            part.membership.want(0);
        }
    }

    /// Nobody gets a connection any more.
    pub(super) fn leave_budget(&self) {
        if let Some(part) = &self.part {
            part.membership.close();
        }
    }

    /// The most connections that the pool may keep, by these settings and by what it owes.
    pub(super) fn most(&self, config: &Config) -> usize {
        match self.share() {
            Some(ShareStats { held, owed, .. }) if owed > 0 => config.max_size.min(held.saturating_sub(owed)),
            _ => config.max_size,
        }
    }

    /// By how many connections a rotation may go beyond the maximum: by none while the pool owes some.
    pub(super) fn headroom(&self) -> usize {
        let owes = self.share().is_some_and(|share| share.owed > 0);
        if owes { 0 } else { self.config.load().rotation_headroom }
    }

    /// Somebody in front of the pool wants more connections, or fewer, than before: that is told to its budget, and the backend is asked again.
    pub(crate) fn others_wish(&self) {
        if self.is_scarce() {
            self.bell.notify_one();
        }
    }

    /// Owes what the budget says.
    fn owe(&self) {
        {
            // Within the lock: whoever comes last has asked last.
            let _turn = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
            let most = self.most(&self.config.load());
            if most != self.core.capacity.read().max {
                self.core.resize(most);
            }
        }
        if self.core.gate().glance().is_oversize() {
            self.offer_all_idle();
        }
    }
}

impl<D: Driver> Member for Engine<D> {
    fn changed(self: Arc<Self>) {
        self.owe();
        self.tell_followers();
        self.bell.notify_one();
        // Its own may have ended with its runtime: then it goes on in that of whoever gave or wants something.
        ensure_janitor(&self);
    }
}
