//! Giving connections back that nobody has used: to those who wait, or to rest.

use super::Engine;
use super::release::{Condition, Occasion};
use crate::driver::Driver;
use crate::gate::Sight;
use crate::slot::Claim;

impl<D: Driver> Engine<D> {
    /// Offers an idle connection to the queue, if it is still good. `false` if those who wait are served with those that are being checked.
    pub(super) fn serve(&self, mut claim: Claim<D::Connection>) -> bool {
        let condition = self.condition(&mut claim, Occasion::HandOver);
        if condition != Condition::Unchecked {
            self.set_aside(claim, condition);
            return true;
        }
        if self.are_too_few_checked(self.core.gate().glance()) {
            self.set_aside(claim, condition);
            return true;
        }
        self.leave_unchecked(claim).is_none_or(|sight| self.are_too_few_checked(sight))
    }

    /// Whether somebody waits for whom no connection is being checked.
    fn are_too_few_checked(&self, sight: Sight) -> bool {
        self.checks_relied_on() < sight.to_be_served()
    }

    /// Gives an idle connection back that nobody has used. One that has to be checked before it is handed out stays idle, whoever waits; any other is judged if
    /// somebody waits, and goes to the oldest.
    pub(super) fn put_back(&self, mut claim: Claim<D::Connection>) {
        let to_be_judged = self.core.gate().glance().to_be_served() > 0;
        if to_be_judged && !self.is_unchecked(self.core.table.facts(&claim)) {
            let condition = self.condition(&mut claim, Occasion::HandOver);
            self.set_aside(claim, condition);
        } else {
            self.put_back_judged(claim);
        }
    }

    /// As `put_back`, for one that was in order a moment ago.
    pub(super) fn put_back_judged(&self, claim: Claim<D::Connection>) {
        if !self.is_unchecked(self.core.table.facts(&claim)) {
            self.offer(claim);
        } else if self.leave_unchecked(claim).is_some_and(|sight| self.are_too_few_checked(sight)) {
            self.bell.notify_one();
        }
    }

    /// Leaves a connection idle that has to be checked before it is handed out: whoever gets it next looks closely. What was in sight then, unless the pool had
    /// no use for it.
    fn leave_unchecked(&self, mut claim: Claim<D::Connection>) -> Option<Sight> {
        self.unserved.raise();
        let is_tagged = self.is_tagged(self.core.table.facts(&claim));
        loop {
            self.core.table.facts(&claim).good_until.set(0);
            // With a fence: whoever joins now sees that there may be more to be had.
            match self.core.leave_idle(claim) {
                Ok(sight) => {
                    if sight.is_paused() || is_tagged {
                        self.tell();
                    }
                    return Some(sight);
                }
                Err(offered) => claim = self.settle(offered)?,
            }
        }
    }
}
