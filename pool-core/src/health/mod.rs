//! How a pool is: from checks that a monitor makes, and from what it sees.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::brief::Brief;
use crate::connection::OldestLease;
use crate::error::{ConfigError, RefusedSetting};
use crate::stats::{BreakerState, PoolState};

/// The settings of a [`HealthChecker`](crate::HealthChecker).
///
/// ```
/// let mut config = pool_core::HealthConfig::default();
/// config.interval = std::time::Duration::from_secs(10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// From one check to the next, while they succeed and nothing goes wrong in the pool: a connection that breaks or cannot be opened is a reason to check after
    /// [`retry_interval`](HealthConfig::retry_interval), or at the next look. From 1 ms to 10 years; default 30 s.
    pub interval: Duration,
    /// From one check to the next while they fail, and until the pool is healthy again. From 1 ms to `interval`; default 1 s.
    pub retry_interval: Duration,
    /// Budgets of one check: so long to get a connection, if none is kept for it, and so long for an answer on that. From 1 ms to 10 years; default 5 s.
    pub timeout: Duration,
    /// After so many checks in a row that failed, the pool is unhealthy. At least 1; default 3.
    pub tries: u32,
    /// After so many checks in a row that succeeded, a pool that was unhealthy is healthy. At least 1; default 2.
    pub successes: u32,
    /// Above so many percent of the connections in use the pool is degraded, until it has not been so for five seconds; a shared one that takes more users counts by the part of its places that are taken.
    /// From 1 to 100; default 80.
    pub utilisation: u8,
    /// A lease that is older than this degrades the pool: its user may have forgotten it. `None` does not look. From 1 ms to 10 years; default 10 min.
    pub leak_after: Option<Duration>,
    /// Keeps one connection for the checks, of those that the pool may have: so a pool that is full is told from a backend that does not answer. A pool of one
    /// connection keeps none, nor does one in which all but one are kept already, and one that has no other and can open none gives it to those who wait. Default `true`.
    pub reserve: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            retry_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            tries: 3,
            successes: 2,
            utilisation: 80,
            leak_after: Some(Duration::from_mins(10)),
            reserve: true,
        }
    }
}

impl HealthConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::HealthConfig::default();
    /// config.tries = 0;
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "tries = 0 is not allowed; allowed: 1 and more");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fits = |time| (MIN_TIME..=crate::config::MAX_BUDGET).contains(&time);
        let rows: [(bool, &'static str, &dyn fmt::Debug, &'static str); 7] = [
            (fits(self.interval), "interval", &self.interval, TIMES),
            (
                fits(self.retry_interval) && self.retry_interval <= self.interval,
                "retry_interval",
                &self.retry_interval,
                "1 ms to interval",
            ),
            (fits(self.timeout), "timeout", &self.timeout, TIMES),
            (self.tries > 0, "tries", &self.tries, "1 and more"),
            (self.successes > 0, "successes", &self.successes, "1 and more"),
            ((1..=100).contains(&self.utilisation), "utilisation", &self.utilisation, "1 to 100"),
            (self.leak_after.is_none_or(fits), "leak_after", &self.leak_after, "None, or 1 ms to 10 years"),
        ];
        let wrong = rows.into_iter().filter(|(holds, ..)| !holds);
        let refused: Vec<_> = wrong
            .map(|(_, field, value, allowed)| RefusedSetting { field, value: format!("{value:?}"), allowed })
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(ConfigError { refused }) }
    }
}

/// From one look at the pool to the next.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// For so long a reason that comes and goes with the load has not to be seen any more before it is none.
const CALM: Duration = Duration::from_secs(5);

const MIN_TIME: Duration = Duration::from_millis(1);
const TIMES: &str = "1 ms to 10 years";

/// How a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthState {
    /// No check has succeeded yet, and not enough have failed.
    Starting,
    /// All is well.
    Healthy,
    /// It works, but for the [reasons](HealthReport::reasons) that are given.
    Degraded,
    /// The backend does not answer. A pool that is [paused](HealthReason::Paused) is degraded instead.
    Unhealthy,
    /// The pool has been closed.
    Closing,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Closing => "closing",
        })
    }
}

/// Why a pool is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthReason {
    /// Checks have failed.
    CheckFailed {
        /// So many in a row.
        in_a_row: u32,
        /// What the last one failed with.
        cause: String,
    },
    /// Checks succeed again, but not often enough yet.
    Recovering {
        /// So many in a row.
        successes: u32,
        /// So many it takes.
        wanted: u32,
    },
    /// The [breaker](crate::Config::breaker_failures) is not closed.
    Breaker(BreakerState),
    /// More connections are in use than [`HealthConfig::utilisation`] allows, or were within the last five seconds: a busy pool does not say something else at each look.
    Utilisation {
        /// In the hands of callers, when there were too many last; each that several share counted as a whole one.
        leased: usize,
        /// As many as callers may have.
        of: usize,
    },
    /// Callers wait, and have for a second, those in the line of a [`Scheduler`](crate::Scheduler) among them; or so many did within the last five seconds.
    Waiting(usize),
    /// A lease is so old that its user may have forgotten it.
    OldLease(OldestLease),
    /// The pool has been [paused](crate::Pool::pause). No check is made then: a pool that was unhealthy is degraded, with what the last check failed with among the reasons, and once it is resumed it is
    /// unhealthy again, until [`successes`](HealthConfig::successes) checks have succeeded.
    Paused,
    /// The monitor has not answered for so long, or has not looked: nobody drives its runtime, or that has ended.
    NoAnswer(Duration),
}

