//! Warm-up: connections that somebody wants before they are needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Engine;
use super::changes::watch;
use crate::config::{Config, MAX_BUDGET};
use crate::driver::{Driver, ErrorClass};
use crate::error::WarmUpError;
use crate::failure::OpenFailure;

/// So many connections, one attempt after the other.
struct WarmUp {
    number: u64,
    size: usize,
    interval: Duration,
    /// When the next attempt may begin.
    next: Instant,
}

/// Those that are under way.
#[derive(Default)]
pub(super) struct WarmUps(Mutex<List>);

#[derive(Default)]
struct List {
    warm_ups: Vec<WarmUp>,
    begun: u64,
}

impl WarmUps {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, size: usize, interval: Duration) -> u64 {
        let mut list = self.list();
        list.begun += 1;
        let number = list.begun;
        // More than a clock can count to.
        let interval = interval.min(MAX_BUDGET);
        list.warm_ups.push(WarmUp { number, size, interval, next: Instant::now() });
        number
    }

    /// How many connections are wanted now, as far as those who want them let an attempt begin.
    pub(super) fn wanted(&self, now: Instant) -> usize {
        self.list().warm_ups.iter().filter(|one| one.next <= now).map(|one| one.size).max().unwrap_or(0)
    }

    /// An attempt has begun that those count who want more than `open`.
    pub(super) fn count(&self, now: Instant, open: usize) {
        let mut list = self.list();
        list.warm_ups.iter_mut().filter(|one| one.size > open).for_each(|one| one.next = now + one.interval);
    }

    /// When one of those may begin an attempt who may not now.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.list().warm_ups.iter().map(|one| one.next).filter(|next| *next > now).min()
    }
}

/// A warm-up, which ends when this is dropped.
struct Begun<'a> {
    warm_ups: &'a WarmUps,
    number: u64,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.warm_ups.list().warm_ups.retain(|one| one.number != self.number);
    }
}

/// Waits until the minimum is open, but for one connection at least.
pub(crate) async fn ready<D: Driver>(engine: &Arc<Engine<D>>, limit: Duration) -> Result<(), WarmUpError> {
    // The pool opens its minimum by itself, another one too, once it has a connection.
    open_so_many(engine, || engine.config.load().min_size.max(1), Duration::ZERO, limit).await
}

/// Opens connections until there are so many.
pub(crate) async fn warm_up<D: Driver>(
    engine: &Arc<Engine<D>>,
    size: usize,
    interval: Duration,
    limit: Duration,
) -> Result<(), WarmUpError> {
    open_so_many(engine, || size, interval, limit).await
}

/// `size`: by the settings in force.
async fn open_so_many<D: Driver>(
    engine: &Arc<Engine<D>>,
    size: impl Fn() -> usize,
    interval: Duration,
    limit: Duration,
) -> Result<(), WarmUpError> {
    let started = Instant::now();
    let before = engine.last_failure.load_full();
    let warm_ups = &engine.warm_ups;
    let _begun = Begun { warm_ups, number: warm_ups.begin(size(), interval) };
    engine.bell.notify_one();
    // Not the maximum of this moment, which is lower while the pool owes its budget some.
    let wanted = |config: &Config| size().min(config.max_size);
    let look = || {
        let (room, failure) = (engine.core.capacity.read(), engine.last_failure.load_full());
        // A failure from before says nothing about this attempt.
        let failure = failure.filter(|failure| before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, failure)));
        match failure {
            _ if engine.is_closed() => Some(Err(WarmUpError::Closed)),
            _ if room.live() >= wanted(&engine.config.load()) => Some(Ok(())),
            Some(failure) if failure.class() == ErrorClass::Permanent && room.live() == 0 => {
                Some(Err(engine.cannot_open(failure)))
            }
            _ => None,
        }
    };
    // Owned across the await: the warm-up, by `_begun`. Dropping it ends the warm-up; attempts that are under way go on, for the pool.
    timeout(limit, watch(engine, look)).await.unwrap_or_else(|_| {
        let room = engine.core.capacity.read();
        Err(WarmUpError::Late {
            open: room.live(),
            wanted: wanted(&engine.config.load()),
            waited: started.elapsed(),
            state: Box::new(engine.state()),
            failure: engine.last_failure.load_full(),
        })
    })
}

impl<D: Driver> Engine<D> {
    fn cannot_open(&self, failure: Arc<OpenFailure>) -> WarmUpError {
        WarmUpError::OpenFailed { state: Box::new(self.state()), failure }
    }
}
