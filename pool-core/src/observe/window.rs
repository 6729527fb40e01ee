//! What has happened from one look to the next.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::driver::Driver;
use crate::engine::{Engine, Timed};
use crate::health::HealthState;
use crate::stats::{BreakerState, Distribution, PoolState, Stats};
use crate::wall;

/// What has happened in a pool over a while, and how it was at the end.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HistoryPoint {
    /// Its number among those of the same [history](crate::Snapshot::history) or [`Window`], from 1 on and without a gap: what is higher is newer, whatever the wall clock says.
    pub sequence: u64,
    /// When the while was over, by the wall clock: before the end of the one before if that has been set back meanwhile.
    pub at: SystemTime,
    /// How long it was.
    pub over: Duration,
    /// Connections handed to callers.
    pub acquired: u64,
    /// Acquires that timed out.
    pub timeouts: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Attempts to open one that failed.
    pub open_failures: u64,
    /// How long queries took that ended, as far as the driver notes it.
    pub execution: Distribution,
    /// How long those waited who had to, and have ended.
    pub wait: Distribution,
    /// How long connections were leased that have come back.
    pub hold: Distribution,
    /// Connections in use, as a part of those that callers may have, from 0 to 1: the mean of the looks. A shared one that takes more users counts by the part of its places that are taken.
    pub utilisation: f64,
    /// The same at its highest.
    pub peak: f64,
    /// How many wait, in the queue of the pool or in front of it.
    pub waiting: usize,
    /// For how long the one has waited who came first; zero if nobody waits.
    pub oldest_waiter: Duration,
    /// Where the breaker stands.
    pub breaker: BreakerState,
    /// How the pool is, if it has a [monitor](crate::HealthChecker) that the observer knows.
    pub health: Option<HealthState>,
}

/// Says what has happened since it said so last; made by [`PoolObserver::window`](crate::PoolObserver::window). Each is its own.
pub struct Window<D: Driver> {
    engine: Arc<Engine<D>>,
    before: Before,
    glances: Glances,
    /// How many there have been.
    steps: u64,
}

struct Before {
    at: Instant,
    stats: Stats,
    timed: Timed,
}

/// How much was in use, at some moments.
#[derive(Default)]
struct Glances {
    sum: f64,
    count: u32,
    peak: f64,
}

impl Before {
    fn read<D: Driver>(engine: &Engine<D>) -> Self {
        Self { at: Instant::now(), stats: engine.counts(), timed: engine.timed() }
    }
}

impl<D: Driver> Window<D> {
    pub(super) fn new(engine: &Arc<Engine<D>>) -> Self {
        Self { engine: Arc::clone(engine), before: Before::read(engine), glances: Glances::default(), steps: 0 }
    }

    /// Sees how much is in use.
    pub(super) fn glance(&mut self) {
        let now = utilisation(&self.engine.state());
        let glances = &mut self.glances;
        (glances.sum, glances.count, glances.peak) = (glances.sum + now, glances.count + 1, glances.peak.max(now));
    }

    /// What has happened since the last step, or since this was made.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn show<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) {
    /// let mut window = observer.window();
    /// tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    /// println!("{} acquires in a second", window.step().acquired);
    /// # }
    /// ```
    pub fn step(&mut self) -> HistoryPoint {
        self.glance();
        let now = Before::read(&self.engine);
        let before = std::mem::replace(&mut self.before, now);
        let (now, glances) = (&self.before, std::mem::take(&mut self.glances));
        let since = |count: fn(&Stats) -> u64| count(&now.stats).saturating_sub(count(&before.stats));
        self.steps += 1;
        HistoryPoint {
            sequence: self.steps,
            at: wall::now(),
            over: now.at.saturating_duration_since(before.at),
            acquired: since(|stats| stats.acquired),
            timeouts: since(|stats| stats.timeouts),
            opened: since(|stats| stats.opened),
            closed: since(|stats| stats.closed),
            open_failures: since(|stats| stats.open_failures),
            execution: now.timed.execution.since(&before.timed.execution).distribution(),
            wait: now.timed.wait.since(&before.timed.wait).distribution(),
            hold: now.timed.hold.since(&before.timed.hold).distribution(),
            utilisation: glances.sum / f64::from(glances.count.max(1)),
            peak: glances.peak,
            waiting: now.stats.state.callers(),
            oldest_waiter: self.engine.oldest_waiter().unwrap_or_default(),
            breaker: now.stats.state.breaker,
            health: None,
        }
    }
}

/// How much of the connections that callers may have is [in use](PoolState::in_use), as a part: all, if there is more than that since the maximum was lowered.
#[allow(clippy::cast_precision_loss)] // a pool has 65,535 connections at most
pub(super) fn utilisation(state: &PoolState) -> f64 {
    let of = state.max_size.saturating_sub(state.reserved).max(1);
    (state.in_use() / of as f64).min(1.0)
}
