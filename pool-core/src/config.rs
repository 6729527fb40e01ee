//! The settings of a pool: one immutable snapshot, checked as a whole.

use std::fmt;
use std::time::Duration;

use crate::error::{ConfigError, RefusedSetting};
use crate::slot::IdleOrder;

/// The settings of a pool.
///
/// Start from [`Config::default`] and change fields; the pool checks the whole with [`Config::validate`] when it is built. Every duration is from 1 ms to 10
/// years. Budgets are for one call of the driver each; after the process has stood still, a call whose budget ended meanwhile has 100 ms more to find its answer.
///
/// ```
/// let mut config = pool_core::Config::default();
/// config.max_size = 50;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The most connections the pool has open at any moment, the ones being opened, reset, pinged and closed included; only
    /// [`rotation_headroom`](Config::rotation_headroom) goes beyond it. After it was lowered in use, what is leased at that moment may exceed it until it comes back.
    /// From 1 to [`Config::MAX_SIZE_LIMIT`]; default 20.
    pub max_size: usize,
    /// Connections that the pool keeps open even when nobody needs them. At most `max_size`; default 2.
    pub min_size: usize,
    /// Connections that the pool keeps ready beyond those in use, within `max_size`. It looks after them at least once a second. At most
    /// `max_size`; default 0. (pgxpool has it as `MinIdleConns`, HikariCP as `minimumIdle`.)
    pub min_idle: usize,
    /// Opens nothing until somebody needs a connection; from then on the minima are kept. Otherwise they are opened in the background from
    /// the start; [`Pool::ready`](crate::Pool::ready) waits for that. Default `false`.
    pub lazy: bool,
    /// Which of several idle connections is handed out. Default [`IdleOrder::Recent`].
    pub idle_order: IdleOrder,
    /// How long [`Pool::acquire`](crate::Pool::acquire) waits. Default 30 s.
    pub acquire_timeout: Duration,
    /// Budget of one attempt to open a connection. It belongs to the pool, not to a caller. Default 5 s.
    pub connect_timeout: Duration,
    /// Connections above `min_size` that nobody used for this long are closed; `None` keeps them. As all ages, it is seen to within a second, the step of the pool's
    /// clock, or within a quarter of the shortest limit if that is less. Default 5 min.
    pub idle_timeout: Option<Duration>,
    /// Connections older than this are closed when nobody holds them; `None` lets them live. Each connection's own
    /// life is shortened by up to a tenth at random, so that connections opened together are not closed together. Towards its end
    /// a connection that is needed is replaced before it is closed, so that no caller waits for the new one. Default 1 h.
    pub max_lifetime: Option<Duration>,
    /// By how many connections the pool may exceed `max_size` while it replaces those that reach their lifetime or their number of uses, or are
    /// [retired over a time](crate::Pool::retire_all_over): until the replacement is there and the other one has come back. With 0, a pool at its maximum closes one
    /// idle connection at a time before it opens the next. Default 0.
    pub rotation_headroom: usize,
    /// How often a connection is leased before it is closed, when it comes back; `None` does not count. When a tenth of its uses is left, one at least, one that is
    /// needed is replaced, if there is room for another or [`rotation_headroom`](Config::rotation_headroom), and closed after that; so no caller waits for the new one.
    /// Where there is no room it is closed first, after its last use, and so it is with 1, where there is no time for a replacement. At least 1; default `None`.
    pub max_uses: Option<u64>,
    /// An idle connection that nobody used for this long is pinged. `None` never pings. Default 30 s.
    pub health_check_interval: Option<Duration>,
    /// Budget of one ping. Default 5 s.
    pub health_check_timeout: Duration,
    /// A connection that was idle for this long, to within a second, is pinged before it is handed to a caller who waits for it. [`Pool::try_acquire`](crate::Pool::try_acquire), which does not
    /// wait, does not check. `None` never does; default `None`.
    pub check_after_idle: Option<Duration>,
    /// Budget of the ping before a hand-over. It belongs to the pool: a caller whose own time is over before is not held up. If there is no answer within a tenth of it, or 100 ms if
    /// that is less, another idle connection is checked beside it, and another one opened if there is room. Default 5 s.
    pub check_timeout: Duration,
    /// Budget of one reset. Default 5 s.
    pub reset_timeout: Duration,
    /// Budget of one close. Default 5 s.
    pub close_timeout: Duration,
    /// How many connections are opened at the same time, to spare a server that has just come back. From 1 to 255, or to
    /// `max_size` if that is more; default 4.
    pub max_openers: usize,
    /// The least time from the start of one attempt to open a connection to the start of the next; `None` leaves it at `max_openers`. Default `None`.
    pub opener_interval: Option<Duration>,
    /// Pause after the first failed attempt to open a connection. It doubles with each failure in a row up to `backoff_max`, and
    /// between a tenth and all of it is waited, at random. As long as somebody waits for a connection, a pause is no longer than this, or than a tenth of the time for which attempts have failed if
    /// that is more. Attempts are made one at a time meanwhile. Default 50 ms.
    pub backoff_initial: Duration,
    /// The longest pause between attempts to open a connection. At least `backoff_initial`; default 2 s.
    pub backoff_max: Duration,
    /// After so many failures in a row to open a connection, over [`breaker_after`](Config::breaker_after) at least, the breaker opens: as long as the pool has no connection at all, callers fail at
    /// once, with [`AcquireError::BreakerOpen`](crate::AcquireError::BreakerOpen), and so do those who wait already. The pool goes on trying by itself, one attempt at a time and with the
    /// pauses above, and the first success closes the breaker. Connections that break between two attempts count as one failure more; a busy pool and what users' requests are answered with
    /// count nothing. At least 1; `None` lets callers wait for their whole acquire timeout. Default 3.
    pub breaker_failures: Option<u32>,
    /// For how long attempts have to fail before the breaker opens, from the first failure on: who waits through a shorter outage is served after it. Default 5 s.
    pub breaker_after: Duration,
    /// A lease that is held for longer is reported, by a warning through `tracing`: once, to within a second, with the place that acquired it, its task and span; and once more when it comes back. `None`, the
    /// default, reports none. While leases are watched for this, for [`reclaim_after`](Config::reclaim_after) or for [`refuse_self_wait`](Config::refuse_self_wait), an acquire and a release take a lock for an instant.
    pub leak_after: Option<Duration>,
    /// A lease that is held for longer is cut off, by [`Driver::aborter`](crate::Driver::aborter): what its user does with the connection fails from then on, and the connection is closed when it comes back. `None`, the
    /// default, cuts none off.
    pub reclaim_after: Option<Duration>,
    /// Whether a task that holds a connection may not wait for another one of a full pool: with `true` it gets [`AcquireError::SelfWait`](crate::AcquireError::SelfWait) at once, with `false`, the default, it waits. So
    /// tasks do not wait for each other for ever. A connection counts as held by the task that acquired it, even if that has given it to another one. Either way, while leases are watched, such a wait is reported by a
    /// warning; `true` watches them.
    pub refuse_self_wait: bool,
    /// A connection that was handed to a waiter is taken back if its future is not polled for so long: one that a `select!` has left aside, or of a task that stands still. That is reported by a warning, with
    /// the place that asked for it, and the connection goes to the next waiter. The waiter has lost its place: when it is polled, it joins the end of the queue, for what is left of its time. The pool's rounds
    /// see to it, after half as much again at the latest, or two seconds more if that is less. `None`, the default, takes none back, and costs nothing.
    pub collect_within: Option<Duration>,
    /// An acquire that waits for so long, or longer, is slow: [`Stats::slow_acquires`](crate::Stats::slow_acquires) counts it, and there is a warning through `tracing`, one each 10 s, with the place that asked. Seen when the wait
    /// ends, in whatever way. A wait that ends with a connection is only looked at with the pool's clock, which is up to a second late, so that waits below a second cost nothing; with less than that here,
    /// each of them looks at the time. `None` takes none for slow. Default 2 s, as `acquire_slow_threshold` of sqlx.
    pub slow_acquire: Option<Duration>,
}

