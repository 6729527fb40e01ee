//! A pool that is shown, whatever its driver is.

use std::sync::Arc;
use std::time::Duration;

use crate::brief::Brief;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;
use crate::health::{HealthConfig, HealthReason, HealthReport, HealthState};
use crate::metric::{MetricFamily, ServerFacts};
use crate::monitor::HealthChecker;
use crate::observe::{HistoryPoint, PoolObserver, Snapshot};
use crate::reconfigured::Reconfigured;
use crate::stats::{PoolState, Stats};

/// Whether callers can be sent to a pool, and why not.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) state: HealthState,
    pub(super) reasons: Vec<String>,
}

/// Which connections are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    All,
    Over(Duration),
    Host(String),
}

/// The observer of a pool, without the type of its driver.
pub(super) trait Source: Send + Sync {
    fn name(&self) -> &str;
    /// Without the history.
    fn snapshot(&self) -> Snapshot;
    /// Without the slots, too.
    fn snapshot_in_short(&self) -> Snapshot;
    /// What came after the point of that number: the latest, so many at most.
    fn history(&self, after: u64, most: usize) -> Vec<HistoryPoint>;
    fn families(&self) -> Vec<MetricFamily>;
    fn readiness(&self) -> Readiness;
    fn state(&self) -> PoolState;
    fn servers(&self) -> Vec<ServerFacts>;
    fn is_live(&self) -> bool;
    fn is_closed(&self) -> bool;
    /// The settings of its monitor, if it has one.
    fn checks(&self) -> Option<HealthConfig>;
    /// After how long a lease is taken for forgotten.
    fn leak_after(&self) -> Option<Duration>;
    fn config(&self) -> Arc<Config>;
    fn pause(&self);
    fn resume(&self);
    fn retire(&self, whom: &Whom);
    /// Puts settings in force that were made of these, if those are in force still.
    fn reconfigure(&self, seen: &Arc<Config>, config: Config) -> Result<Option<Reconfigured>, ConfigError>;
}

impl<D: Driver> Source for PoolObserver<D> {
    fn name(&self) -> &str {
        PoolObserver::name(self)
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot_without_history()
    }

    fn snapshot_in_short(&self) -> Snapshot {
        PoolObserver::snapshot_in_short(self)
    }

    fn history(&self, after: u64, most: usize) -> Vec<HistoryPoint> {
        self.latest_since(after, most)
    }

    fn families(&self) -> Vec<MetricFamily> {
        PoolObserver::families(self)
    }

    fn readiness(&self) -> Readiness {
        match self.health() {
            Some(checker) => checked(checker, &self.pool().state()),
            // Probes ask often: the counts alone, without the histograms that are built for the times.
            None => unchecked(&self.pool().engine.counts(), &self.pool().config()),
        }
    }

    fn state(&self) -> PoolState {
        self.pool().state()
    }

    fn servers(&self) -> Vec<ServerFacts> {
        self.pool().engine.describe_driver().servers
    }

    fn is_live(&self) -> bool {
        self.pool().engine.has_a_pulse()
    }

    fn is_closed(&self) -> bool {
        self.pool().is_closed()
    }

    fn checks(&self) -> Option<HealthConfig> {
        self.health().map(|checker| (*checker.config()).clone())
    }

    fn leak_after(&self) -> Option<Duration> {
        let health = self.checks().and_then(|checks| checks.leak_after);
        [self.pool().config().leak_after, health].into_iter().flatten().min()
    }

    fn config(&self) -> Arc<Config> {
        self.pool().config()
    }

    fn pause(&self) {
        self.pool().pause();
    }

    fn resume(&self) {
        self.pool().resume();
    }

    fn retire(&self, whom: &Whom) {
        match whom {
            Whom::All => self.pool().retire_all(),
            Whom::Over(interval) => self.pool().retire_all_over(*interval),
            Whom::Host(host) => self.pool().retire_host(host),
        }
    }

