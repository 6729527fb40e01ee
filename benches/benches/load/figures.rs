//! The figures of a phase.

use std::collections::BTreeMap;
use std::time::Duration;

use pool_core::Stats;
use pool_postgres::retry::RetryStats;
use serde::Serialize;

use super::memory::most_resident;
use super::rest::Rest;
use super::site::CONNECTIONS;
use super::tally::Tally;
use super::watcher::Watched;

/// What is known about a phase.
pub(crate) struct Played {
    /// Operations that have begun.
    pub(crate) begun: u64,
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    pub(crate) watched: Watched,
    pub(crate) stats: Stats,
    pub(crate) retries: RetryStats,
    /// Faults of the network that have happened.
    pub(crate) struck: u64,
    pub(crate) rest: Rest,
}

/// What comes of that. Written to JSON as it is.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) operations: u64,
    /// Of those that were not dropped by their callers, in percent.
    pub(crate) succeeded_percent: f64,
    pub(crate) not_done: u64,
    pub(crate) unknown: u64,
    pub(crate) dropped: u64,
    /// Of all operations, in percent.
    pub(crate) faulty_percent: f64,
    pub(crate) struck_by_the_network: u64,
    pub(crate) retries: BTreeMap<&'static str, u64>,
    pub(crate) given_up: BTreeMap<&'static str, u64>,
    /// Begun, and nobody was told an end.
    pub(crate) without_an_end: u64,
    /// Of operations that write: done twice, not done though the caller was told so, done though the caller was told not, or of nobody.
    pub(crate) wrong_in_the_books: usize,
    /// Done, though nobody knew.
    pub(crate) done_after_all: u64,
    /// Of the connections, in percent: by looking every ten milliseconds, and by how long leases were held.
    pub(crate) utilisation_percent: f64,
    pub(crate) held_percent: f64,
    pub(crate) most_waiting: usize,
    /// Of whole operations, retries included.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// Of acquires that had to wait.
    pub(crate) wait_p50_ms: f64,
    pub(crate) wait_p99_ms: f64,
    pub(crate) opened: u64,
    pub(crate) broken: u64,
    pub(crate) resident_mib: f64,
    pub(crate) resident_growth_mib: f64,
    pub(crate) most_resident_mib: f64,
    pub(crate) unclean: Vec<&'static str>,
}

impl Figures {
    pub(crate) fn new(played: &Played) -> Self {
        let Played { begun, tally, took, watched, stats, retries, struck, rest } = played;
        let at = |quantile| float(tally.latencies.value_at_quantile(quantile)) / 1e3;
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let held = stats.hold.mean.as_secs_f64() * float(stats.hold.count);
        Self {
            seconds: took.as_secs_f64(),
            operations: *begun,
            succeeded_percent: percent(tally.done, tally.answered()),
            not_done: tally.not_done,
            unknown: tally.unknown,
            dropped: tally.dropped,
            faulty_percent: percent(tally.faulty, *begun),
            struck_by_the_network: *struck,
            retries: retries.retries().map(|(reason, count)| (reason.label(), count)).collect(),
            given_up: retries.given_up().map(|(reason, count)| (reason.label(), count)).collect(),
            without_an_end: begun.abs_diff(tally.ended()) + retries.operations.abs_diff(*begun) + miscounted(played),
            wrong_in_the_books: rest.balance.wrong(),
            done_after_all: rest.balance.done_after_all,
            utilisation_percent: watched.utilisation() * 100.0,
            held_percent: held / (took.as_secs_f64() * float(CONNECTIONS as u64)) * 100.0,
            most_waiting: watched.most_waiting,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
            wait_p50_ms: millis(stats.wait.p50),
            wait_p99_ms: millis(stats.wait.p99),
            opened: stats.opened,
            broken: stats.broken,
            resident_mib: watched.resident_most,
            resident_growth_mib: watched.resident_most - watched.resident_early,
            most_resident_mib: most_resident(),
            unclean: rest.unclean.clone(),
        }
    }
}

/// By how many the retrier's successes and failures differ from what callers were told.
fn miscounted(played: &Played) -> u64 {
    let Played { tally, retries, .. } = played;
    let given_up: u64 = retries.given_up().map(|(_, count)| count).sum();
    retries.succeeded.abs_diff(tally.done) + given_up.abs_diff(tally.not_done + tally.unknown)
}

fn percent(part: u64, whole: u64) -> f64 {
    float(part) / float(whole) * 100.0
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
fn float(count: u64) -> f64 {
    count as f64
}