impl HealthReason {
    fn theme(&self) -> &'static str {
        match self {
            Self::CheckFailed { .. } => "failed",
            Self::Recovering { .. } => "recovering",
            Self::Breaker(_) => "breaker",
            Self::Utilisation { .. } => "utilisation",
            Self::Waiting(_) => "waiting",
            Self::OldLease(_) => "lease",
            Self::Paused => "paused",
            Self::NoAnswer(_) => "silent",
        }
    }
}

/// One, or so many.
fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, one: &str, more: &str) -> String {
    if count == N::from(1) { one.to_owned() } else { format!("{count} {more}") }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckFailed { in_a_row, cause } => {
                let checks = counted(*in_a_row, "the last check has", "checks have");
                write!(f, "{checks} failed: {cause}")
            }
            Self::Recovering { successes, wanted } => write!(f, "{successes} of {wanted} checks have succeeded again"),
            Self::Breaker(state) => write!(f, "{state}"),
            Self::Utilisation { leased, of } => write!(f, "{leased} of {of} connections are in use"),
            Self::Waiting(callers) => f.write_str(&counted(*callers, "a caller waits", "callers wait")),
            Self::OldLease(lease) => write!(f, "{lease}"),
            Self::Paused => f.write_str("the pool is paused"),
            Self::NoAnswer(limit) => write!(f, "the monitor has not answered for {}", Brief(*limit)),
        }
    }
}

/// How a pool is, and why. Its message is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// How it is.
    pub state: HealthState,
    /// Why it is not healthy; empty if it is.
    pub reasons: Vec<HealthReason>,
    /// How long the last check took that succeeded.
    pub latency: Option<Duration>,
    /// How many checks have ended, those left out that a busy pool had no connection for.
    pub checks: u64,
    /// Where the connections were.
    pub pool: PoolState,
    /// When the pool was looked at. If that is more than a few seconds ago, a check is under way that is not answered, or nobody looks: the monitor's runtime stands still, or has ended.
    pub at: Instant,
}

/// What has come of the checks so far. Counters only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthStats {
    /// Checks that were answered.
    pub succeeded: u64,
    /// Checks that failed.
    pub failed: u64,
    /// Checks that could not be made because all connections were in use, or the pool was paused.
    pub busy: u64,
    /// When one was answered last.
    pub last_success: Option<Instant>,
    /// When one failed last.
    pub last_failure: Option<Instant>,
}

impl HealthStats {
    pub(crate) fn count(&mut self, checked: &Checked) {
        let now = Instant::now();
        match checked {
            Checked::Answered(_) => (self.succeeded, self.last_success) = (self.succeeded + 1, Some(now)),
            Checked::Failed(_) => (self.failed, self.last_failure) = (self.failed + 1, Some(now)),
            Checked::Busy | Checked::Served => self.busy += 1,
        }
    }
}

impl HealthReport {
    /// What is left of it once the pool has been closed, whether the monitor has seen that or not.
    pub(crate) fn of_a_closed_pool(mut self) -> Self {
        self.state = HealthState::Closing;
        self
    }

    /// The report of who asked in vain for so long.
    pub(crate) fn without_answer(mut self, limit: Duration) -> Self {
        self.state = HealthState::Unhealthy;
        self.reasons.insert(0, HealthReason::NoAnswer(limit));
        self
    }

    /// What it says without its figures: the state, and the kinds of reasons.
    pub(crate) fn theme(&self) -> String {
        let reasons = self.reasons.iter().map(HealthReason::theme);
        reasons.fold(self.state.to_string(), |text, reason| format!("{text} {reason}"))
    }

    /// Whether nobody needs to be told of the other one.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.theme() == other.theme()
    }

    /// Whether callers can be sent here: the pool is healthy or degraded.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, HealthState::Healthy | HealthState::Degraded)
    }
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state)?;
        self.reasons.iter().enumerate().try_for_each(|(place, reason)| {
            let before = if place == 0 { ": " } else { "; " };
            write!(f, "{before}{reason}")
        })
    }
}

/// What came of a check.
#[derive(Clone, Debug)]
pub(crate) enum Checked {
    Answered(Duration),
    Failed(String),
    /// No connection could be had, because all are in use.
    Busy,
    /// As `Busy`, and callers have been served meanwhile.
    Served,
}

/// What the monitor sees of the pool without a check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) pool: PoolState,
    pub(crate) oldest: Option<OldestLease>,
}

/// A reason that comes and goes with the load, as it was seen last, and when.
#[derive(Debug, Default)]
struct Seen(Option<(Instant, HealthReason)>);

