//! What is looked at now and then, and not whenever a connection changes hands: its age, its uses, and how long it is held.

use super::Engine;
use super::release::{Condition, Occasion};
use crate::driver::Driver;
use crate::hooks::HookPoint;
use crate::lifetime::{Due, RetireReason, reached, wears_from};
use crate::slot::{Claim, Facts};

/// How many leases of a slot are all timed in any case.
const ALL_TIMED: u64 = 256;
/// Of short leases one in so many is timed, on average. It stands for those before it.
const SAMPLE: u64 = 256;
/// A lease of so many nanoseconds is not short: to look at a clock twice is a thousandth of it. The next one is timed, too.
const LONG: u64 = 100_000;

/// From 1 to nearly twice as many, by what looks like chance: leases that come in a pattern are seen as often as others.
fn about(leases: u64, salt: u64) -> u64 {
    1 + (salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % (2 * leases - 1)
}

impl<D: Driver> Engine<D> {
    /// The lease that begins is one to be looked at: as it is timed, or as it is the last one.
    #[cold]
    pub(super) fn look_at_use(&self, facts: &Facts, uses: u64) {
        if uses == self.wears_from(facts) {
            self.wearing.raise();
            self.bell.notify_one();
        }
        // Looked at when it comes back, too.
        facts.good_until.set(0);
        facts.held_since.set(self.clock.now());
        // How long it takes says which one is timed next.
        facts.next_look.set(uses + 1);
    }

    /// Looks again after so many leases, or before if there is another reason.
    fn look_after(&self, facts: &Facts, leases: u64) {
        let uses = facts.uses.get();
        let reasons = [self.wears_from(facts), self.last_use(facts)].into_iter().filter(|look| uses < *look);
        facts.next_look.set(reasons.min().unwrap_or(u64::MAX).min(uses.saturating_add(leases)));
    }

    /// The lease of the slot with which the connection is due to be replaced.
    fn wears_from(&self, facts: &Facts) -> u64 {
        wears_from(self.config.load().max_uses).map_or(u64::MAX, |uses| facts.first_use.get().saturating_add(uses))
    }

    /// Whether and why a connection is to be replaced.
    pub(super) fn due(&self, facts: &Facts) -> Option<Due> {
        let now = self.epoch.get();
        if facts.due_at() <= now {
            Some(if facts.is_due_with_all() { Due::Outdated } else { Due::Aged })
        } else {
            (facts.uses.get() >= self.wears_from(facts)).then_some(Due::Wearing)
        }
    }

    /// Whether all are to be replaced, and the turn of this one has come.
    pub(super) fn is_outdated(&self, claim: &Claim<D::Connection>) -> bool {
        self.due(self.core.table.facts(claim)) == Some(Due::Outdated)
    }

    /// The lease of the slot after which the connection is not used again.
    fn last_use(&self, facts: &Facts) -> u64 {
        self.config.load().max_uses.map_or(u64::MAX, |uses| facts.first_use.get().saturating_add(uses))
    }

    /// Counts leases that others have had beside the one that was counted.
    pub(super) fn count_more_uses(&self, facts: &Facts, more: u64) {
        let (before, uses) = (facts.uses.get(), facts.uses.get() + more);
        facts.uses.set(uses);
        facts.timed_uses.set(facts.timed_uses.get() + more);
        if more == 0 || uses < facts.next_look.get() {
            return;
        }
        let wears = self.wears_from(facts);
        if before < wears && wears <= uses {
            self.wearing.raise();
            self.bell.notify_one();
        }
        // Whoever has it next looks when to look again.
        facts.good_until.set(0);
        facts.next_look.set(uses);
    }

    /// How often a connection may be used by others that has been used so often; `None` if that is once too often.
    pub(super) fn uses_left(&self, facts: &Facts, uses: u64) -> Option<u64> {
        if uses < facts.next_look.get() { Some(u64::MAX) } else { self.last_use(facts).checked_sub(uses) }
    }

    /// Whether a connection has been used as often as it may be by the settings in force. If not, its last lease will be noticed.
    pub(super) fn is_worn(&self, facts: &Facts) -> bool {
        let last = self.last_use(facts);
        facts.next_look.set(facts.next_look.get().min(self.wears_from(facts)).min(last));
        facts.uses.get() >= last
    }

    /// Looks at a connection whose `good_until` is over.
    #[cold]
    pub(super) fn look_closely(&self, facts: &Facts, seen: Condition, occasion: Occasion) -> Condition {
        if occasion == Occasion::Return {
            self.time_lease(facts);
        }
        if let Some(reason) = self.reason_to_leave(facts) {
            return Condition::Retired(reason);
        }
        if self.attended.is_up()
            && let Some(condition) = self.attend_to(facts, seen, occasion)
        {
            return condition;
        }
        if seen == Condition::Dirty {
            return Condition::Dirty;
        }
        let can_wait = matches!(occasion, Occasion::HandOver | Occasion::AtOnce);
        if can_wait && self.is_unchecked(facts) {
            return Condition::Unchecked;
        }
        self.trust(facts);
        Condition::Usable
    }

    /// What hooks, who watches leases, and who prefers a connection have to do with it first.
    #[cold]
    fn attend_to(&self, facts: &Facts, seen: Condition, occasion: Occasion) -> Option<Condition> {
        let (hands_out, watched) = (self.hooks_at(HookPoint::BeforeHandOut).is_some(), self.watched.is_up());
        match occasion {
            Occasion::Return => self.attend_to_return(facts, seen),
            Occasion::AtOnce if self.is_unchecked(facts) => Some(Condition::Unchecked),
            // Noted by whoever waits for it, which takes no time.
            Occasion::AtOnce => (hands_out || watched).then_some(Condition::Unprepared),
            Occasion::WithoutWaiting => hands_out.then_some(Condition::Unprepared),
            Occasion::HandOver | Occasion::Round => None,
        }
    }

    fn attend_to_return(&self, facts: &Facts, seen: Condition) -> Option<Condition> {
        if self.hooks_at(HookPoint::OnRelease).is_some() {
            return Some(Condition::Returned);
        }
        // One that is dirty is told of when it has been reset.
        (seen == Condition::Usable && self.is_tagged(facts)).then_some(Condition::Tagged)
    }

    fn reason_to_leave(&self, facts: &Facts) -> Option<RetireReason> {
        if facts.expires_at.get() <= self.epoch.get() {
            return Some(RetireReason::Expired);
        }
        if facts.uses.get() >= self.last_use(facts) {
            return Some(RetireReason::Worn);
        }
        let due = self.due(facts)?;
        self.may_leave.take().then_some(RetireReason::Replaced(due))
    }

    /// Nobody needs to look closely before the next epoch.
    pub(super) fn trust(&self, facts: &Facts) {
        if self.attended.is_up() && self.needs_attention(facts) {
            // Whoever gives it or takes it looks for the hooks, notes it, and tells those who prefer it.
            return facts.good_until.set(0);
        }
        facts.good_until.set(self.epoch.get() + 1);
    }

    #[cold]
    fn needs_attention(&self, facts: &Facts) -> bool {
        self.watched.is_up() || self.is_hooked() || self.is_tagged(facts)
    }

    /// Whether it was idle for too long to be handed out unseen.
    pub(super) fn is_unchecked(&self, facts: &Facts) -> bool {
        let last_seen = facts.released_at.get().max(facts.checked_at.get());
        reached(last_seen, self.epoch.get(), self.config.load().check_after_idle)
    }

    /// Notes how long a connection was held, if its lease is a timed one that ends now.
    pub(super) fn time_lease(&self, facts: &Facts) {
        if self.attended.is_up() {
            self.note_return(facts);
        }
        let since = facts.held_since.get();
        if since == 0 {
            // The next one is, once in each epoch: leases may have become long.
            if facts.released_at.get() < self.epoch.get() {
                facts.next_look.set(facts.next_look.get().min(facts.uses.get()));
            }
            return;
        }
        facts.held_since.set(0);
        let (held, uses) = (self.clock.now().saturating_sub(since), facts.uses.get());
        let stands_for = uses.saturating_sub(facts.timed_uses.get()).max(1);
        facts.timed_uses.set(uses);
        self.measures.hold.note(held, stands_for);
        let all = held >= LONG || uses < ALL_TIMED;
        self.look_after(facts, if all { 1 } else { about((4 * stands_for).min(SAMPLE), uses) });
    }

    /// Forgets when a lease began that becomes one of many, or is kept for something that lasts: how long that takes says nothing about how long anybody uses a connection.
    pub(super) fn time_no_more(&self, facts: &Facts) {
        if facts.held_since.get() > 0 {
            facts.held_since.set(0);
            facts.timed_uses.set(facts.uses.get());
            let uses = facts.uses.get();
            self.look_after(facts, if uses < ALL_TIMED { 1 } else { about(SAMPLE, uses) });
        }
    }
}
