//! Retire: connections that are open have to go, all of them or some.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Engine;
use super::panics::caught;
use super::warnings::Warning;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::gate::Generation;
use crate::lifetime::RetireReason;
use crate::retirement::{Candidate, Retirement, Sentence, Whom, with_one_more};
use crate::slot::Claim;

/// When a connection expires that is to be closed, whatever its age: long ago.
pub(super) const ON_ITS_WAY_OUT: u64 = 0;

/// Who has connections retired.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Author {
    Operator,
    /// Or what goes with it.
    Driver,
}

impl Author {
    /// Of what is written down.
    fn kind(self) -> &'static str {
        match self {
            Self::Operator => "control",
            Self::Driver => "driver",
        }
    }
}

impl<D: Driver> Engine<D> {
    /// Begins another generation, for this reason, and writes down who wants that. Idle connections are judged at once, the others when they come back.
    pub(crate) fn retire_those(&self, whom: Whom, on_behalf_of: Author) {
        self.write_down(on_behalf_of.kind(), &whom);
        self.begin_generation_without(whom);
    }

    fn begin_generation_without(&self, whom: Whom) {
        {
            let _turn = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
            let one = Retirement { begun: self.core.gate().present_generation().next(), whom };
            let list = with_one_more(&self.retirements.load(), self.oldest_generation(), one);
            // Before the generation: whoever sees that sees this.
            self.retirements.store(Arc::new(list));
            self.core.gate().begin_generation();
        }
        self.offer_all_idle();
        // Those who keep one that is to go.
        self.tell();
    }

    pub(crate) fn retire_all_over(&self, interval: Duration, on_behalf_of: Author) {
        self.retire_those(Whom::Over { since: self.epoch.get(), interval }, on_behalf_of);
        // The first may be due already.
        self.reconfigured.add(1);
        self.bell.notify_one();
    }

    /// Retires one connection, when it comes back if somebody has it. `false` if it is not there, or on its way out.
    pub(crate) fn evict(&self, id: ConnectionId) -> bool {
        if !self.is_there(id) {
            return false;
        }
        match self.core.table.claim_at(id.slot) {
            Some(claim) if self.core.table.life(&claim) == id.life => self.retire(claim, RetireReason::Evicted),
            Some(claim) => {
                // Another one meanwhile: it is gone.
                self.put_back(claim);
                return false;
            }
            None => self.begin_generation_without(Whom::One(id)),
        }
        true
    }

    /// Whether a connection is in the pool, to stay or not to be used again after its present lease.
    pub(super) fn is_there(&self, id: ConnectionId) -> bool {
        let facts = || self.core.table.all_facts().nth(id.slot);
        id.pool == self.core.table.id()
            && self.core.table.has(id.slot, id.life)
            && facts().is_some_and(|facts| facts.expires_at.get() != ON_ITS_WAY_OUT)
    }

    pub(crate) fn id(&self, claim: &Claim<D::Connection>) -> ConnectionId {
        let table = &self.core.table;
        ConnectionId { pool: table.id(), slot: table.index(claim), life: table.life(claim) }
    }

    /// The generation of the oldest connection, unless there may be one that nobody sees yet.
    fn oldest_generation(&self) -> Option<Generation> {
        // The capacity first: what has been opened by then is seen in its slot.
        if self.core.capacity.read_then_look().opening > 0 {
            return None;
        }
        let generations = self.core.table.filled().map(|(_, facts)| Generation::from_figure(facts.generation.get()));
        let first = |a: Generation, b: Generation| if b.is_before(a) { b } else { a };
        Some(generations.fold(self.core.gate().present_generation(), first))
    }

    /// Judges a connection of an earlier generation. It comes back, as one of the present generation, if it stays.
    #[cold]
    pub(super) fn judge_again(&self, claim: Claim<D::Connection>) -> Option<Claim<D::Connection>> {
        // Before the list: the demands that began it are in there.
        let present = self.core.gate().present_generation();
        match self.sentence(&claim) {
            Sentence::Retired(reason) => {
                self.retire(claim, reason);
                return None;
            }
            Sentence::Leaves { expires_at, .. } if expires_at <= self.epoch.get() => {
                self.retire(claim, RetireReason::Outdated);
                return None;
            }
            Sentence::Leaves { due_at, expires_at } => {
                let facts = self.core.table.facts(&claim);
                facts.set_due(facts.due_at().min(due_at), true);
                facts.expires_at.set(facts.expires_at.get().min(expires_at));
                facts.good_until.set(facts.good_until.get().min(due_at));
            }
            Sentence::Stays => {}
        }
        // By the settings in force, which may be the reason for the generation.
        if self.is_worn(self.core.table.facts(&claim)) {
            self.retire(claim, RetireReason::Worn);
            return None;
        }
        let facts = self.core.table.facts(&claim);
        facts.generation.set(present.to_figure());
        if self.watched.is_up() {
            facts.good_until.set(0);
        }
        Some(claim)
    }

    /// Whether a connection that somebody has is closed when it comes back, because somebody wants that.
    pub(super) fn is_retired(&self, claim: &Claim<D::Connection>) -> bool {
        // Before the list, as above.
        let present = self.core.gate().present_generation();
        if Generation::from_figure(self.core.table.facts(claim).generation.get()) == present {
            return false;
        }
        match self.sentence(claim) {
            Sentence::Retired(_) => true,
            Sentence::Leaves { expires_at, .. } => expires_at <= self.epoch.get(),
            Sentence::Stays => false,
        }
    }

    fn sentence(&self, claim: &Claim<D::Connection>) -> Sentence {
        let (id, generation) = (self.id(claim), Generation::from_figure(self.core.table.facts(claim).generation.get()));
        let connection = self.core.table.get(claim);
        // A driver that panics does not say; then it is not this host.
        let hosts = caught(|| [self.driver.host(connection), self.driver.address(connection)]);
        let hosts = hosts.unwrap_or_else(|message| {
            self.panicked(Warning::Host, &message, "asking for the host of a connection panicked; it counts as none");
            [None; 2]
        });
        let candidate = Candidate { id, hosts, generation };
        let list = self.retirements.load();
        let sentences = list.iter().map(|demand| demand.judge(&candidate, self.random.next()));
        sentences.fold(Sentence::Stays, |worst, next| match (worst, next) {
            (retired @ Sentence::Retired(_), _) | (_, retired @ Sentence::Retired(_)) => retired,
            (Sentence::Leaves { due_at, expires_at }, Sentence::Leaves { due_at: due, expires_at: end }) => {
                Sentence::Leaves { due_at: due_at.min(due), expires_at: expires_at.min(end) }
            }
            (leaves @ Sentence::Leaves { .. }, _) | (_, leaves) => leaves,
        })
    }
}