impl Config {
    /// The largest `max_size`.
    pub const MAX_SIZE_LIMIT: usize = 65_535;

    /// Checks every field and the relations between them.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::Config::default();
    /// config.min_size = 21;
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "min_size = 21 is not allowed; allowed: 0 to max_size");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut check = Check::default();
        self.check_sizes(&mut check);
        self.check_times(&mut check);
        if check.refused.is_empty() { Ok(()) } else { Err(ConfigError { refused: check.refused }) }
    }

    fn check_sizes(&self, check: &mut Check) {
        let sizes = 1..=Self::MAX_SIZE_LIMIT;
        check.that(sizes.contains(&self.max_size), "max_size", &self.max_size, "1 to 65535");
        check.that(self.min_size <= self.max_size, "min_size", &self.min_size, "0 to max_size");
        check.that(self.min_idle <= self.max_size, "min_idle", &self.min_idle, "0 to max_size");
        let openers = (1..=self.max_size.max(255)).contains(&self.max_openers);
        check.that(openers, "max_openers", &self.max_openers, "1 to 255, or to max_size if that is more");
        let most = Self::MAX_SIZE_LIMIT.saturating_sub(self.max_size);
        let headroom = self.rotation_headroom <= most;
        check.that(headroom, "rotation_headroom", &self.rotation_headroom, "0 to 65535 - max_size");
        check.that(self.max_uses != Some(0), "max_uses", &self.max_uses, "None, or 1 and more");
        check.that(self.breaker_failures != Some(0), "breaker_failures", &self.breaker_failures, "None, or 1 and more");
    }

    fn check_times(&self, check: &mut Check) {
        let budgets = [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("health_check_timeout", self.health_check_timeout),
            ("check_timeout", self.check_timeout),
            ("reset_timeout", self.reset_timeout),
            ("close_timeout", self.close_timeout),
            ("breaker_after", self.breaker_after),
            ("backoff_initial", self.backoff_initial),
        ];
        let optional = [
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
            ("health_check_interval", self.health_check_interval),
            ("check_after_idle", self.check_after_idle),
            ("opener_interval", self.opener_interval),
            ("leak_after", self.leak_after),
            ("reclaim_after", self.reclaim_after),
            ("collect_within", self.collect_within),
            ("slow_acquire", self.slow_acquire),
        ];
        let fits = |value| (MIN_BUDGET..=MAX_BUDGET).contains(&value);
        for (field, value) in budgets {
            check.that(fits(value), field, &value, "1 ms to 10 years");
        }
        for (field, value) in optional {
            check.that(value.is_none_or(fits), field, &value, "None, or 1 ms to 10 years");
        }
        let backoff = self.backoff_initial.max(MIN_BUDGET)..=MAX_BUDGET;
        check.that(
            backoff.contains(&self.backoff_max),
            "backoff_max",
            &self.backoff_max,
            "backoff_initial to 10 years",
        );
    }
}

