//! What is counted, and the figures that come of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Three significant digits: the tails are to be compared.
const DIGITS: u8 = 3;
/// More than any acquire takes, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// What tasks saw of a pool.
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    failed: u64,
    /// Connections replaced meanwhile.
    pub(crate) rotated: u64,
    /// How long it took, the warm-up included: in all of it connections are replaced.
    pub(crate) time: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, DIGITS).expect("the bounds are in range");
        Self { latencies, failed: 0, rotated: 0, time: Duration::ZERO }
    }
}

impl Tally {
    /// Takes down one acquire.
    pub(crate) fn note(&mut self, latency: Duration, succeeded: bool) {
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LONGEST));
        self.failed += u64::from(!succeeded);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("their bounds are the same");
        self.failed += other.failed;
        self.rotated += other.rotated;
        self.time += other.time;
    }
}

/// What is known about a pool under a load. Written to JSON as it is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) acquires: u64,
    pub(crate) failed: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) rotated: u64,
    pub(crate) rotated_per_s: f64,
    /// The greatest age of a connection that was closed.
    pub(crate) oldest_ms: u64,
}

impl Figures {
    pub(crate) fn new(tally: &Tally, oldest_ms: u64) -> Self {
        let Tally { latencies, failed, rotated, time } = tally;
        let at = |quantile| float(latencies.value_at_quantile(quantile)) / 1e3;
        Self {
            acquires: latencies.len(),
            failed: *failed,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            rotated: *rotated,
            rotated_per_s: float(*rotated) / time.as_secs_f64(),
            oldest_ms,
        }
    }
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
