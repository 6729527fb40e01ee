//! What is claimed about the pool beside its peers. Ratios of medians, so that the table shows how each comes about.

use super::figures::{Figures, Results};
use crate::claim::{Claim, at_least, at_most, reported};

/// Those that serve callers in the order in which they came.
const FAIR: [&str; 3] = ["deadpool", "deadpool_timeouts", "mobc"];

/// All claims for which there are figures.
pub(crate) fn claims(results: &Results) -> Vec<Claim> {
    let view = View(results);
    let mut claims = view.alone();
    claims.extend(view.threads());
    for workload in ["tasks_64", "tasks_1024"] {
        claims.extend(view.tasks(workload));
    }
    claims.extend(view.sizes());
    claims.retain(|claim| !claim.ratio.is_nan());
    claims
}

struct View<'a>(&'a Results);

impl View<'_> {
    fn figure(&self, workload: &str, contender: &str, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.0.get(workload, contender).map_or(f64::NAN, figure)
    }

    fn nanos(&self, workload: &str, contender: &str) -> f64 {
        self.figure(workload, contender, |figures| figures.ns_per_op)
    }

    /// How many times slower a contender is than ours.
    fn lead(&self, workload: &str, contender: &str) -> f64 {
        self.nanos(workload, contender) / self.nanos(workload, "ours")
    }

    fn alone(&self) -> Vec<Claim> {
        let to_floor = 1.0 / self.lead("uncontended", "array_queue");
        vec![
            at_most(1.2, "uncontended, time over the floor's", to_floor),
            at_least(
                12.0,
                "uncontended, faster than deadpool with timeouts",
                self.lead("uncontended", "deadpool_timeouts"),
            ),
            at_least(8.0, "uncontended, faster than bb8", self.lead("uncontended", "bb8")),
        ]
    }

    fn threads(&self) -> Vec<Claim> {
        let scaling = self.nanos("threads_1", "ours") / self.nanos("threads_2", "ours");
        vec![
            at_least(1.4, "two threads, throughput over one thread's", scaling),
            at_least(1.3, "two threads, throughput over the floor's", self.lead("threads_2", "array_queue")),
            at_least(15.0, "two threads, throughput over deadpool's", self.lead("threads_2", "deadpool")),
        ]
    }

    fn tasks(&self, workload: &str) -> Vec<Claim> {
        let best_lead = FAIR.map(|pool| self.lead(workload, pool)).into_iter().fold(f64::NAN, f64::min);
        let tail = |contender: &str| self.figure(workload, contender, |figures| figures.p999_ns);
        let best_tail = FAIR.map(tail).into_iter().fold(f64::NAN, f64::min);
        let fairness = self.figure(workload, "ours", |figures| figures.fairness);
        vec![
            at_least(1.15, &format!("{workload}, throughput over the best fair pool's"), best_lead),
            at_least(
                1.0,
                &format!("{workload}, throughput over semaphore and queue's"),
                self.lead(workload, "tokio_semaphore"),
            ),
            at_most(1.1, &format!("{workload}, p99.9 over the best fair pool's"), tail("ours") / best_tail),
            at_most(1.2, &format!("{workload}, fairness"), fairness),
        ]
    }

    fn sizes(&self) -> Vec<Claim> {
        let growth = |workload| self.nanos(workload, "ours") / self.nanos("size_16", "ours");
        vec![
            at_most(2.0, "1,024 connections, time over that with 16", growth("size_1024")),
            reported("1,024 connections, 900 leased, time over that with 16", growth("size_1024_900_leased")),
        ]
    }
}
