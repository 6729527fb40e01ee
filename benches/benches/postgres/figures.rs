//! What has been seen, and what becomes of it.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::caller::Answers;
use crate::processor::processor_time;

/// What was seen in a turn.
pub(crate) struct Turn {
    pub(crate) answers: u64,
    counted: Duration,
    nanos: Histogram<u64>,
    /// All that was asked, whether it counts or not.
    pub(crate) asked: u64,
    /// What the process has had of the processors for those.
    processor: Duration,
}

impl Turn {
    /// Nothing yet, of one that counts for so long.
    pub(crate) fn of(counted: Duration) -> Self {
        Self { answers: 0, counted, nanos: empty(), asked: 0, processor: Duration::ZERO }
    }

    pub(crate) fn add(&mut self, answers: &Answers) {
        self.answers += answers.count;
        self.asked += answers.asked;
        for nanos in &answers.nanos {
            self.record(*nanos, 1);
        }
    }

    /// So many answers that took so long.
    pub(crate) fn record(&mut self, nanos: u64, times: u64) {
        self.nanos.saturating_record_n(nanos, times);
    }

    /// Notes what a process has had of the processors since it had had so much.
    pub(crate) fn used(&mut self, process: &str, before: Option<Duration>) {
        if let (Some(before), Some(after)) = (before, processor_time(process)) {
            self.processor += after.saturating_sub(before);
        }
    }

    fn rate(&self) -> f64 {
        exact(self.answers) / self.counted.as_secs_f64()
    }
}

/// Up to a minute.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits")
}

/// What was seen of a contender at a workload, in all of its turns.
pub(crate) struct Seen {
    pub(crate) workload: &'static str,
    pub(crate) contender: &'static str,
    answers: u64,
    counted: Duration,
    nanos: Histogram<u64>,
    /// Of each turn by itself.
    rates: Vec<f64>,
    p50s: Vec<f64>,
    p99s: Vec<f64>,
    asked: u64,
    processor: Duration,
}

/// What is written down of it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[allow(clippy::struct_field_names)] // units belong to names that programs read
pub(crate) struct Figures {
    /// All answers by all of the time.
    pub(crate) queries_per_s: f64,
    /// The medians of the turns.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of all answers of all turns: one turn has too few.
    pub(crate) p999_us: f64,
}

impl Seen {
    pub(crate) fn new(workload: &'static str, contender: &'static str) -> Self {
        Self {
            workload,
            contender,
            answers: 0,
            counted: Duration::ZERO,
            nanos: empty(),
            rates: Vec::new(),
            p50s: Vec::new(),
            p99s: Vec::new(),
            asked: 0,
            processor: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, turn: &Turn) {
        self.answers += turn.answers;
        self.counted += turn.counted;
        self.nanos.add(&turn.nanos).expect("their bounds are the same");
        self.rates.push(turn.rate());
        self.p50s.push(micros(&turn.nanos, 0.5));
        self.p99s.push(micros(&turn.nanos, 0.99));
        self.asked += turn.asked;
        self.processor += turn.processor;
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            queries_per_s: exact(self.answers) / self.counted.as_secs_f64(),
            p50_us: median(&self.p50s),
            p99_us: median(&self.p99s),
            p999_us: micros(&self.nanos, 0.999),
        }
    }

    /// Microseconds of the processors for a query.
    pub(crate) fn processor(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / exact(self.asked)
    }

    /// Answers a second, by turn.
    pub(crate) fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// p99 in microseconds, by turn.
    pub(crate) fn p99s(&self) -> &[f64] {
        &self.p99s
    }
}

fn micros(nanos: &Histogram<u64>, quantile: f64) -> f64 {
    exact(nanos.value_at_quantile(quantile)) / 1e3
}

/// Not a number if there are none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What is counted here has fewer digits than that.
#[allow(clippy::cast_precision_loss)]
fn exact(count: u64) -> f64 {
    count as f64
}
