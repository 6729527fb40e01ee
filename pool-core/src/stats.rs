//! What the pool tells about itself.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::brief::Brief;

/// Whether callers are spared a wait for a backend that cannot be reached: see [`Config::breaker_failures`](crate::Config::breaker_failures).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Callers wait for connections as they come.
    #[default]
    Closed,
    /// Attempts to open a connection have failed for a while. Callers fail at once, unless there is a connection that they can wait for.
    Open {
        /// When the pool tries next, at the latest.
        next_probe: Instant,
    },
    /// As `Open`, and one attempt is under way that decides.
    HalfOpen,
}

impl BreakerState {
    /// Whether callers are spared a wait: it is open, or half open.
    pub fn is_open(self) -> bool {
        self != Self::Closed
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the breaker is closed"),
            Self::Open { next_probe } => {
                let left = next_probe.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return f.write_str("the breaker is open, the next attempt is due");
                }
                write!(f, "the breaker is open, next attempt in {}", Brief(left))
            }
            Self::HalfOpen => f.write_str("the breaker is half open, an attempt is under way"),
        }
    }
}

/// How many connections are where, and how many callers wait. One reading, slot by slot: while the pool
/// is in use, counts read at different moments need not add up to a state that existed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolState {
    /// Connections that exist or are being opened, the ones being closed included.
    pub size: usize,
    /// Connections ready to be acquired.
    pub idle: usize,
    /// Connections in the hands of callers.
    pub leased: usize,
    /// Of these, connections that are [shared](crate::Pool::share).
    pub shared: usize,
    /// Shared leases: how many use these.
    pub users: usize,
    /// How many more may join them, as far as they take more users.
    pub room: usize,
    /// How many may use a shared connection at a time, as the [driver](crate::Driver::shared_by) says; 0 if it lets nobody share.
    pub places: usize,
    /// Connections [kept](crate::HealthConfig::reserve) for checks of the pool's health, one for each monitor at most, and those that somebody [keeps](crate::OwnedLease::keep) for something else that lasts.
    pub reserved: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Connections being reset, pinged or closed.
    pub in_maintenance: usize,
    /// Of these, connections being [checked](crate::Config::check_after_idle) for a caller.
    pub checking: usize,
    /// Callers waiting for whom no connection is on its way yet. One who gave up at the very moment when its time was over may be counted until the next
    /// connection comes back. [Monitors](crate::HealthChecker) that wait are none; from when one is served until it looks, there may be one too few.
    pub waiting: usize,
    /// Callers in the lines of [schedulers](crate::Scheduler) in front of the pool; they are not among those `waiting`.
    pub in_line: usize,
    /// The most connections the pool opens.
    pub max_size: usize,
    /// Whether the pool has been paused.
    pub paused: bool,
    /// Whether the pool has been closed.
    pub closed: bool,
    /// Whether callers are spared a wait.
    pub breaker: BreakerState,
    /// Whether all connections of the pool's [budget](crate::Budget) are held, by this pool and others.
    pub budget_exhausted: bool,
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leased, shared, users, .. } = self;
        write!(f, "{leased} leased")?;
        if *shared > 0 {
            write!(f, " ({shared} shared by {users})")?;
        }
        self.write_rest(f)
    }
}

impl PoolState {
    /// All who wait for a connection: in the queue of the pool, and in the lines in front of it.
    pub fn callers(&self) -> usize {
        self.waiting + self.in_line
    }

    /// How much of the connections is in the hands of callers. A shared one that takes more users counts by the part of its places that are taken: whoever comes next finds room there.
    #[allow(clippy::cast_precision_loss)] // a pool has 65,535 connections at most, and each as many places
    pub(crate) fn in_use(&self) -> f64 {
        let free = self.room as f64 / self.places.max(1) as f64;
        // What is read in different moments may show more room than there are shared connections.
        self.leased as f64 - free.min(self.shared.min(self.leased) as f64)
    }

    /// All but those that are leased.
    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { idle, reserved, opening, in_maintenance, checking, waiting, in_line, max_size, paused, .. } = self;
        write!(f, ", {idle} idle, {opening} opening, {in_maintenance} in maintenance")?;
        if *checking > 0 {
            write!(f, " ({checking} being checked)")?;
        }
        if *reserved > 0 {
            write!(f, ", {reserved} kept")?;
        }
        let in_line = if *in_line > 0 { format!(" and {in_line} in line") } else { String::new() };
        let paused = if *paused { "; paused" } else { "" };
        let exhausted = if self.budget_exhausted { "; the budget is exhausted" } else { "" };
        write!(f, " of {max_size}; {waiting} waiting{in_line}{paused}{exhausted}")
    }
}

