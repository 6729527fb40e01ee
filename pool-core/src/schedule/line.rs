//! The line in front of a pool: who passes, who waits, who is sent away.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{Account, Accounts};
use super::codel::{Flow, nanos};
use super::lanes::{Lanes, Place, Waiter};
use super::{Priority, ScheduleConfig};
use crate::shed::{Key, Shed};

/// What somebody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) key: Option<&'a Key>,
    pub(crate) priority: Priority,
    /// So many connections, all at once.
    pub(crate) passes: usize,
    /// Until then; in nanoseconds, as all times here.
    pub(crate) deadline: u64,
}

/// Somebody may have as many connections. It has to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is taken has to be given back"]
pub(crate) struct Pass {
    account: Account,
    passes: usize,
}

impl Pass {
    /// One for each connection.
    pub(crate) fn split(self) -> impl Iterator<Item = Self> {
        (0..self.passes).map(move |_| Self { passes: 1, ..self })
    }
}

/// What becomes of one who comes.
#[derive(Debug)]
pub(crate) enum Entry {
    Passes(Pass),
    Waits(Place),
    Shed(Shed),
}

/// What one who waits is called for.
#[derive(Debug)]
pub(crate) enum Call {
    Passes(Pass),
    Shed(Shed),
}

/// Who has come, and in what order they go.
#[derive(Debug)]
pub(crate) struct Line<T> {
    config: Arc<ScheduleConfig>,
    /// So many may pass at a time, now and at most.
    limits: Limits,
    accounts: Accounts,
    lanes: Lanes<T>,
    /// Of each priority: those of a higher one are served whatever becomes of the others.
    flows: [Flow; Priority::ALL.len()],
    /// What the lower priorities are owed, in hundredths of a turn.
    credits: [u32; Priority::ALL.len()],
    holds: Holds,
    /// The one whose turn it is, though there is not enough for it yet.
    held: Option<Place>,
    /// Whether those who wait may want more by now than there can be.
    is_changed: bool,
}

/// How many may pass at a time: now, and at most, when those have some who have others now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) now: usize,
    pub(crate) most: usize,
}

/// How long a pass is used, on the average of late.
#[derive(Debug, Default)]
struct Holds {
    mean: u64,
    count: u32,
}

/// What a whole turn is in credits.
const TURN: u32 = 100;

/// No more than so many times the average counts, or this if that is more; in nanoseconds.
const OUTLIER: u64 = 4;
const OUTLIER_FROM: u64 = 1_000_000;

/// The average is of about so many.
const HOLDS: u64 = 16;

impl Holds {
    fn note(&mut self, held: u64) {
        // One that is held for very long says little about the others.
        let held = self.mean().map_or(held, |mean| held.min(mean.max(OUTLIER_FROM).saturating_mul(OUTLIER)));
        self.count = self.count.saturating_add(1);
        let share = HOLDS.min(self.count.into());
        self.mean = self.mean - self.mean / share + held / share;
    }

    /// `None` as long as nobody can say.
    fn mean(&self) -> Option<u64> {
        (u64::from(self.count) >= HOLDS).then_some(self.mean)
    }
}

impl<T> Line<T> {
    pub(crate) fn new(config: Arc<ScheduleConfig>, limits: Limits) -> Self {
        let mut line = Self {
            config,
            limits,
            accounts: Accounts::default(),
            lanes: Lanes::default(),
            flows: Default::default(),
            credits: [0; Priority::ALL.len()],
            holds: Holds::default(),
            held: None,
            is_changed: false,
        };
        line.accounts.follow(&line.config);
        line
    }

