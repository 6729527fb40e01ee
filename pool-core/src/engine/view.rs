//! The pool as one looks at it from outside: slots, servers, waiters.

use std::time::Duration;

use super::Engine;
use super::leaks::AT_ONCE;
use super::panics::caught;
use super::warnings::Warning;
use crate::connection::{ConnectionId, SlotState, SlotView};
use crate::driver::Driver;
use crate::metric::Description;
use crate::slot::{Facts, State};
use crate::times::Counted;

/// What has been timed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timed {
    pub(crate) wait: Counted,
    pub(crate) hold: Counted,
    pub(crate) open: Counted,
    pub(crate) check: Counted,
    pub(crate) execution: Counted,
}

/// As the word of a slot says it; what is vacant is not shown.
fn shown(state: State) -> SlotState {
    match state {
        State::Vacant | State::Opening => SlotState::Opening,
        State::Idle => SlotState::Idle,
        State::Leased => SlotState::Leased,
        State::Resetting => SlotState::Resetting,
        State::Closing => SlotState::Closing,
    }
}

impl<D: Driver> Engine<D> {
    /// Every slot that is not vacant, lowest first; one after the other, so that two need not have been so at the same moment. Of the first ones, so many, with the session.
    pub(crate) fn slots(&self, noted: usize) -> Vec<SlotView> {
        let view = |(state, life, facts): (State, u64, &Facts)| {
            let id = ConnectionId { pool: self.core.table.id(), slot: facts.index(), life };
            let users = self.core.sharing.party(facts.index()).users();
            let state = match state {
                State::Vacant => return None,
                State::Leased if self.is_reserved(id) => SlotState::Reserved,
                State::Leased if users > 0 => SlotState::Shared,
                other => shown(other),
            };
            let since = match state {
                SlotState::Idle => Some(self.age_of(facts.released_at.get())),
                SlotState::Leased | SlotState::Shared | SlotState::Reserved => {
                    self.lease_began(facts).map(|since| self.elapsed_since(since))
                }
                _ => None,
            };
            Some(SlotView { index: facts.index(), connection: id, session: None, state, since, users })
        };
        let mut slots: Vec<_> = self.core.table.occupied().filter_map(view).collect();
        // What was there a moment ago, by its name: what has come since has another.
        let noted = noted.min(slots.len());
        for some in slots[..noted].chunks_mut(AT_ONCE) {
            let sessions = self.notes.told(some.iter().map(|slot| slot.connection), |note| note.session);
            some.iter_mut().zip(sessions).for_each(|(slot, session)| slot.session = session.flatten());
        }
        slots
    }

    /// For how long an epoch is over.
    fn age_of(&self, epoch: u64) -> Duration {
        Duration::from_millis(self.epoch.get().saturating_sub(epoch))
    }

    fn elapsed_since(&self, moment: u64) -> Duration {
        Duration::from_nanos(self.clock.now().saturating_sub(moment))
    }

    /// For how long the one waits who came first, of those who wait in the queue or in front of the pool.
    pub(crate) fn oldest_waiter(&self) -> Option<Duration> {
        let oldest = self.core.oldest_waiter().into_iter().chain(self.in_line().since).min();
        oldest.map(|since| self.elapsed_since(since))
    }

    /// For how long there has been a pool.
    pub(crate) fn uptime(&self) -> Duration {
        self.clock.running_for()
    }

    /// What has been timed so far.
    pub(crate) fn timed(&self) -> Timed {
        Timed {
            wait: self.measures.waits(),
            hold: self.measures.hold.counted(),
            open: self.measures.open.counted(),
            check: self.measures.check.counted(),
            execution: self.measures.execution.counted(),
        }
    }

    /// Of what connections are used for: how long it took if it has not failed, and if it has, by the kind of the error.
    pub(crate) fn executions(&self) -> (Counted, Vec<(&'static str, Counted)>) {
        self.measures.execution.counted_apart()
    }

    /// What the driver tells of itself.
    pub(crate) fn describe_driver(&self) -> Description {
        let mut description = Description::default();
        if let Err(message) = caught(|| self.driver.describe(&mut description)) {
            self.panicked(Warning::Describe, &message, "a driver that was to describe itself panicked");
        }
        description
    }
}