/// The state of the pool and what happened since it was built. Counters only ever grow, but for `acquired` and `immediate` of a pool with shared leases: they lack those who
/// have shared a connection for the moment in which the last of them leaves it. While the pool is in use, counts that are read one after the other may be some events apart; at
/// rest they agree to the last one. `docs/statistics.md` has the names that other pools give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where the connections are now.
    pub state: PoolState,
    /// Connections handed to callers. What [monitors](crate::HealthChecker) acquire for their checks is neither among these nor among anything below that is said of acquires.
    pub acquired: u64,
    /// Of these, the ones that were handed out without a wait.
    pub immediate: u64,
    /// Acquires that had to wait, in the queue or in the line of a [scheduler](crate::Scheduler), the ones that failed or were cancelled included.
    pub waited: u64,
    /// Time spent in acquires that had to wait, the ones that timed out, failed or were cancelled included, and the ones that were refused at once left out. An estimate: after the first 256 that a connection ended, only
    /// every 16th is timed, and counts 16 times.
    pub wait_time: Duration,
    /// Acquires that ended in [`AcquireError::Timeout`](crate::AcquireError::Timeout).
    pub timeouts: u64,
    /// Acquires dropped by their caller while they waited.
    pub cancelled: u64,
    /// Acquires that did not want to wait and ended in [`AcquireError::Unavailable`](crate::AcquireError::Unavailable), and those that a [scheduler](crate::Scheduler) turned away,
    /// which ended in [`AcquireError::Shed`](crate::AcquireError::Shed). They are not among those that had to wait, and not timed.
    pub shed: u64,
    /// Acquires that ended in [`AcquireError::OpenFailed`](crate::AcquireError::OpenFailed) or [`AcquireError::BreakerOpen`](crate::AcquireError::BreakerOpen). They count
    /// among those that had to wait, however short it was.
    pub failed: u64,
    /// Acquires that ended in [`AcquireError::Closed`](crate::AcquireError::Closed) or [`AcquireError::NoRuntime`](crate::AcquireError::NoRuntime), and in [`AcquireError::SelfWait`](crate::AcquireError::SelfWait), also
    /// those that did not want to wait. They count among those that had to. `acquired` is always `immediate + waited - timeouts - cancelled - failed - refused`, for a pool at rest.
    pub refused: u64,
    /// Connections opened, the adopted ones included. Always `closed` and those that are there now.
    pub opened: u64,
    /// Of these, the ones that were [adopted](crate::Pool::adopt).
    pub adopted: u64,
    /// Connections closed, the detached ones included. Each has one of the reasons that follow; while connections are on their way out, the reasons are ahead.
    pub closed: u64,
    /// Connections [detached](crate::Lease::detach) by their user.
    pub detached: u64,
    /// Connections closed because they were found broken, failed a reset or a ping, or were discarded by their user.
    pub broken: u64,
    /// Connections closed because of their lifetime, or replaced shortly before its end.
    pub expired: u64,
    /// Connections closed because they had been leased as often as they may be, or nearly so and were replaced.
    pub worn: u64,
    /// Connections closed because they were idle for too long.
    pub idle_timed_out: u64,
    /// Connections closed because there were more than the maximum, or for another pool of the [budget](crate::Budget).
    pub excess: u64,
    /// Connections closed because all, [at once](crate::Pool::retire_all) or [one after the other](crate::Pool::retire_all_over), or all
    /// [to their host](crate::Pool::retire_host), were to be replaced.
    pub outdated: u64,
    /// Connections [evicted](crate::Pool::evict).
    pub evicted: u64,
    /// Connections closed with the pool.
    pub pool_closed: u64,
    /// Attempts to open a connection that failed, for whatever reason.
    pub open_failures: u64,
    /// How often the [breaker](crate::Config::breaker_failures) has opened, from closed.
    pub breaker_openings: u64,
    /// Leases that were [reported](crate::Config::leak_after) because they were held for so long.
    pub leaks: u64,
    /// Leases that were [cut off](crate::Config::reclaim_after).
    pub reclaimed: u64,
    /// Callers that had to wait for a connection of a full pool while their own task held one; noticed while leases are [watched](crate::Config::leak_after).
    pub self_waits: u64,
    /// Acquires with a [preference](crate::Preference) that got a connection which fitted.
    pub preferred: u64,
    /// Acquires with a preference for which another one had to be taken.
    pub missed: u64,
    /// How many of these have been [converted](crate::Driver::convert).
    pub converted: u64,
    /// Acquires that have waited for [`Config::slow_acquire`](crate::Config::slow_acquire) or longer, whatever has come of it.
    pub slow_acquires: u64,
    /// Pings that were answered, those of [monitors](crate::HealthChecker) included.
    pub answered: u64,
    /// Connections that were handed to a waiter and [taken back](crate::Config::collect_within), because it did not come for them.
    pub uncollected: u64,
    /// What went wrong, by class.
    pub errors: Errors,
    /// How long acquires waited that had to, the ones that timed out, failed or were cancelled after a wait included. One that was refused at once, because the breaker was open, the pool closed, or its task
    /// would have waited for itself, has not waited, and is not in it. Sampled as `wait_time` is.
    pub wait: Distribution,
    /// How long connections were leased. The first 256 of a slot are timed, and all that last for a tenth of a millisecond or more while those before them do; of shorter ones
    /// about one of 256 is, and one in each second, and it stands for those before it.
    pub hold: Distribution,
    /// How long it took to open a connection, when that succeeded.
    pub open: Distribution,
    /// How long pings took, whatever came of them.
    pub check: Distribution,
    /// How long queries took, or whatever connections are used for: as far as the driver notes it by the recorder that it [is given](crate::Driver::attach), and what was told to
    /// [`Pool::record_execution`](crate::Pool::record_execution). A driver may note a sample that stands for others: that of `pool-postgres` notes all of the first 256 of a
    /// connection, then one of 16, which counts for as many; it does not count what the pool itself asks the server.
    pub execution: Distribution,
}

