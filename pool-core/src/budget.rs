//! One cap for several pools: the handle that services keep, and what each pool has of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::engine::{caught, report};
use crate::error::{ConfigError, RefusedSetting};
use crate::shares::{Concerned, Share, Shares};

/// The most connections that several pools of a process have together. Cheap to clone; all clones are the same budget. Pools join it by [`PoolBuilder::budget`](crate::PoolBuilder::budget), of whatever drivers.
///
/// At no moment do its pools have more connections than the cap, those that are being opened or closed and replacements beyond a pool's own maximum included; a pool takes one of them before it begins to open a connection and
/// gives it back when the connection is closed. A connection that is [detached](crate::Lease::detach) is the pool's no more, and does not count; one that is [adopted](crate::Pool::adopt) does.
///
/// Each pool is [guaranteed](crate::PoolBuilder::guaranteed) some. What others do not use is lent to whoever has callers that wait for it: a pool that has less beyond its guarantee than another one, or lacks some of it, is
/// given the next connection that the one with most beyond its guarantee has no user for; at once, if one is idle. No lease is ever taken away. `docs/policies.md` has the whole rule.
///
/// # Example
///
/// ```no_run
/// # fn build(orders: impl pool_core::Driver, reports: impl pool_core::Driver) -> Result<(), pool_core::ConfigError> {
/// use pool_core::{Budget, Pool};
///
/// let budget = Budget::new(20)?;
/// let orders = Pool::builder(orders).max_size(20).guaranteed(10).budget(&budget).build()?;
/// let reports = Pool::builder(reports).max_size(20).guaranteed(2).budget(&budget).build()?;
/// println!("{}", budget.stats());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

/// What the handles and the pools share.
struct Shared(Mutex<Books>);

struct Books {
    shares: Shares,
    members: BTreeMap<u64, Weak<dyn Member>>,
}

/// A pool, as its budget sees it.
pub(crate) trait Member: Send + Sync {
    /// It owes another number of connections than before, or one is free for it. Called with no lock held; it does not call the budget back, but to ask how things stand.
    fn changed(self: Arc<Self>);
}

impl Budget {
    /// A budget of so many connections.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is none.
    ///
    /// # Example
    ///
    /// ```
    /// let error = pool_core::Budget::new(0).unwrap_err();
    /// assert_eq!(error.to_string(), "cap = 0 is not allowed; allowed: 1 and more, and no less than is guaranteed to its pools");
    /// ```
    pub fn new(cap: usize) -> Result<Self, ConfigError> {
        if cap == 0 {
            return Err(refused_cap(cap));
        }
        let books = Books { shares: Shares::new(cap), members: BTreeMap::new() };
        Ok(Self(Arc::new(Shared(Mutex::new(books)))))
    }

    /// Another cap, from now on. If the pools have more than a lower one, no more are opened, and those that have most beyond their guarantee give back what is idle, and the next that come back to them.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is none, or less than what is guaranteed to the pools; then nothing has changed.
    ///
    /// # Example
    ///
    /// ```
    /// let budget = pool_core::Budget::new(20)?;
    /// budget.resize(30)?;
    /// assert_eq!(budget.stats().cap, 30);
    /// # Ok::<_, pool_core::ConfigError>(())
    /// ```
    pub fn resize(&self, cap: usize) -> Result<(), ConfigError> {
        let resized = if cap > 0 { self.0.change(|shares| shares.resize(cap)) } else { None };
        resized.map(Notice::tell).ok_or_else(|| refused_cap(cap))
    }

    /// Who has what, and who wants more.
    ///
    /// # Example
    ///
    /// ```
    /// let stats = pool_core::Budget::new(20)?.stats();
    /// assert_eq!(stats.to_string(), "0 of 20 held, 0 guaranteed, 0 more wanted, by 0 pools");
    /// # Ok::<_, pool_core::ConfigError>(())
    /// ```
    pub fn stats(&self) -> BudgetStats {
        let books = self.0.books();
        let shares = &books.shares;
        BudgetStats {
            cap: shares.cap(),
            held: shares.held(),
            guaranteed: shares.guaranteed(),
            wanted: shares.wanted(),
            pools: shares.all().map(ShareStats::of).collect(),
        }
    }

    /// Another pool, which is shown as soon as it is there.
    pub(crate) fn join(&self, guaranteed: usize) -> Result<Membership, ConfigError> {
        let id = self.0.books().shares.join(guaranteed).ok_or_else(|| refused_guarantee(guaranteed))?;
        Ok(Membership { shared: Arc::clone(&self.0), id })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.stats()).finish()
    }
}

fn refused_cap(cap: usize) -> ConfigError {
    let allowed = "1 and more, and no less than is guaranteed to its pools";
    ConfigError { refused: vec![RefusedSetting { field: "cap", value: cap.to_string(), allowed }] }
}