    fn reconfigure(&self, seen: &Arc<Config>, config: Config) -> Result<Option<Reconfigured>, ConfigError> {
        self.pool().engine.reconfigure(config, Some(seen))
    }
}

/// As the monitor sees it.
fn checked<D: Driver>(checker: &HealthChecker<D>, now: &PoolState) -> Readiness {
    let report = checker.report();
    Readiness { ready: report.is_ready(), state: report.state, reasons: reasons(&report, now) }
}

/// Why it is in that state.
fn reasons(report: &HealthReport, now: &PoolState) -> Vec<String> {
    let mut reasons: Vec<String> = report.reasons.iter().filter_map(|reason| as_of_now(reason, now)).collect();
    match (report.state, reasons.is_empty()) {
        (HealthState::Closing, _) => reasons.insert(0, CLOSED.to_owned()),
        (HealthState::Degraded, true) => reasons.push("what was the reason is over".to_owned()),
        (HealthState::Starting, true) => reasons.push("no check has been answered yet".to_owned()),
        _ => {}
    }
    let age = report.at.elapsed();
    let says_so = report.reasons.iter().any(|reason| matches!(reason, HealthReason::NoAnswer(_)));
    if age > OLD && report.state != HealthState::Closing && !says_so {
        reasons.push(format!("this is as of {} ago: the monitor has not looked since", Brief(age)));
    }
    reasons
}

/// A report that is older has not been renewed when it was time.
const OLD: Duration = Duration::from_secs(3);

/// A reason with the figures of now, so that they agree with those beside it; `None` if there is nothing in it any more.
fn as_of_now(reason: &HealthReason, now: &PoolState) -> Option<String> {
    let known = match reason {
        HealthReason::Breaker(_) => now.breaker.is_open().then_some(HealthReason::Breaker(now.breaker)),
        HealthReason::Utilisation { leased, .. } => return as_used_now(*leased, now),
        HealthReason::Waiting(_) => (now.callers() > 0).then_some(HealthReason::Waiting(now.callers())),
        HealthReason::OldLease(_) => (now.leased > 0).then(|| reason.clone()),
        HealthReason::Paused => now.paused.then_some(HealthReason::Paused),
        other => Some(other.clone()),
    };
    known.map(|reason| reason.to_string())
}

/// How many are in use, and how many were when that was too many, if those are fewer now.
fn as_used_now(before: usize, now: &PoolState) -> Option<String> {
    let of = now.max_size.saturating_sub(now.reserved);
    let text = HealthReason::Utilisation { leased: now.leased, of }.to_string();
    match now.leased {
        0 => None,
        leased if leased < before => Some(format!("{text}, and {before} were a moment ago")),
        _ => Some(text),
    }
}

const CLOSED: &str = "the pool is closed";

/// As far as the pool itself knows, which asks its backend for nothing.
fn unchecked(seen: &Stats, config: &Config) -> Readiness {
    let pool = seen.state;
    let (lacks, fails) = (lacks_one(seen, config), pool.breaker.is_open());
    let rows = [
        (pool.closed, HealthState::Closing, CLOSED.to_owned()),
        (lacks && seen.opened == 0 && !fails, HealthState::Starting, none_yet(seen)),
        // Nobody opens one meanwhile, so what follows says how it was before.
        (pool.paused, HealthState::Degraded, HealthReason::Paused.to_string()),
        (fails, HealthState::Unhealthy, pool.breaker.to_string()),
        (lacks && seen.opened > 0, HealthState::Unhealthy, "no connection is open".to_owned()),
    ];
    let found: Vec<_> = rows.into_iter().filter(|(holds, ..)| *holds).collect();
    let state = found.first().map_or(HealthState::Healthy, |(_, state, _)| *state);
    let told = if pool.paused && !pool.closed { found.len() } else { 1 };
    let reasons = found.into_iter().take(told).map(|(.., reason)| reason).collect();
    Readiness { ready: matches!(state, HealthState::Healthy | HealthState::Degraded), state, reasons }
}

