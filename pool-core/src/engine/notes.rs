//! What is known about a connection beside its slot: since when it is open, what its server calls it, and who has it, if anybody wants to know.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::Id;

use crate::connection::{ConnectionId, Named};
use crate::slot::Facts;

/// Of the connections that are open, by their slots.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<HashMap<usize, Note>>);

#[derive(Debug)]
pub(super) struct Note {
    /// How many connections had been closed in the slot before this one.
    life: u64,
    /// The number by which the server knows its session.
    pub(super) session: Option<u64>,
    opened: Opened,
    pub(super) lease: Option<Held>,
}

impl Note {
    /// Whether it is about this connection. Who looks at a slot owns nothing there: another one may have come since, or be noted still.
    fn is_about(&self, id: ConnectionId) -> bool {
        self.life == id.life
    }
}

/// What was so when a connection was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// The epoch.
    pub(super) at: u64,
    /// How many leases its slot had seen.
    pub(super) uses: u64,
}

/// A lease that is watched.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// When it began.
    pub(super) since: u64,
    /// Where it was acquired.
    pub(super) place: &'static Location<'static>,
    /// By which task, and in which span.
    pub(super) task: Option<Id>,
    pub(super) span: Option<&'static str>,
    /// What its user has said last that it does.
    pub(super) activity: Option<Cow<'static, str>>,
    pub(super) is_reported: bool,
    pub(super) is_cut_off: bool,
}

/// The lease of a connection, if it is noted.
pub(super) fn lease_of(notes: &mut HashMap<usize, Note>, id: ConnectionId) -> Option<(Named, &mut Held)> {
    let note = notes.get_mut(&id.slot).filter(|note| note.is_about(id))?;
    Some((Named(id, note.session), note.lease.as_mut()?))
}

impl Notes {
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<usize, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is open from now on.
    pub(super) fn begin(&self, id: ConnectionId, opened: Opened, session: Option<u64>) {
        self.all().insert(id.slot, Note { life: id.life, session, opened, lease: None });
    }

    /// It is the pool's no longer.
    pub(super) fn end(&self, facts: &Facts) {
        self.all().remove(&facts.index());
    }

    /// What was so when it was opened.
    pub(super) fn opened(&self, facts: &Facts) -> Option<Opened> {
        self.all().get(&facts.index()).map(|note| note.opened)
    }

    /// Somebody has it from now on.
    pub(super) fn lease(&self, facts: &Facts, held: Held) {
        if let Some(note) = self.all().get_mut(&facts.index()) {
            note.lease = Some(held);
        }
    }

    /// Nobody has it any more. Who had it.
    pub(super) fn release(&self, facts: &Facts) -> Option<Held> {
        self.all().get_mut(&facts.index())?.lease.take()
    }

    /// Nobody is known to have anything.
    pub(super) fn forget_leases(&self) {
        self.all().values_mut().for_each(|note| note.lease = None);
    }

    /// Who has it.
    pub(super) fn holder(&self, facts: &Facts) -> Option<Held> {
        self.all().get(&facts.index())?.lease.clone()
    }

    /// What is told of each of these, looked up all at once.
    pub(super) fn told<T>(&self, of: impl Iterator<Item = ConnectionId>, what: impl Fn(&Note) -> T) -> Vec<Option<T>> {
        let all = self.all();
        of.map(|id| all.get(&id.slot).filter(|note| note.is_about(id)).map(&what)).collect()
    }

    /// Its user says what it does. What it has said before.
    pub(super) fn activity(&self, facts: &Facts, activity: Cow<'static, str>) -> Option<Cow<'static, str>> {
        self.all().get_mut(&facts.index())?.lease.as_mut()?.activity.replace(activity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one sees it who has looked at a slot a moment ago: since then its connection was closed, and another one was opened there.
    #[test]
    fn what_is_noted_of_a_connection_is_not_told_of_another_one_in_its_slot() {
        let (notes, facts) = (Notes::default(), Facts::default());
        let id = |life| ConnectionId { pool: 1, slot: facts.index(), life };
        let held = |place| {
            let (task, span, activity) = (None, None, None);
            Held { since: 1, place, task, span, activity, is_reported: false, is_cut_off: false }
        };
        let sessions = || notes.told([id(6), id(7), id(8)].into_iter(), |note| note.session);
        let leases = || [6, 7, 8].map(|life| lease_of(&mut notes.all(), id(life)).map(|(named, _)| named.to_string()));
        for life in [7, 8] {
            notes.begin(id(life), Opened { at: 1, uses: 0 }, Some(4_710 + life));
            notes.lease(&facts, held(Location::caller()));
            let told = |one| if one == life { Some(4_710 + life) } else { None };
            assert_eq!(sessions(), [6, 7, 8].map(|one| told(one).map(Some)));
            let name = |one, session| format!("connection 1.0.{one} (session {session})");
            assert_eq!(leases(), [6, 7, 8].map(|one| told(one).map(|session| name(one, session))));
            notes.end(&facts);
            assert_eq!((sessions(), leases()), (vec![None; 3], [None, None, None]), "it has been closed");
        }
    }
}