/// What was found so far.
#[derive(Default)]
struct Check {
    refused: Vec<RefusedSetting>,
}

impl Check {
    fn that(&mut self, holds: bool, field: &'static str, value: &dyn fmt::Debug, allowed: &'static str) {
        if !holds {
            self.refused.push(RefusedSetting { field, value: format!("{value:?}"), allowed });
        }
    }
}

const MIN_BUDGET: Duration = Duration::from_millis(1);
/// Long enough for anybody, short enough that adding it to a clock never overflows.
pub(crate) const MAX_BUDGET: Duration = Duration::from_hours(10 * 365 * 24);

impl Default for Config {
    fn default() -> Self {
        Self {
            max_size: 20,
            min_size: 2,
            min_idle: 0,
            lazy: false,
            idle_order: IdleOrder::Recent,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_mins(5)),
            max_lifetime: Some(Duration::from_hours(1)),
            rotation_headroom: 0,
            max_uses: None,
            health_check_interval: Some(Duration::from_secs(30)),
            health_check_timeout: Duration::from_secs(5),
            check_after_idle: None,
            check_timeout: Duration::from_secs(5),
            reset_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            max_openers: 4,
            opener_interval: None,
            backoff_initial: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            breaker_failures: Some(3),
            breaker_after: Duration::from_secs(5),
            leak_after: None,
            reclaim_after: None,
            refuse_self_wait: false,
            collect_within: None,
            slow_acquire: Some(Duration::from_secs(2)),
        }
    }
}