/// Whether it has no connection, and wants one.
fn lacks_one(seen: &Stats, config: &Config) -> bool {
    let pool = seen.state;
    let present = pool.size.saturating_sub(pool.opening);
    // One that is lazy, or may shrink to nothing, opens one when somebody asks.
    let wanted = pool.waiting > 0 || (config.min_size.max(config.min_idle) > 0 && (!config.lazy || seen.opened > 0));
    present == 0 && wanted
}

fn none_yet(stats: &Stats) -> String {
    match stats.open_failures {
        0 => "no connection has been opened yet".to_owned(),
        failed => format!("no connection has been opened yet; attempts that have failed: {failed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::BreakerState;

    fn of(change: impl FnOnce(&mut Stats, &mut Config)) -> (HealthState, bool) {
        let (mut stats, mut config) = (Stats::default(), Config::default());
        (stats.state.size, stats.opened) = (2, 2);
        change(&mut stats, &mut config);
        let found = unchecked(&stats, &config);
        assert_eq!(found.reasons.is_empty(), found.state == HealthState::Healthy);
        (found.state, found.ready)
    }

    #[test]
    fn a_pool_that_nobody_checks_is_as_ready_as_it_looks() {
        assert_eq!(of(|_, _| ()), (HealthState::Healthy, true));
        assert_eq!(of(|stats, _| stats.state.paused = true), (HealthState::Degraded, true));
        assert_eq!(of(|stats, _| stats.state.closed = true), (HealthState::Closing, false));
        assert_eq!(of(|stats, _| stats.state.breaker = BreakerState::HalfOpen), (HealthState::Unhealthy, false));
    }

    #[test]
    fn one_that_is_paused_is_ready_whatever_it_was_before() {
        let paused = |change: fn(&mut Stats)| {
            let (mut stats, config) = (Stats::default(), Config::default());
            (stats.opened, stats.state.size, stats.state.paused) = (2, 2, true);
            change(&mut stats);
            let found = unchecked(&stats, &config);
            (found.state, found.reasons.join("; "))
        };
        let fails = |stats: &mut Stats| (stats.state.size, stats.state.breaker) = (0, BreakerState::HalfOpen);
        let cause = "the breaker is half open, an attempt is under way; no connection is open";
        assert_eq!(paused(fails), (HealthState::Degraded, format!("the pool is paused; {cause}")));
        assert_eq!(paused(|stats| stats.state.closed = true), (HealthState::Closing, CLOSED.to_owned()));
        let (state, reasons) = paused(|stats| (stats.opened, stats.state.size) = (0, 0));
        let told = "no connection has been opened yet; the pool is paused";
        assert_eq!((state, reasons.as_str()), (HealthState::Starting, told), "nobody knows whether one can be");
    }

    #[test]
    fn those_in_line_are_among_those_who_wait() {
        let mut now = PoolState::default();
        let waiting = |now: &PoolState| as_of_now(&HealthReason::Waiting(9), now);
        assert_eq!(waiting(&now), None);
        now.in_line = 3;
        assert_eq!(waiting(&now).as_deref(), Some("3 callers wait"));
        now.waiting = 1;
        assert_eq!(waiting(&now).as_deref(), Some("4 callers wait"));
    }

    #[test]
    fn one_without_a_connection_is_not_ready_unless_it_wants_none() {
        let none = |stats: &mut Stats| stats.state.size = 0;
        assert_eq!(of(|stats, _| none(stats)), (HealthState::Unhealthy, false));
        assert_eq!(of(|stats, _| (stats.opened, stats.state.opening) = (0, 2)), (HealthState::Starting, false));
        let shrunk = of(|stats, config| (config.min_size, stats.state.size) = (0, 0));
        assert_eq!(shrunk, (HealthState::Healthy, true), "it opens one when somebody asks");
        let lazy = of(|stats, config| {
            none(stats);
            (config.lazy, stats.opened) = (true, 0);
        });
        assert_eq!(lazy, (HealthState::Healthy, true));
    }
}
