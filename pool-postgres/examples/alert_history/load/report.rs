//! What the load found, and the verdict.

use std::fmt;
use std::time::Duration;

use pool_postgres::pool_core::{Distribution, Stats};

use super::client::{Durations, Tally};

/// A promise, in microseconds.
const AVERAGE_LIMIT: f64 = 50_000.0;
/// Another one.
const ACQUIRE_P99_LIMIT: Duration = Duration::from_millis(100);

pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) took: Duration,
    /// Leased connections, every tenth of a second.
    pub(super) utilisation: Vec<usize>,
    /// Alerts of this run in the table.
    pub(super) found: u64,
    pub(super) stats: Stats,
}

impl Report {
    /// The promises that were not kept.
    pub(super) fn failures(&self) -> Vec<String> {
        let Self { tally, found, .. } = self;
        let first = tally.first_error.as_deref().unwrap_or("none");
        let promises = [
            (tally.requests > 0, "no request was sent".to_owned()),
            (tally.errors == 0, format!("{} requests failed; the first: {first}", tally.errors)),
            (*found == tally.alerts, format!("{} alerts were accepted and {found} are in the table", tally.alerts)),
            (
                tally.latency.mean() < AVERAGE_LIMIT,
                format!("an answer took {} on average", shown(tally.latency.mean())),
            ),
            (self.acquires_are_quick(), "the 99th percentile of acquires is over 100 ms".to_owned()),
        ];
        promises.into_iter().filter(|(kept, _)| !kept).map(|(_, failure)| failure).collect()
    }

    /// Those that did not wait took no time.
    fn acquires_are_quick(&self) -> bool {
        let Stats { waited, acquired, wait, .. } = &self.stats;
        100 * waited < *acquired || wait.p99 < ACQUIRE_P99_LIMIT
    }

    #[allow(clippy::cast_precision_loss)] // a report for people
    fn used(&self) -> (f64, f64) {
        let (max, samples) = (self.stats.state.max_size.max(1) as f64, self.utilisation.len().max(1) as f64);
        let average = self.utilisation.iter().sum::<usize>() as f64 / samples;
        let peak = self.utilisation.iter().copied().max().unwrap_or(0) as f64;
        (100.0 * average / max, 100.0 * peak / max)
    }
}

fn shown(micros: f64) -> String {
    format!("{:.2} ms", micros / 1000.0)
}

#[allow(clippy::cast_precision_loss)] // a report for people
fn percentiles(durations: &Durations) -> String {
    let at = |quantile| shown(durations.value_at_quantile(quantile) as f64);
    format!("p50 {}, p95 {}, p99 {}, max {}", at(0.50), at(0.95), at(0.99), shown(durations.max() as f64))
}

impl fmt::Display for Report {
    #[allow(clippy::cast_precision_loss)] // a report for people
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, took, found, stats, .. } = self;
        let (average, peak) = self.used();
        writeln!(
            f,
            "requests     {} in {:.1} s ({:.0}/s)",
            tally.requests,
            took.as_secs_f64(),
            tally.requests as f64 / took.as_secs_f64()
        )?;
        writeln!(f, "errors       {}", tally.errors)?;
        writeln!(f, "alerts       {} accepted, {found} found in the table", tally.alerts)?;
        writeln!(f, "latency      average {}, {}", shown(tally.latency.mean()), percentiles(&tally.latency))?;
        writeln!(
            f,
            "utilisation  {average:.0} % of {} connections on average, {peak:.0} % at most",
            stats.state.max_size
        )?;
        let Distribution { p50, p99, max, .. } = stats.wait;
        let (waited, acquired) = (stats.waited, stats.acquired);
        writeln!(f, "acquires     {waited} of {acquired} waited: p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?}")?;
        match &self.failures()[..] {
            [] => write!(f, "verdict      every promise kept"),
            failures => write!(f, "verdict      FAILED: {}", failures.join("; ")),
        }
    }
}
