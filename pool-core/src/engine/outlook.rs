//! How many connections a pool can have, as things stand.

use super::Engine;
use crate::driver::{Driver, ErrorClass};

/// How many connections a pool can have, those included that it has.
pub(crate) struct Outlook {
    /// Without waiting for others.
    pub(crate) now: usize,
    /// Whatever others have now.
    pub(crate) most: usize,
}

impl<D: Driver> Engine<D> {
    /// How many there can be: as many as the settings let, unless its budget or the backend has no more.
    pub(crate) fn outlook(&self) -> Outlook {
        let (max, room) = (self.config.load().max_size, self.core.capacity.read());
        let mut outlook = Outlook { now: max, most: max };
        if let Some(part) = &self.part {
            let (more, cap) = part.membership.outlook(room.max.saturating_sub(room.open));
            // The maximum is lower by what it owes.
            outlook = Outlook { now: room.max.min(room.open + more), most: max.min(cap.max(room.open)) };
        }
        if self.is_backend_full() {
            // One more, so that somebody waits for the next attempt.
            outlook.now = outlook.now.min(room.live() + room.opening.max(1));
        }
        outlook
    }

    /// Whether that may be fewer than the settings let.
    pub(crate) fn is_scarce(&self) -> bool {
        self.has_a_budget() || self.is_backend_full()
    }

    /// Whether the last attempt to open a connection failed because the backend has no more.
    fn is_backend_full(&self) -> bool {
        self.last_failure.load().as_ref().is_some_and(|failure| failure.class() == ErrorClass::Full)
    }

    /// 1 if somebody in front of the pool waits until it is known whether the backend has more connections again.
    pub(super) fn needs_to_know(&self) -> usize {
        if self.is_backend_full() { self.in_front().min(1) } else { 0 }
    }

    /// Whether no more connections can be opened, whatever others do.
    pub(crate) fn is_at_its_most(&self) -> bool {
        let room = self.core.capacity.read();
        room.open >= room.max || self.part.as_ref().is_some_and(|part| !part.membership.may_grow())
    }
}
