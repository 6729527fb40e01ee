//! Replacing connections before their time is over.

use std::time::Duration;

use crate::lifetime::millis;

/// How long it may take to replace one connection, roughly: what a pool allows for when all of them are of the same age.
const ONE: u64 = 50;

/// The epoch from which a connection is to be replaced that is too old at `expires_at`: a tenth of its life before, or earlier in a pool of many whose life is
/// short, but not before two thirds of it.
pub(crate) fn due_at(expires_at: u64, max_lifetime: Option<Duration>, max_size: usize) -> u64 {
    let Some(lifetime) = max_lifetime.map(millis) else { return u64::MAX };
    let for_all = ONE.saturating_mul(max_size as u64);
    expires_at.saturating_sub((lifetime / 10).max(for_all.min(lifetime / 3)))
}

/// What is known about connections that are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Those that are needed, and have not left yet.
    pub(crate) due: usize,
    /// Of these, those that have to leave in time. The others leave when they are worn.
    pub(crate) in_time: usize,
    /// Attempts to open a replacement that are under way.
    pub(crate) opening: usize,
    /// Replacements that are open, for which one that is due may leave.
    pub(crate) may_leave: usize,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// Open a replacement, and close one that is due after that.
    Open,
    /// There is no room: close one that is due, and open its replacement after that.
    CloseOne,
}

impl Progress {
    /// `room`: whether there is any. `at_once`: how many openers there may be.
    pub(crate) fn next(self, room: bool, at_once: usize) -> Next {
        match self {
            Self { due, opening, may_leave, .. } if opening + may_leave >= due => Next::Nothing,
            Self { opening, .. } if room && opening < at_once => Next::Open,
            Self { opening: 0, may_leave: 0, in_time: 1.., .. } if !room => Next::CloseOne,
            _ => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_due_before_they_are_too_old() {
        let at = |seconds, size| due_at(1_000_000, Some(Duration::from_secs(seconds)), size);
        assert_eq!(at(3600, 20), 1_000_000 - 360_000, "a tenth of an hour");
        assert_eq!(at(1, 2), 1_000_000 - 100, "50 ms each");
        assert_eq!(at(1, 20), 1_000_000 - 333, "a third at most");
        assert_eq!(at(3600, 60_000), 0, "a third of an hour is longer ago than the beginning");
        assert_eq!(due_at(u64::MAX, None, 20), u64::MAX);
    }

    #[test]
    fn replacements_are_opened_first_where_there_is_room() {
        let due = |due, opening, may_leave| Progress { due, in_time: due, opening, may_leave };
        assert_eq!(due(0, 0, 0).next(true, 4), Next::Nothing);
        assert_eq!(due(1, 0, 0).next(true, 4), Next::Open);
        assert_eq!(due(9, 3, 2).next(true, 4), Next::Open);
        assert_eq!(due(9, 4, 2).next(true, 4), Next::Nothing, "as many as there may be");
        assert_eq!(due(1, 1, 0).next(true, 4), Next::Nothing, "it has its replacement");
        assert_eq!(due(1, 0, 1).next(true, 4), Next::Nothing, "it may leave");
    }

    #[test]
    fn where_there_is_no_room_one_at_a_time_is_closed_first() {
        let due = |due, opening, may_leave| Progress { due, in_time: due, opening, may_leave };
        assert_eq!(due(9, 0, 0).next(false, 4), Next::CloseOne);
        assert_eq!(due(9, 1, 0).next(false, 4), Next::Nothing);
        assert_eq!(due(9, 0, 1).next(false, 4), Next::Nothing);
        let worn = Progress { in_time: 0, ..due(9, 0, 0) };
        assert_eq!([true, false].map(|room| worn.next(room, 4)), [Next::Open, Next::Nothing], "they can still be used");
    }
}