impl Stats {
    /// How many connections left or are on their way out, by reason. The sum is `closed` for a pool at rest.
    pub fn closes(&self) -> [(&'static str, u64); 9] {
        [
            ("broken", self.broken),
            ("expired", self.expired),
            ("worn", self.worn),
            ("idle_timed_out", self.idle_timed_out),
            ("excess", self.excess),
            ("outdated", self.outdated),
            ("evicted", self.evicted),
            ("pool_closed", self.pool_closed),
            ("detached", self.detached),
        ]
    }
}

/// What went wrong between the pool and the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Errors {
    /// Attempts to open a connection that failed with a [transient](crate::ErrorClass::Transient) error.
    pub open_transient: u64,
    /// Attempts that failed with a [permanent](crate::ErrorClass::Permanent) error.
    pub open_permanent: u64,
    /// Attempts that took longer than the connect timeout, while the driver opened one.
    pub open_timeouts: u64,
    /// Attempts that panicked.
    pub open_panics: u64,
    /// Attempts that a [hook](crate::Hooks) around the open has refused, or that were in one when their time was over.
    pub open_hooks: u64,
    /// Attempts whose runtime ended, or that were aborted with the pool.
    pub open_abandoned: u64,
    /// Resets that failed, took too long, or panicked.
    pub resets: u64,
    /// Pings that failed, took too long, or panicked.
    pub pings: u64,
    /// Inspections that panicked.
    pub inspections: u64,
    /// [Conversions](crate::Driver::convert) that failed, took too long, or panicked. Their connections count among those that were acquired.
    pub conversions: u64,
}

impl Errors {
    /// Attempts to open a connection that failed.
    pub(crate) fn open_failures(&self) -> u64 {
        let of_driver = self.open_transient + self.open_permanent + self.open_timeouts + self.open_panics;
        of_driver + self.open_hooks + self.open_abandoned
    }
}

/// How times of one kind are distributed since the pool was built; to the microsecond, and within one percent for longer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distribution {
    /// How many, with those that a sample stands for.
    pub count: u64,
    /// The mean.
    pub mean: Duration,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 90 % took no longer.
    pub p90: Duration,
    /// 99 % took no longer.
    pub p99: Duration,
    /// 99.9 % took no longer.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}
