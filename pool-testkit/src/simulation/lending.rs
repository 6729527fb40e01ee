//! The model's side of what users do with connections.

use super::clock::{interval_of, millis};
use super::connection::Place;
use super::ensure;
use super::model::{Checked, Model};
use super::scenario::End;

/// How somebody has come by a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    WithoutWaiting,
    AtOnce,
    /// It was woken at this point of the sequence.
    Woken(u64),
}

impl Way {
    fn has_waited(self) -> bool {
        matches!(self, Self::Woken(_))
    }
}

impl Model {
    /// Somebody has a connection: one that may be handed out.
    pub(super) fn lend(&mut self, id: u64, way: Way) -> Checked {
        let (now, config) = (self.clock.now(), self.config.clone());
        let granted = if let Way::Woken(number) = way { number } else { self.sequence.next() };
        let late_demand = self.demands.last().is_some_and(|demand| demand.number > granted);
        let outdated = self.is_outdated(id)?;
        let connection = self.known(id)?;
        let place = connection.place;
        ensure!(place == Place::Ready, "connection {id} was handed out and is {place:?}");
        ensure!(!outdated || late_demand, "connection {id} was handed out after it had been retired");
        ensure!(!connection.dirty, "connection {id} was handed out dirty");
        ensure!(!connection.worn, "connection {id} was handed out worn");
        let age = connection.life.map_or(0, |life| now.saturating_sub(life.until));
        ensure!(age <= interval_of(&config) || way.has_waited(), "connection {id} was handed out {age} ms too old");
        if way == Way::AtOnce {
            let (unseen, limit) = (now - connection.released_at.max(connection.checked_at), config.check_after_idle);
            let checked = limit.is_none_or(|limit| unseen <= millis(limit) + connection.slack + interval_of(&config));
            ensure!(checked, "connection {id} was handed out unchecked after {unseen} ms");
        }
        connection.place = Place::Leased;
        connection.uses += 1;
        self.counts.acquired += 1;
        self.counts.immediate += u64::from(!way.has_waited());
        Ok(())
    }

    /// Somebody gives a connection back.
    pub(super) fn take_back(&mut self, id: u64, end: End) -> Checked {
        let (now, config) = (self.clock.now(), self.config.clone());
        let connection = self.known(id)?;
        connection.place = Place::Ready;
        connection.released_at = now;
        connection.slack = interval_of(&config);
        connection.dirty |= end == End::Dirty;
        connection.broken |= matches!(end, End::Broken | End::Discarded);
        connection.worn = config.max_uses.is_some_and(|most| connection.uses >= most);
        Ok(())
    }

    /// A connection leaves the pool open.
    pub(super) fn detach(&mut self, id: u64) -> Checked {
        self.counts.detached += 1;
        self.departures.push(vec!["detached"]);
        self.known(id)?.place = Place::Gone;
        Ok(())
    }
}
