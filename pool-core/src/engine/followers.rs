//! Those in front of a pool, who have to know what becomes of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;

use super::Engine;
use crate::driver::Driver;

/// Somebody who follows the pool: how many connections there may be, and whether it is closed.
pub(crate) trait Follower: Send + Sync {
    /// One of that may have changed.
    fn changed(self: Arc<Self>);

    /// How many connections those want together who wait in front of the pool because there are no more in it.
    fn wanted(&self) -> usize {
        0
    }

    /// How many of them are of use only together.
    fn wanted_at_once(&self) -> usize {
        0
    }

    /// Those who wait in front of the pool, whatever for. Takes no lock.
    fn in_line(&self) -> InLine {
        InLine::default()
    }

    /// The pool has looked after its idle connections, as it does once a second.
    fn looked_after(self: Arc<Self>) {}
}

/// Those who wait in front of a pool.
#[derive(Clone, Copy, Default)]
pub(crate) struct InLine {
    pub(crate) callers: usize,
    /// When the one came who came first, by the pool's clock.
    pub(crate) since: Option<u64>,
}

/// Everybody who does. Looked at when something has changed, and by those who prefer a connection, but by nobody else who acquires or releases.
#[derive(Default)]
pub(super) struct Followers {
    all: Mutex<Vec<Weak<dyn Follower>>>,
    /// The same, for all who do not add to it.
    shown: ArcSwap<Vec<Weak<dyn Follower>>>,
}

impl<D: Driver> Engine<D> {
    /// Somebody follows from now on, for as long as it is there.
    pub(crate) fn be_followed(&self, follower: Weak<dyn Follower>) {
        let mut all = self.followers.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|follower| follower.strong_count() > 0);
        all.push(follower);
        self.followers.shown.store(Arc::new(all.clone()));
    }

    /// How many connections those want together who wait in front of the pool because there are no more in it.
    pub(crate) fn in_front(&self) -> usize {
        self.all_followers().iter().filter_map(Weak::upgrade).map(|follower| follower.wanted()).sum()
    }

    /// How many of them are of use only together.
    pub(super) fn in_front_at_once(&self) -> usize {
        let wanted = |follower: Arc<dyn Follower>| follower.wanted_at_once();
        self.all_followers().iter().filter_map(Weak::upgrade).map(wanted).max().unwrap_or_default()
    }

    /// Those who wait in front of the pool. Takes no lock.
    pub(crate) fn in_line(&self) -> InLine {
        let shown = self.followers.shown.load();
        let all = shown.iter().filter_map(Weak::upgrade).map(|follower| follower.in_line());
        let both = |one: InLine, other: InLine| InLine {
            callers: one.callers + other.callers,
            since: one.since.into_iter().chain(other.since).min(),
        };
        all.fold(InLine::default(), both)
    }

    fn all_followers(&self) -> Arc<Vec<Weak<dyn Follower>>> {
        self.followers.shown.load_full()
    }

    /// Somebody waits in front of the pool: nobody who prefers a connection is patient any more.
    pub(crate) fn tell_the_patient(&self) {
        if self.tags.are_used() {
            self.tell();
        }
    }

    /// Tells them that it has looked after its idle connections.
    pub(super) fn tell_of_round(&self) {
        self.all_followers().iter().filter_map(Weak::upgrade).for_each(Follower::looked_after);
    }

    /// Tells them.
    pub(super) fn tell_followers(&self) {
        self.all_followers().iter().filter_map(Weak::upgrade).for_each(Follower::changed);
    }
}