fn refused_guarantee(guaranteed: usize) -> ConfigError {
    let allowed = "0 to what the cap of the budget leaves beside the guarantees of its other pools";
    ConfigError { refused: vec![RefusedSetting { field: "guaranteed", value: guaranteed.to_string(), allowed }] }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, if it can be.
    fn change(&self, change: impl FnOnce(&mut Shares) -> Option<Concerned>) -> Option<Notice> {
        let mut books = self.books();
        let concerned = change(&mut books.shares)?;
        Some(Notice(concerned.iter().filter_map(|id| books.members.get(id)).cloned().collect()))
    }

    fn change_and_tell(&self, change: impl FnOnce(&mut Shares) -> Concerned) {
        self.change(|shares| Some(change(shares))).into_iter().for_each(Notice::tell);
    }
}

/// Those whom a change concerns.
#[derive(Default)]
#[must_use = "they have to be told"]
pub(crate) struct Notice(Vec<Weak<dyn Member>>);

impl Notice {
    /// Tells them, after all locks: they take theirs, and the last handle to a pool may be dropped here.
    pub(crate) fn tell(self) {
        for member in self.0 {
            if let Err(message) = caught(|| member.upgrade().into_iter().for_each(Member::changed)) {
                report(|| tracing::error!(panic = message, "a pool panicked when its budget told it of a change"));
            }
        }
    }
}

/// What a pool has of a budget. When it is dropped the pool is gone, and so are its connections.
pub(crate) struct Membership {
    shared: Arc<Shared>,
    id: u64,
}

impl Membership {
    /// From now on the pool is told what concerns it.
    pub(crate) fn show(&self, member: Weak<dyn Member>) {
        self.shared.books().members.insert(self.id, member);
    }

    /// Takes one of the budget, for a connection that is about to be opened. `need`: it would be missed.
    pub(crate) fn take(&self, need: bool) -> bool {
        self.shared.change(|shares| shares.take(self.id, need)).map(Notice::tell).is_some()
    }

    /// What it was taken for is open, and whoever waited for that has it.
    pub(crate) fn opened(&self) {
        self.shared.change_and_tell(|shares| shares.opened(self.id));
    }

    /// Gives one back that was taken for what could not be opened.
    pub(crate) fn give_up(&self) {
        self.shared.change_and_tell(|shares| shares.give_up(self.id));
    }

    /// Gives one back.
    pub(crate) fn give(&self) {
        self.shared.change_and_tell(|shares| shares.give(self.id));
    }

    /// Says how many more could be opened now.
    pub(crate) fn want(&self, wants: usize) {
        self.shared.change_and_tell(|shares| shares.want(self.id, wants));
    }

    /// Says how many were not used for a while.
    pub(crate) fn note_unused(&self, unused: usize) {
        self.shared.change_and_tell(|shares| shares.note_unused(self.id, unused));
    }

    /// Another guarantee.
    pub(crate) fn guarantee(&self, guaranteed: usize) -> Result<Notice, ConfigError> {
        self.shared.change(|shares| shares.guarantee(self.id, guaranteed)).ok_or_else(|| refused_guarantee(guaranteed))
    }

    /// The pool is closed.
    pub(crate) fn close(&self) {
        self.shared.change_and_tell(|shares| shares.close(self.id));
    }

    /// Whether one is free that nobody needs.
    pub(crate) fn has_spare(&self) -> bool {
        self.shared.books().shares.has_spare()
    }

    /// How many more it could take now if it wanted so many, and how many there are altogether.
    pub(crate) fn outlook(&self, wants: usize) -> (usize, usize) {
        let shares = &self.shared.books().shares;
        (shares.available(self.id, wants), shares.cap())
    }

    /// Whether it could have more than it holds.
    pub(crate) fn may_grow(&self) -> bool {
        self.shared.books().shares.may_grow(self.id)
    }

    /// Whether none is free.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.shared.books().shares.free() == 0
    }

    pub(crate) fn stats(&self) -> ShareStats {
        ShareStats::of(&self.shared.books().shares.get(self.id))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = self.shared.books().members.remove(&self.id);
        drop(member);
        self.shared.change_and_tell(|shares| shares.leave(self.id));
    }
}

/// What a [`Budget`] says about itself. One reading, under its lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetStats {
    /// The most connections there may be.
    pub cap: usize,
    /// Connections that exist, are being opened or are being closed. More than `cap` only after that was lowered, until they come back.
    pub held: usize,
    /// What is guaranteed to the pools together.
    pub guaranteed: usize,
    /// How many more connections the pools could use at once.
    pub wanted: usize,
    /// Each of the pools, in the order in which they joined.
    pub pools: Vec<ShareStats>,
}

impl fmt::Display for BudgetStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cap, held, guaranteed, wanted, pools } = self;
        write!(f, "{held} of {cap} held, {guaranteed} guaranteed, {wanted} more wanted, by {} pools", pools.len())
    }
}

/// What one pool has of a [`Budget`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareStats {
    /// Connections that it has, those included that are being opened or closed.
    pub held: usize,
    /// Connections that it can have whatever others want.
    pub guaranteed: usize,
    /// Connections that it could use at once, and has not been given.
    pub wants: usize,
    /// Connections that it gives back as soon as nobody uses them.
    pub owed: usize,
}

impl ShareStats {
    fn of(share: &Share) -> Self {
        let Share { held, guaranteed, wants, owed, .. } = *share;
        Self { held, guaranteed, wants, owed }
    }
}