impl Seen {
    /// Whether it is a reason, with what has been found at this moment.
    fn with(&mut self, found: Option<HealthReason>, at: Instant) -> Option<HealthReason> {
        let last = self.0.take().filter(|(seen, _)| at.saturating_duration_since(*seen) < CALM);
        self.0 = found.map(|reason| (at, reason)).or(last);
        self.0.as_ref().map(|(_, reason)| reason.clone())
    }
}

/// Decides from both.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    failures: u32,
    successes: u32,
    /// Whether it has been healthy, or unhealthy, once.
    known: Option<bool>,
    cause: String,
    latency: Option<Duration>,
    pub(crate) checks: u64,
    /// Since when callers have waited, whenever somebody looked.
    waiting_since: Option<Instant>,
    crowded: Seen,
    waited: Seen,
    reasons: Vec<HealthReason>,
    pool: PoolState,
}

impl Judge {
    /// A check has ended.
    pub(crate) fn hear(&mut self, checked: Checked, config: &HealthConfig) {
        match checked {
            Checked::Busy => return,
            Checked::Served => {
                // Somebody was, so the backend is there, though it has not been asked.
                self.succeed(config);
                return;
            }
            Checked::Answered(latency) => {
                self.latency = Some(latency);
                self.succeed(config);
            }
            Checked::Failed(cause) => {
                self.cause = cause;
                (self.failures, self.successes) = (self.failures.saturating_add(1), 0);
                if self.failures >= config.tries {
                    self.known = Some(false);
                }
            }
        }
        self.checks += 1;
    }

    fn succeed(&mut self, config: &HealthConfig) {
        (self.failures, self.successes) = (0, self.successes.saturating_add(1));
        // The first one ever is enough.
        if self.known.is_none() || self.successes >= config.successes {
            self.known = Some(true);
        }
    }

    /// Looks at the pool, once a second and after each check.
    pub(crate) fn look(&mut self, sample: &Sample, config: &HealthConfig) {
        let since = (sample.pool.callers() > 0).then(|| self.waiting_since.unwrap_or(sample.at));
        let for_long = since.is_some_and(|since| sample.at.saturating_duration_since(since) >= LOOK);
        let pressure = [
            self.of_checks(config),
            sample.pool.breaker.is_open().then_some(HealthReason::Breaker(sample.pool.breaker)),
            self.crowded.with(sample.utilisation(config), sample.at),
            self.waited.with(for_long.then_some(HealthReason::Waiting(sample.pool.callers())), sample.at),
            sample.old_lease(config),
            sample.pool.paused.then_some(HealthReason::Paused),
        ];
        self.reasons = pressure.into_iter().flatten().collect();
        (self.waiting_since, self.pool) = (since, sample.pool);
    }

    fn of_checks(&self, config: &HealthConfig) -> Option<HealthReason> {
        if self.failures > 0 {
            return Some(HealthReason::CheckFailed { in_a_row: self.failures, cause: self.cause.clone() });
        }
        let recovering = self.known == Some(false);
        recovering.then_some(HealthReason::Recovering { successes: self.successes, wanted: config.successes })
    }

    /// Whether the pool is unhealthy if the next check fails.
    pub(crate) fn is_at_the_last_try(&self, config: &HealthConfig) -> bool {
        self.failures.saturating_add(1) >= config.tries
    }

    /// When the next check is to be made.
    pub(crate) fn pace(&self, config: &HealthConfig) -> Duration {
        let in_order = self.failures == 0 && self.known == Some(true);
        if in_order { config.interval } else { config.retry_interval }
    }

    fn state(&self) -> HealthState {
        match self.known {
            _ if self.pool.closed => HealthState::Closing,
            None => HealthState::Starting,
            // Paused, nobody asks, so that it is not known whether it would answer by now.
            Some(false) if !self.pool.paused => HealthState::Unhealthy,
            Some(true) if self.reasons.is_empty() => HealthState::Healthy,
            Some(_) => HealthState::Degraded,
        }
    }

    pub(crate) fn report(&self) -> HealthReport {
        let (state, reasons) = (self.state(), self.reasons.clone());
        HealthReport { state, reasons, latency: self.latency, checks: self.checks, pool: self.pool, at: Instant::now() }
    }
}

impl Sample {
    fn utilisation(&self, config: &HealthConfig) -> Option<HealthReason> {
        let (leased, of) = (self.pool.leased, self.pool.max_size.saturating_sub(self.pool.reserved));
        #[allow(clippy::cast_precision_loss)] // a pool has 65,535 connections at most
        let too_much = self.pool.in_use() * 100.0 > (of * usize::from(config.utilisation)) as f64;
        too_much.then_some(HealthReason::Utilisation { leased, of })
    }

    fn old_lease(&self, config: &HealthConfig) -> Option<HealthReason> {
        let limit = config.leak_after?;
        self.oldest.filter(|lease| lease.held >= limit).map(HealthReason::OldLease)
    }
}

#[cfg(test)]
mod tests;
