//! How long things take: a histogram that nobody waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::stats::Distribution;

/// Times of one kind. Whoever notes one never waits: two at the same moment, and one of them is left out.
#[derive(Debug)]
pub(crate) struct Times(Mutex<Histogram<u64>>);

/// A microsecond, in nanoseconds: the unit of the histograms.
const UNIT: u64 = 1_000;
/// The longest time that is told apart from longer ones: an hour.
const LONGEST: u64 = 3_600_000_000;

impl Default for Times {
    #[allow(clippy::expect_used)] // of constants, and tested
    fn default() -> Self {
        Self(Mutex::new(Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are in order")))
    }
}

impl Times {
    /// Notes a time in nanoseconds that stands for so many.
    pub(crate) fn note(&self, nanos: u64, stands_for: u64) {
        if let Ok(mut times) = self.0.try_lock() {
            times.saturating_record_n(nanos.div_ceil(UNIT), stands_for);
        }
    }

    pub(crate) fn distribution(&self) -> Distribution {
        // Held for some nanoseconds by whoever notes one.
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if times.is_empty() {
            return Distribution::default();
        }
        let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
        Distribution {
            count: times.len(),
            mean: Duration::from_micros(1).mul_f64(times.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(times.max()),
        }
    }
}
