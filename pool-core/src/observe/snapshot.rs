//! All that can be known of a pool at one moment.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::window::utilisation;
use super::{HistoryPoint, PoolObserver, locked};
use crate::config::Config;
use crate::connection::{Holder, JournalEntry, OldestLease, SlotView};
use crate::driver::Driver;
use crate::health::{HealthReport, HealthStats};
use crate::metric::ServerFacts;
use crate::stats::Stats;
use crate::wall;

/// All that can be known of a pool, by [`PoolObserver::snapshot`]. Its parts are read one after the other: while the pool is in use they need not belong to one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the pool is called.
    pub name: Arc<str>,
    /// When this was.
    pub at: SystemTime,
    /// For how long there has been a pool.
    pub uptime: Duration,
    /// When it began to be looked at, and to be sampled.
    pub observed_since: SystemTime,
    /// Where the connections are, and what has happened.
    pub stats: Stats,
    /// Connections in use, as a part of those that callers may have. A shared one that takes more users counts by the part of its places that are taken.
    pub utilisation: f64,
    /// For how long the one waits who came first, of those who wait.
    pub oldest_waiter: Option<Duration>,
    /// The lease that has been out for longest.
    pub oldest_lease: Option<OldestLease>,
    /// How the pool is, if the observer knows a monitor.
    pub health: Option<HealthReport>,
    /// What has come of its checks.
    pub checks: Option<HealthStats>,
    /// What is in the slots that are not vacant. Of the first 1000 of these the [session](SlotView::session) is told.
    pub slots: Vec<SlotView>,
    /// Who has a connection, the longest first. Of the 1000 that have had one for longest the [session](Holder::session) is told, and where they acquired it and what they do, if leases are [watched](Config::leak_after).
    pub holders: Vec<Holder>,
    /// Where the driver connects to.
    pub servers: Vec<ServerFacts>,
    /// The settings of the pool.
    pub config: Arc<Config>,
    /// Those of the driver, without anything secret.
    pub driver_settings: Vec<(String, String)>,
    /// What has gone wrong or has changed lately, the newest first: 64 entries at most. What happens again and again is one, with the figures of the last time.
    pub journal: Vec<JournalEntry>,
    /// The samples, the oldest first.
    pub history: Vec<HistoryPoint>,
}

/// Of so many slots and holders more is told than that they are there.
const NOTED: usize = 1000;

impl<D: Driver> PoolObserver<D> {
    /// All that can be known of the pool now. It looks at every slot and at everybody who waits: for those who look, not for the path of a request.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) {
    /// let snapshot = observer.snapshot();
    /// println!("{}: {}", snapshot.name, snapshot.stats.state);
    /// # }
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let snapshot = self.snapshot_without_history();
        Snapshot { history: self.history_since(0), ..snapshot }
    }

    /// The samples that came after the one of that [number](HistoryPoint::sequence), the oldest first: for those who look again and again, and want what is new. After 0 they are all that are
    /// [kept](crate::ObserveConfig::history).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn look<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) {
    /// let last = observer.history_since(0).last().map_or(0, |point| point.sequence);
    /// tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    /// for point in observer.history_since(last) {
    ///     println!("{} acquires in {:?}", point.acquired, point.over);
    /// }
    /// # }
    /// ```
    pub fn history_since(&self, sequence: u64) -> Vec<HistoryPoint> {
        self.latest_since(sequence, usize::MAX)
    }

    /// The latest of them, so many at most. No others are copied: the task that samples waits meanwhile.
    pub(crate) fn latest_since(&self, sequence: u64, most: usize) -> Vec<HistoryPoint> {
        let memory = locked(&self.shared.memory);
        let history = &memory.history;
        let new = history.partition_point(|point| point.sequence <= sequence);
        history.range(new.max(history.len().saturating_sub(most))..).cloned().collect()
    }

    /// For who asks for the history by itself, or needs none.
    pub(crate) fn snapshot_without_history(&self) -> Snapshot {
        let snapshot = self.snapshot_in_short();
        Snapshot { slots: self.pool.engine.slots(NOTED), ..snapshot }
    }

    /// As `snapshot_without_history`, for who needs no slots either.
    pub(crate) fn snapshot_in_short(&self) -> Snapshot {
        let (engine, stats) = (&self.pool.engine, self.pool.stats());
        let driver = engine.describe_driver();
        let journal = {
            let mut memory = locked(&self.shared.memory);
            memory.read(engine);
            memory.journal.iter().map(|written| written.entry.clone()).collect()
        };
        Snapshot {
            name: Arc::clone(&self.name),
            at: wall::now(),
            uptime: engine.uptime(),
            observed_since: self.shared.began,
            utilisation: utilisation(&stats.state),
            stats,
            oldest_waiter: engine.oldest_waiter(),
            oldest_lease: engine.oldest_lease(),
            health: self.health.as_ref().map(|checker| checker.report()),
            checks: self.health.as_ref().map(|checker| checker.stats()),
            slots: Vec::new(),
            holders: engine.who_holds(NOTED),
            servers: driver.servers,
            config: self.pool.config(),
            driver_settings: driver.settings,
            journal,
            history: Vec::new(),
        }
    }
}