    /// Puts other settings in force. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn follow(&mut self, config: Arc<ScheduleConfig>) {
        self.accounts.follow(&config);
        (self.config, self.held, self.is_changed) = (config, None, true);
    }

    /// So many may pass at a time from now on. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn limit_to(&mut self, limits: Limits) {
        self.is_changed |= limits.most != self.limits.most;
        self.limits = limits;
    }

    /// Somebody comes. Who waits may have to be [called](Self::calls) at once.
    pub(crate) fn enter(&mut self, now: u64, demand: &Demand<'_>, payload: impl FnOnce() -> T) -> Entry {
        let config = Arc::clone(&self.config);
        let Some(account) = self.accounts.of(demand.key, &config) else {
            return Entry::Shed(Shed::Keys { max: config.max_keys });
        };
        if self.is_next(now, account, demand) {
            self.serves_at_once(now, demand.priority);
            return Entry::Passes(self.pass(account, demand.passes));
        }
        if let Some(shed) = self.refuses(now, account, demand) {
            return Entry::Shed(shed);
        }
        self.accounts.waits(account, demand.passes);
        if self.lanes.waiting_with(demand.priority) == 0 {
            self.flows[demand.priority as usize].begins_again(now);
        }
        Entry::Waits(self.lanes.push(demand.priority, account, now, demand.passes, payload()))
    }

    /// As [`enter`](Self::enter), for one who does not wait: `None` if it would have to, or there are too many keys. Who has a use for the pass [says](Self::serves_at_once) so.
    pub(crate) fn enter_at_once(&mut self, now: u64, demand: &Demand<'_>) -> Option<Pass> {
        let config = Arc::clone(&self.config);
        let account = self.accounts.of(demand.key, &config)?;
        self.is_next(now, account, demand).then(|| self.pass(account, demand.passes))
    }

    /// Whether one who comes now would not have to wait, as far as that is known before it comes.
    pub(crate) fn has_room_for(&self, now: u64, demand: &Demand<'_>) -> bool {
        let account = self.accounts.known_as(demand.key);
        account.is_some_and(|account| self.is_next(now, account, demand))
    }

    /// One of this priority has been served who has not waited.
    pub(crate) fn serves_at_once(&mut self, now: u64, priority: Priority) {
        if let Some(codel) = self.config.codel.filter(|_| self.lanes.waiting_with(priority) > 0) {
            self.flows[priority as usize].serves(now, 0, codel);
        }
    }

    /// Whether nobody who waits could have what one wants who comes: all have been called who could be.
    fn is_next(&self, now: u64, account: Account, demand: &Demand<'_>) -> bool {
        let is_first = self.accounts.waiting(account).0 == 0;
        let has_right = || self.accounts.right(account, self.limits.now) >= demand.passes;
        is_first && self.has_room(account, demand.passes) && (!self.is_held(now, demand.priority) || has_right())
    }

    /// Whether one has its turn, without enough for it yet, which those of this priority leave to it.
    fn is_held(&self, now: u64, priority: Priority) -> bool {
        let waiter = |place: &Place| self.lanes.get(*place);
        let held = self.held.and_then(|place| waiter(&place).map(|waiter| (place, waiter)));
        let held =
            held.filter(|(_, waiter)| waiter.passes <= self.limits.now).map(|(place, waiter)| (place, waiter.since));
        // Those of a higher priority do so once it has waited for long: before, it is as much behind them as others are.
        held.is_some_and(|(place, since)| priority >= place.priority || since <= self.aged_since(now, place.priority))
    }

    /// Who has come by then counts as aged.
    fn aged_since(&self, now: u64, priority: Priority) -> u64 {
        let aging = nanos(self.config.aging);
        // Those who are turned away for having waited have their share before.
        let standing = self.config.codel.filter(|_| self.stands(priority));
        now.saturating_sub(standing.map_or(aging, |codel| aging.min(nanos(codel.target))))
    }

    fn stands(&self, priority: Priority) -> bool {
        self.flows[priority as usize].stands()
    }

    fn has_room(&self, account: Account, passes: usize) -> bool {
        self.accounts.quota_left(account).min(self.accounts.room(account, self.limits.now)) >= passes
    }

    fn pass(&mut self, account: Account, passes: usize) -> Pass {
        self.accounts.take(account, passes);
        Pass { account, passes }
    }

    /// Why one who has to wait may not.
    fn refuses(&self, now: u64, account: Account, demand: &Demand<'_>) -> Option<Shed> {
        let (most, waiting) = (self.accounts.most(account, self.limits.most), self.lanes.waiting());
        if demand.passes > most {
            return Some(Shed::Impossible { wanted: demand.passes, max: most });
        }
        if self.config.max_waiting.is_some_and(|max| waiting >= max) {
            return Some(Shed::Full { waiting });
        }
        let (of_key, max) = self.accounts.waiting(account);
        if max.is_some_and(|max| of_key >= max) {
            return Some(Shed::KeyFull { key: self.accounts.key(account).cloned(), waiting: of_key });
        }
        let ahead = self.lanes.before(demand.priority, account);
        self.hopeless(demand.priority, account, ahead, demand.deadline.saturating_sub(now))
    }

    /// Whether one with so many of its own key before it cannot be served in what is left of its time. Others may be before it or not.
    fn hopeless(&self, priority: Priority, account: Account, ahead: usize, left: u64) -> Option<Shed> {
        let comes_first_who_came_last = self.config.newest_first && self.stands(priority);
        let mean = self.holds.mean().filter(|_| self.config.foresee && !comes_first_who_came_last)?;
        let at_once = self.accounts.most(account, self.limits.most).max(1);
        let expected = mean.saturating_mul(ahead as u64) / at_once as u64;
        let (expected, left) = (Duration::from_nanos(expected), Duration::from_nanos(left));
        (expected > left).then_some(Shed::Hopeless { expected, left })
    }

    /// One who waits leaves. `None` if it has gone: it was called before. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn leave(&mut self, place: Place) -> Option<T> {
        self.take_out(place).map(|waiter| waiter.payload)
    }

    fn take_out(&mut self, place: Place) -> Option<Waiter<T>> {
        let waiter = self.lanes.remove(place)?;
        self.accounts.waits_no_more(place.account, waiter.passes);
        if self.lanes.waiting_with(place.priority) == 0 {
            self.flows[place.priority as usize].emptied();
        }
        if self.lanes.waiting() == 0 {
            self.credits = [0; Priority::ALL.len()];
        }
        Some(waiter)
    }

    /// One who waits looks at the line, with so much of its time left. Why it had better leave: then it has left. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn look(&mut self, now: u64, place: Place, left: u64) -> Option<(T, Shed)> {
        if let (Some(codel), Some((_, since))) = (self.config.codel, self.lanes.oldest(place.priority)) {
            self.flows[place.priority as usize].watch(now, now.saturating_sub(since), codel);
        }
        let shed = self.hopeless(place.priority, place.account, self.lanes.ahead(place)?, left)?;
        Some((self.leave(place)?, shed))
    }

    /// A pass comes back of which no use was made. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn forget(&mut self, pass: Pass) {
        self.accounts.give_back(pass.account, pass.passes);
    }

    /// A pass comes back that was used for so long. Somebody may have to be [called](Self::calls) now.
    pub(crate) fn give_back(&mut self, pass: Pass, held: u64) {
        self.accounts.give_back(pass.account, pass.passes);
        self.holds.note(held);
    }

    /// Calls the next one, if anybody can be.
    fn call(&mut self, now: u64) -> Option<(T, Call)> {
        let late = |line: &Self| line.too_late(now).map(|place| (place, Shed::Standing));
        if let Some((place, shed)) = self.impossible().or_else(|| late(self)) {
            return self.take_out(place).map(|waiter| (waiter.payload, Call::Shed(shed)));
        }
        let head = self.turn(now)?;
        let since = self.lanes.get(head)?.since;
        if let Some(codel) = self.config.codel {
            let flow = &mut self.flows[head.priority as usize];
            flow.serves(now, now.saturating_sub(since), codel);
            if now.saturating_sub(since) > flow.patience(codel) {
                return self.call(now);
            }
        }
        let next = self.newest(head).unwrap_or(head);
        let waiter = self.take_out(next)?;
        let pass = self.pass(next.account, waiter.passes);
        Some((waiter.payload, Call::Passes(pass)))
    }

    /// Who is served instead of the one whose turn it is, if that is wanted: who came last, unless there is not enough for it.
    fn newest(&self, head: Place) -> Option<Place> {
        let wanted = self.config.newest_first && self.stands(head.priority);
        wanted.then(|| self.lanes.last_beside(head)).filter(|last| self.fits(*last))
    }

    /// Calls all who can be.
    pub(crate) fn calls(&mut self, now: u64) -> Vec<(T, Call)> {
        std::iter::from_fn(|| self.call(now)).collect()
    }

    /// One who wants more than there can be, since the limit or the quotas are others: nobody else would have a turn while it waits for that.
    fn impossible(&mut self) -> Option<(Place, Shed)> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let most = |account| self.accounts.most(account, self.limits.most);
        // The same for all of a lane, which come one after the other.
        let mut last = None;
        let place = self.lanes.find(|account, waiter| {
            last = last.filter(|(of, _)| *of == account);
            let (_, most) = *last.get_or_insert_with(|| (account, most(account)));
            waiter.passes > most
        })?;
        // There may be others.
        self.is_changed = true;
        let wanted = self.lanes.get(place)?.passes;
        Some((place, Shed::Impossible { wanted, max: most(place.account) }))
    }

    /// One who has waited for too long in a queue that stands.
    fn too_late(&self, now: u64) -> Option<Place> {
        let codel = self.config.codel?;
        let oldest = |priority: Priority| {
            let patience = self.flows[priority as usize].patience(codel);
            self.lanes.oldest(priority).filter(|(_, since)| now.saturating_sub(*since) > patience)
        };
        Priority::ALL.into_iter().find_map(oldest).map(|(place, _)| place)
    }

    /// Whose turn it is, if there is room.
    fn turn(&mut self, now: u64) -> Option<Place> {
        let is_there = |place: Place| self.lanes.get(place).is_some_and(|waiter| waiter.passes <= self.limits.now);
        let held = self.held.filter(|place| is_there(*place) && !self.is_behind(now, *place));
        let next = held.or_else(|| self.next(now))?;
        let has_room = self.fits(next);
        // One that wants several keeps its turn until there is enough: others would take what there is for ever. But not what is reserved for them, which is of no use to it.
        self.held = Some(next).filter(|_| !has_room);
        if has_room { Some(next) } else { Priority::ALL.into_iter().find_map(|priority| self.entitled(priority)) }
    }

    /// Whether the one who has its turn leaves it to those of a higher priority who have come since.
    fn is_behind(&self, now: u64, held: Place) -> bool {
        let mut higher = Priority::ALL.into_iter().filter(|priority| *priority < held.priority);
        higher.any(|priority| !self.is_held(now, priority) && self.head(priority, u64::MAX).is_some())
    }

    /// Whether there is enough for one who waits.
    fn fits(&self, place: Place) -> bool {
        self.lanes.get(place).is_some_and(|waiter| self.has_room(place.account, waiter.passes))
    }

    /// The first of those with this priority for whom there is enough that is reserved for them.
    fn entitled(&self, priority: Priority) -> Option<Place> {
        let has_right = |(place, waiter): &(Place, &Waiter<T>)| {
            self.accounts.right(place.account, self.limits.now) >= waiter.passes
        };
        let heads = self.lanes.heads(priority, self.limits.now).filter(has_right);
        let first = heads.reduce(|best, other| if self.goes_before(&other, &best) { other } else { best });
        first.map(|(place, _)| place)
    }

    /// Whose turn comes: of the highest priority, or of one that is owed it.
    fn next(&mut self, now: u64) -> Option<Place> {
        let first = Priority::ALL.into_iter().find_map(|priority| self.head(priority, u64::MAX))?;
        let mut owed = None;
        for priority in Priority::ALL.into_iter().filter(|priority| *priority > first.priority) {
            let aged = self.head(priority, self.aged_since(now, priority));
            // All of them are owed their share of every turn.
            let is_owed = aged.is_some() && self.owe(priority);
            owed = owed.or(aged.filter(|_| is_owed));
        }
        let Some(place) = owed else { return Some(first) };
        self.credits[place.priority as usize] -= TURN;
        Some(place)
    }

    /// Owes a priority its share of a turn; whether that is a whole one by now.
    fn owe(&mut self, priority: Priority) -> bool {
        let credit = &mut self.credits[priority as usize];
        // A turn that cannot be given yet is not owed twice.
        *credit = (*credit + self.config.share(priority)).min(2 * TURN);
        *credit >= TURN
    }

    /// The first of those with this priority, who have come by then, who may have anything: of the key that has least for its weight.
    fn head(&self, priority: Priority, by: u64) -> Option<Place> {
        let may = |account, waiter: &Waiter<T>| {
            let is_within_quota = self.accounts.quota_left(account) >= waiter.passes;
            is_within_quota && self.accounts.room(account, self.limits.now) > 0 && !self.saves_up(account, priority)
        };
        // One that wants more than there can be at present is in nobody's way.
        let heads = self.lanes.heads(priority, self.limits.now).filter(|(_, waiter)| waiter.since <= by);
        let heads = heads.filter(|(place, waiter)| may(place.account, waiter));
        let first = heads.reduce(|best, other| if self.goes_before(&other, &best) { other } else { best });
        first.map(|(place, _)| place)
    }

    /// Whether what a key may still have is for one of a higher priority, who wants several.
    fn saves_up(&self, account: Account, priority: Priority) -> bool {
        let higher = Priority::ALL.into_iter().filter(|higher| *higher < priority);
        let left = self.accounts.quota_left(account);
        higher.filter_map(|higher| self.lanes.first(higher, account)).any(|waiter| waiter.passes > left)
    }

    /// Of keys that have the same for their weight, the one goes first that was served before the other.
    fn goes_before(&self, one: &(Place, &Waiter<T>), other: &(Place, &Waiter<T>)) -> bool {
        let (one_account, other_account) = (one.0.account, other.0.account);
        let (less, more) =
            (self.accounts.has_more(other_account, one_account), self.accounts.has_more(one_account, other_account));
        let turns = (self.accounts.last_turn(one_account), self.accounts.last_turn(other_account));
        less || !more && (turns.0, one.1.since) < (turns.1, other.1.since)
    }

    /// All who wait, who are sent away.
    pub(crate) fn send_away(&mut self) -> Vec<T> {
        let gone: Vec<_> = self.lanes.drain().collect();
        let leaves = |(account, waiter): (_, Waiter<T>)| {
            self.accounts.waits_no_more(account, waiter.passes);
            waiter.payload
        };
        gone.into_iter().map(leaves).collect()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// When the one came who came first, of those who wait.
    pub(crate) fn first_came(&self) -> Option<u64> {
        self.lanes.first_came()
    }

    /// How many passes those want together who wait because there are no more of them, and not because of a quota.
    pub(crate) fn wanted(&self) -> usize {
        self.accounts.could_use()
    }

    /// How many of these are of use only together, because one who waits wants more than there can be at present.
    pub(crate) fn wanted_at_once(&self) -> usize {
        let heads = Priority::ALL.into_iter().flat_map(|priority| self.lanes.heads(priority, usize::MAX));
        heads.map(|(_, waiter)| waiter.passes).filter(|passes| *passes > self.limits.now).min().unwrap_or_default()
    }

    /// Whether others have all that there are at present, and whether there can be no more of them.
    pub(crate) fn fullness(&self) -> (bool, bool) {
        (self.in_use() >= self.limits.now, self.limits.now >= self.limits.most)
    }

    /// How many may pass at a time.
    pub(crate) fn limit(&self) -> usize {
        self.limits.now
    }

    /// The keys that are known, each with how many passes it has and how many wait for it.
    pub(crate) fn keys(&self) -> Vec<(Option<Key>, usize, usize)> {
        self.accounts.all()
    }

    /// How many passes are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.accounts.in_use()
    }
}
