//! What each key has, and whether it may have more.

use std::collections::HashMap;

use super::{Quota, ScheduleConfig};
use crate::shed::Key;

/// Where an account is in the list of them.
pub(crate) type Account = usize;

/// What one key has.
#[derive(Debug)]
struct Standing {
    key: Option<Key>,
    quota: Quota,
    in_use: usize,
    waiting: usize,
    /// How many passes those want together who wait.
    wanted: usize,
    /// The number of its last request, and of its last turn.
    last: u64,
    turn: u64,
}

impl Standing {
    fn new(key: Option<Key>, quota: Quota) -> Self {
        Self { key, quota, in_use: 0, waiting: 0, wanted: 0, last: 0, turn: 0 }
    }

    /// Whether nothing is lost with it.
    fn is_forgettable(&self) -> bool {
        self.key.is_some() && self.quota.reserved == 0 && self.in_use == 0 && self.waiting == 0
    }

    /// What is reserved for it and it does not have.
    fn unmet(&self) -> usize {
        self.quota.reserved.saturating_sub(self.in_use)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    all: Vec<Standing>,
    /// Those in `all` that are nobody's any more.
    vacant: Vec<Account>,
    by_key: HashMap<Option<Key>, Account>,
    in_use: usize,
    /// What is reserved for anybody who does not have it.
    unmet: usize,
    requests: u64,
    turns: u64,
}

impl Accounts {
    /// Puts other quotas in force.
    pub(super) fn follow(&mut self, config: &ScheduleConfig) {
        for standing in &mut self.all {
            standing.quota = quota(config, standing.key.as_ref());
        }
        while self.keys() > config.max_keys && self.forget_one().is_some() {}
        // What is reserved is reserved though nobody has asked yet.
        for (key, quota) in &config.quotas {
            if self.known(Some(key), config).is_none() && quota.reserved > 0 {
                self.add(Some(key.clone()), config);
            }
        }
        self.unmet = self.all.iter().map(Standing::unmet).sum();
    }

    /// The account of a key, which a request has come for; `None` if there are too many in use.
    pub(super) fn of(&mut self, key: Option<&Key>, config: &ScheduleConfig) -> Option<Account> {
        let account = self.known(key, config)?;
        self.requests += 1;
        self.all[account].last = self.requests;
        Some(account)
    }

    /// The account of a key that is known already.
    pub(super) fn known_as(&self, key: Option<&Key>) -> Option<Account> {
        self.by_key.get(&key.cloned()).copied()
    }

    fn known(&mut self, key: Option<&Key>, config: &ScheduleConfig) -> Option<Account> {
        let key = key.cloned();
        self.by_key.get(&key).copied().or_else(|| self.open(key, config))
    }

    fn open(&mut self, key: Option<Key>, config: &ScheduleConfig) -> Option<Account> {
        while key.is_some() && self.keys() >= config.max_keys {
            self.forget_one()?;
        }
        Some(self.add(key, config))
    }

    /// How many there are. Those without a key have an account beside the others.
    fn keys(&self) -> usize {
        self.by_key.len() - usize::from(self.by_key.contains_key(&None))
    }

    /// Forgets the key that was used least recently, of those with which nothing is lost.
    fn forget_one(&mut self) -> Option<()> {
        let forgettable = self.all.iter().enumerate().filter(|(_, standing)| standing.is_forgettable());
        let (account, _) = forgettable.min_by_key(|(_, standing)| standing.last)?;
        self.by_key.remove(&self.all[account].key.take());
        self.vacant.push(account);
        Some(())
    }

    fn add(&mut self, key: Option<Key>, config: &ScheduleConfig) -> Account {
        let account = self.vacant.pop().unwrap_or(self.all.len());
        let standing = Standing::new(key.clone(), quota(config, key.as_ref()));
        self.unmet += standing.unmet();
        match self.all.get_mut(account) {
            Some(vacant) => *vacant = standing,
            None => self.all.push(standing),
        }
        self.by_key.insert(key, account);
        account
    }

