//! From the turns to figures: the median of the quieter half of the rounds, each figure for itself.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::workload::Slice;

/// One contender's turn at one workload. What does not exist is not a number.
pub(crate) struct Turn {
    ops_per_s: f64,
    fairness: f64,
    /// At the half, 99 %, 99.9 % and the end.
    latencies: [f64; 4],
}

impl Turn {
    pub(crate) fn new(counted: &Slice, latencies: &Histogram<u64>) -> Self {
        let done: u64 = counted.done.iter().sum();
        let at = |quantile| if latencies.is_empty() { f64::NAN } else { float(latencies.value_at_quantile(quantile)) };
        Self {
            ops_per_s: float(done) / counted.time.as_secs_f64(),
            fairness: fairness(&counted.done),
            latencies: [at(0.5), at(0.99), at(0.999), at(1.0)],
        }
    }
}

/// How much more the busiest worker did than the one that came off worst: infinitely much if that one starved.
fn fairness(done: &[u64]) -> f64 {
    match (done.iter().max(), done.iter().min()) {
        (Some(most), Some(least)) if done.len() > 1 => float(*most) / float(*least),
        _ => f64::NAN,
    }
}

/// What is known about a contender at a workload. Written to JSON as it is, where neither "infinite" nor "not a number" exist: both are null.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) ops_per_s: f64,
    pub(crate) ns_per_op: f64,
    pub(crate) p50_ns: f64,
    pub(crate) p99_ns: f64,
    pub(crate) p999_ns: f64,
    pub(crate) max_ns: f64,
    pub(crate) fairness: f64,
    /// The quarter and three quarters of `ns_per_op` in all rounds, for the table.
    #[serde(skip)]
    pub(crate) spread: (f64, f64),
}

impl Figures {
    /// From a turn in each round, and the rounds that were quiet.
    fn new(turns: &[Turn], quiet: &[usize]) -> Self {
        let median = |figure: &dyn Fn(&Turn) -> f64| quantile(quiet.iter().map(|round| figure(&turns[*round])), 2);
        let latency = |place: usize| median(&|turn| turn.latencies[place]);
        let nanos = |turn: &Turn| 1e9 / turn.ops_per_s;
        Self {
            ops_per_s: median(&|turn| turn.ops_per_s),
            ns_per_op: median(&nanos),
            p50_ns: latency(0),
            p99_ns: latency(1),
            p999_ns: latency(2),
            max_ns: latency(3),
            fairness: median(&|turn| turn.fairness),
            spread: (quantile(turns.iter().map(nanos), 1), quantile(turns.iter().map(nanos), 3)),
        }
    }
}

/// So many quarters through the values in order.
fn quantile(values: impl Iterator<Item = f64>, quarters: usize) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get((values.len() - 1) * quarters / 4).copied().unwrap_or(f64::NAN)
}

/// The half of the rounds in which all contenders together were fastest: who else is at work on the machine slows down all of them, though not all alike.
fn quieter_half<'a>(contenders: impl Iterator<Item = &'a Vec<Turn>> + Clone, rounds: usize) -> Vec<usize> {
    let speed = |round: &usize| contenders.clone().map(|turns| turns[*round].ops_per_s.ln()).sum::<f64>();
    let mut quietest: Vec<_> = (0..rounds).collect();
    quietest.sort_by(|a, b| speed(b).total_cmp(&speed(a)));
    quietest.truncate(rounds.div_ceil(2));
    quietest
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
fn float(count: u64) -> f64 {
    count as f64
}

/// The figures of every contender at every workload that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<&'static str, BTreeMap<&'static str, Figures>>);

impl Results {
    pub(crate) fn get(&self, workload: &str, contender: &str) -> Option<&Figures> {
        self.0.get(workload)?.get(contender)
    }

    /// As `{workload: {contender: {figure: value}}}`.
    pub(crate) fn to_json(&self, is_wanted: impl Fn(&str) -> bool) -> serde_json::Result<String> {
        let wanted: BTreeMap<_, _> = self.0.iter().filter(|(workload, _)| is_wanted(workload)).collect();
        serde_json::to_string_pretty(&wanted)
    }
}

/// The turns of every contender at every workload, one in each round.
pub(crate) type Turns = BTreeMap<&'static str, BTreeMap<&'static str, Vec<Turn>>>;

impl Results {
    pub(crate) fn new(turns: &Turns, rounds: usize) -> Self {
        let figures = |contenders: &BTreeMap<&'static str, Vec<Turn>>| {
            let quiet = quieter_half(contenders.values(), rounds);
            contenders.iter().map(|(name, turns)| (*name, Figures::new(turns, &quiet))).collect()
        };
        Self(turns.iter().map(|(workload, contenders)| (*workload, figures(contenders))).collect())
    }
}
