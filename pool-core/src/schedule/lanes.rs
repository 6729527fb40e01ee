//! Those who wait, in order: a lane for each priority and key.

use std::collections::BTreeMap;

use super::Priority;
use super::accounts::Account;

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    /// Since when.
    pub(super) since: u64,
    /// How many it wants at once.
    pub(super) passes: usize,
    pub(super) payload: T,
    /// How many were before it when it came, and how many had left the line by then.
    ahead: usize,
    gone: u64,
}

/// Where one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) priority: Priority,
    pub(super) account: Account,
    number: u64,
}

type Lane<T> = BTreeMap<u64, Waiter<T>>;

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    levels: [BTreeMap<Account, Lane<T>>; Priority::ALL.len()],
    waiting: [usize; Priority::ALL.len()],
    /// How many have come, and how many of these have gone.
    numbers: u64,
    gone: u64,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { levels: Default::default(), waiting: [0; Priority::ALL.len()], numbers: 0, gone: 0 }
    }
}

impl<T> Lanes<T> {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    /// Somebody comes who wants so many at once.
    pub(super) fn push(
        &mut self,
        priority: Priority,
        account: Account,
        since: u64,
        passes: usize,
        payload: T,
    ) -> Place {
        let waiter = Waiter { since, passes, payload, ahead: self.before(priority), gone: self.gone };
        self.numbers += 1;
        let place = Place { priority, account, number: self.numbers };
        self.levels[priority as usize].entry(account).or_default().insert(place.number, waiter);
        self.waiting[priority as usize] += 1;
        place
    }

    /// Takes one out; `None` if it has gone.
    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter<T>> {
        let level = &mut self.levels[place.priority as usize];
        let lane = level.get_mut(&place.account)?;
        let waiter = lane.remove(&place.number)?;
        if lane.is_empty() {
            level.remove(&place.account);
        }
        self.waiting[place.priority as usize] -= 1;
        self.gone += 1;
        Some(waiter)
    }

    /// How many are before one who waits, as far as that can be told from how many have left.
    pub(super) fn ahead(&self, place: Place) -> Option<usize> {
        let waiter = self.get(place)?;
        let gone = usize::try_from(self.gone - waiter.gone).unwrap_or(usize::MAX);
        Some(waiter.ahead.saturating_sub(gone))
    }

    /// The accounts for which somebody waits with this priority, each with the one who came first.
    pub(super) fn heads(&self, priority: Priority) -> impl Iterator<Item = (Place, &Waiter<T>)> {
        let lanes = self.levels[priority as usize].iter();
        lanes.filter_map(move |(account, lane)| {
            let (number, waiter) = lane.first_key_value()?;
            Some((Place { priority, account: *account, number: *number }, waiter))
        })
    }

    /// The first of all for whom this holds.
    pub(super) fn find(&self, mut holds: impl FnMut(Account, &Waiter<T>) -> bool) -> Option<Place> {
        let lanes = Priority::ALL.into_iter().flat_map(|priority| {
            self.levels[priority as usize].iter().map(move |(account, lane)| (priority, *account, lane))
        });
        let mut all = lanes.flat_map(|(priority, account, lane)| {
            lane.iter().map(move |(number, waiter)| (Place { priority, account, number: *number }, waiter))
        });
        all.find(|(place, waiter)| holds(place.account, waiter)).map(|(place, _)| place)
    }

    /// The one who came last to the lane of another.
    pub(super) fn last_beside(&self, place: Place) -> Place {
        let lane = self.levels[place.priority as usize].get(&place.account);
        let last = lane.and_then(|lane| lane.last_key_value()).map(|(number, _)| *number);
        Place { number: last.unwrap_or(place.number), ..place }
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiter<T>> {
        self.levels[place.priority as usize].get(&place.account)?.get(&place.number)
    }

    /// How many wait with this priority or a higher one.
    pub(super) fn before(&self, priority: Priority) -> usize {
        self.waiting[..=priority as usize].iter().sum()
    }

    /// Since when the one has waited who has waited for longest.
    pub(super) fn oldest(&self) -> Option<(Place, u64)> {
        let heads = Priority::ALL.into_iter().flat_map(|priority| self.heads(priority));
        heads.map(|(place, waiter)| (place, waiter.since)).min_by_key(|(_, since)| *since)
    }

    /// All who wait, who leave.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Account, T)> {
        self.gone += self.waiting() as u64;
        self.waiting = Default::default();
        let lanes = std::mem::take(&mut self.levels).into_iter().flatten();
        lanes.flat_map(|(account, lane)| lane.into_values().map(move |waiter| (account, waiter.payload)))
    }
}