    /// How many more this one may have by its own quota.
    pub(super) fn quota_left(&self, account: Account) -> usize {
        let standing = &self.all[account];
        standing.quota.max.map_or(usize::MAX, |max| max.saturating_sub(standing.in_use))
    }

    /// How many more it may have now for the sake of others, of so many that there can be.
    pub(super) fn room(&self, account: Account, limit: usize) -> usize {
        let own = self.all[account].unmet();
        let free = limit.saturating_sub(self.in_use);
        // What is reserved for it, even if too much is reserved for all of them together.
        free.saturating_sub(self.unmet - own).max(own.min(free))
    }

    /// How many more it has a right to, whoever waits: they are reserved for it.
    pub(super) fn right(&self, account: Account, limit: usize) -> usize {
        self.all[account].unmet().min(limit.saturating_sub(self.in_use))
    }

    /// How many this one may have at all.
    pub(super) fn most(&self, account: Account, limit: usize) -> usize {
        let quota = self.all[account].quota;
        let reserved: usize = self.all.iter().map(|standing| standing.quota.reserved).sum();
        let rest = limit.saturating_sub(reserved - quota.reserved).max(quota.reserved.min(limit));
        quota.max.map_or(rest, |max| max.min(rest))
    }

    /// Whether this one has more than that one for its weight.
    pub(super) fn has_more(&self, one: Account, other: Account) -> bool {
        let (one, other) = (&self.all[one], &self.all[other]);
        one.in_use as u64 * u64::from(other.quota.weight) > other.in_use as u64 * u64::from(one.quota.weight)
    }

    /// The number of its last turn.
    pub(super) fn last_turn(&self, account: Account) -> u64 {
        self.all[account].turn
    }

    pub(super) fn take(&mut self, account: Account, passes: usize) {
        self.turns += 1;
        self.all[account].turn = self.turns;
        self.change(account, |standing| standing.in_use += passes);
    }

    pub(super) fn give_back(&mut self, account: Account, passes: usize) {
        self.change(account, |standing| standing.in_use -= passes);
    }

    fn change(&mut self, account: Account, change: impl FnOnce(&mut Standing)) {
        let standing = &mut self.all[account];
        let (unmet, in_use) = (standing.unmet(), standing.in_use);
        change(standing);
        self.unmet = self.unmet - unmet + standing.unmet();
        self.in_use = self.in_use - in_use + standing.in_use;
    }

    pub(super) fn waits(&mut self, account: Account, passes: usize) {
        let standing = &mut self.all[account];
        (standing.waiting, standing.wanted) = (standing.waiting + 1, standing.wanted + passes);
    }

    pub(super) fn waits_no_more(&mut self, account: Account, passes: usize) {
        let standing = &mut self.all[account];
        (standing.waiting, standing.wanted) = (standing.waiting - 1, standing.wanted - passes);
    }

    /// How many passes those could have who wait, if there were as many as they want: not more than their quotas let.
    pub(super) fn could_use(&self) -> usize {
        (0..self.all.len()).map(|account| self.all[account].wanted.min(self.quota_left(account))).sum()
    }

    /// How many wait for a key, and how many may.
    pub(super) fn waiting(&self, account: Account) -> (usize, Option<usize>) {
        let standing = &self.all[account];
        (standing.waiting, standing.quota.max_waiting)
    }

    pub(super) fn key(&self, account: Account) -> Option<&Key> {
        self.all[account].key.as_ref()
    }

    /// All of them, each with what it has and how many wait for it.
    pub(super) fn all(&self) -> Vec<(Option<Key>, usize, usize)> {
        let all = self.by_key.iter().map(|(key, account)| (key, &self.all[*account]));
        all.map(|(key, standing)| (key.clone(), standing.in_use, standing.waiting)).collect()
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }
}

fn quota(config: &ScheduleConfig, key: Option<&Key>) -> Quota {
    key.and_then(|key| config.quotas.get(key)).copied().unwrap_or(config.quota)
}
