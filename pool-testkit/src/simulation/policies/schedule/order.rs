//! Who goes before whom.

use super::super::super::clock::millis;
use super::super::super::ensure;
use super::super::super::model::Checked;
use super::super::stage::Stage;
use super::Schedule;
use super::requests::Asked;

impl Schedule {
    /// Whether nobody of the same key and priority came before.
    pub(super) fn is_first(&self, asked: &Asked) -> bool {
        let same = |other: &&Asked| other.tenant == asked.tenant && other.priority == asked.priority;
        self.requests
            .iter()
            .filter(same)
            .all(|other| other.has_passed() || !other.rejoined && other.joined >= asked.joined)
    }

    /// One is let through that was called at this point of the sequence: none of its own key should have been before it who still waits.
    pub(super) fn nobody_is_overtaken(&self, stage: &Stage, asked: &Asked, woken: u64) -> Checked {
        let waiting = |other: &&Asked| other.tenant == asked.tenant && !other.has_passed() && !other.is_woken();
        let mut others = self.requests.iter().filter(waiting);
        let overtaken = others.find(|other| self.goes_before(stage, other, asked, woken));
        let overtaken = overtaken.map(|other| (other.priority, other.started));
        ensure!(
            overtaken.is_none(),
            "a request of {:?}, {:?} since {}, went before {overtaken:?}",
            asked.tenant,
            asked.priority,
            asked.started
        );
        Ok(())
    }

    fn goes_before(&self, stage: &Stage, other: &Asked, asked: &Asked, woken: u64) -> bool {
        if other.rejoined || asked.rejoined {
            return false;
        }
        if other.priority == asked.priority {
            // One that wants more than there can be at present is in nobody's way: of a budget there may be fewer.
            let may_fit = other.passes <= asked.passes || stage.pool.budget_share().is_none();
            return other.joined < asked.joined && !self.config.newest_first && may_fit;
        }
        self.comes_first(stage, other, asked, woken)
    }

    /// Whether one of a higher priority should have been called before.
    fn comes_first(&self, stage: &Stage, other: &Asked, asked: &Asked, woken: u64) -> bool {
        let age = stage.clock.now() - asked.started;
        // While a queue stands its requests age faster.
        let aging = self.config.codel.map_or(self.config.aging, |codel| self.config.aging.min(codel.target));
        let aged = age >= millis(aging);
        // One that wants several keeps its turn, and may have got it before the other came.
        let settled = asked.passes == 1 && other.passes == 1 && other.joined < woken;
        other.priority < asked.priority && settled && !aged && self.is_first(other)
    }
}
