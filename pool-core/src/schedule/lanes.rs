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
    /// How many of its lane were before it when it came, and how many had left the lane by then.
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

/// Those of one priority and key.
#[derive(Debug)]
struct Lane<T> {
    waiters: BTreeMap<u64, Waiter<T>>,
    /// How many have left it.
    gone: u64,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), gone: 0 }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    levels: [BTreeMap<Account, Lane<T>>; Priority::ALL.len()],
    waiting: [usize; Priority::ALL.len()],
    /// How many have come.
    numbers: u64,
    /// When those came who wait, by their numbers.
    came: BTreeMap<u64, u64>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { levels: Default::default(), waiting: [0; Priority::ALL.len()], numbers: 0, came: BTreeMap::new() }
    }
}

impl<T> Lanes<T> {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    pub(super) fn waiting_with(&self, priority: Priority) -> usize {
        self.waiting[priority as usize]
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
        self.numbers += 1;
        let place = Place { priority, account, number: self.numbers };
        let lane = self.levels[priority as usize].entry(account).or_default();
        let waiter = Waiter { since, passes, payload, ahead: lane.waiters.len(), gone: lane.gone };
        lane.waiters.insert(place.number, waiter);
        self.came.insert(place.number, since);
        self.waiting[priority as usize] += 1;
        place
    }

    /// Takes one out; `None` if it has gone.
    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter<T>> {
        let level = &mut self.levels[place.priority as usize];
        let lane = level.get_mut(&place.account)?;
        let waiter = lane.waiters.remove(&place.number)?;
        self.came.remove(&place.number);
        lane.gone += 1;
        if lane.waiters.is_empty() {
            level.remove(&place.account);
        }
        self.waiting[place.priority as usize] -= 1;
        Some(waiter)
    }

    /// How many of its own key are before one who waits, as far as that can be told from how many have left.
    pub(super) fn ahead(&self, place: Place) -> Option<usize> {
        let lane = self.levels[place.priority as usize].get(&place.account)?;
        let waiter = lane.waiters.get(&place.number)?;
        let gone = usize::try_from(lane.gone - waiter.gone).unwrap_or(usize::MAX);
        Some(self.above(place.priority, place.account) + waiter.ahead.saturating_sub(gone))
    }

    /// How many are before one of this key who comes now.
    pub(super) fn before(&self, priority: Priority, account: Account) -> usize {
        self.above(priority, account)
            + self.levels[priority as usize].get(&account).map_or(0, |lane| lane.waiters.len())
    }

    /// How many of a key wait with a higher priority.
    fn above(&self, priority: Priority, account: Account) -> usize {
        let levels = &self.levels[..priority as usize];
        levels.iter().filter_map(|level| level.get(&account)).map(|lane| lane.waiters.len()).sum()
    }

    /// The accounts for which somebody waits with this priority who wants so many at most, each with the one who came first.
    pub(super) fn heads(&self, priority: Priority, most: usize) -> impl Iterator<Item = (Place, &Waiter<T>)> {
        let lanes = self.levels[priority as usize].iter();
        lanes.filter_map(move |(account, lane)| {
            let (number, waiter) = lane.waiters.iter().find(|(_, waiter)| waiter.passes <= most)?;
            Some((Place { priority, account: *account, number: *number }, waiter))
        })
    }

    /// The first of all for whom this holds.
    pub(super) fn find(&self, mut holds: impl FnMut(Account, &Waiter<T>) -> bool) -> Option<Place> {
        let lanes = Priority::ALL.into_iter().flat_map(|priority| {
            self.levels[priority as usize].iter().map(move |(account, lane)| (priority, *account, lane))
        });
        let mut all = lanes.flat_map(|(priority, account, lane)| {
            lane.waiters.iter().map(move |(number, waiter)| (Place { priority, account, number: *number }, waiter))
        });
        all.find(|(place, waiter)| holds(place.account, waiter)).map(|(place, _)| place)
    }

    /// The first of a key with this priority.
    pub(super) fn first(&self, priority: Priority, account: Account) -> Option<&Waiter<T>> {
        let lane = self.levels[priority as usize].get(&account)?;
        lane.waiters.first_key_value().map(|(_, waiter)| waiter)
    }

    /// The one who came last to the lane of another.
    pub(super) fn last_beside(&self, place: Place) -> Place {
        let lane = self.levels[place.priority as usize].get(&place.account);
        let last = lane.and_then(|lane| lane.waiters.last_key_value()).map(|(number, _)| *number);
        Place { number: last.unwrap_or(place.number), ..place }
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiter<T>> {
        self.levels[place.priority as usize].get(&place.account)?.waiters.get(&place.number)
    }

    /// Since when the one of a priority has waited who has waited for longest.
    pub(super) fn oldest(&self, priority: Priority) -> Option<(Place, u64)> {
        self.heads(priority, usize::MAX).map(|(place, waiter)| (place, waiter.since)).min_by_key(|(_, since)| *since)
    }

    /// When the one came who came first, of all who wait.
    pub(super) fn first_came(&self) -> Option<u64> {
        self.came.first_key_value().map(|(_, since)| *since)
    }

    /// All who wait, who leave.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Account, Waiter<T>)> {
        self.waiting = Default::default();
        self.came.clear();
        let lanes = std::mem::take(&mut self.levels).into_iter().flatten();
        lanes.flat_map(|(account, lane)| lane.waiters.into_values().map(move |waiter| (account, waiter)))
    }
}
