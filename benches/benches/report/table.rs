//! The table, in Markdown: it can go into docs/performance.md as it is.

use std::fmt::Write;

use super::figures::{Figures, Results};
use super::rounds::ENTRIES;
use super::workload::WORKLOADS;
use crate::number::number;

const HEAD: &str = "\
| workload | contender | ns/op | middle half | to ours | M ops/s | p50 ns | p99 ns | p99.9 ns | max ns | fairness |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

pub(crate) fn table(results: &Results) -> String {
    let mut table = HEAD.to_owned();
    for (workload, _) in WORKLOADS {
        let ours = results.get(workload, "ours").map_or(f64::NAN, |ours| ours.ns_per_op);
        for entry in &ENTRIES {
            if let Some(figures) = results.get(workload, entry.name) {
                writeln!(table, "{}", row(workload, entry.name, figures, ours)).expect("memory");
            }
        }
    }
    table
}

fn row(workload: &str, contender: &str, figures: &Figures, ours: f64) -> String {
    let Figures { ops_per_s, ns_per_op, p50_ns, p99_ns, p999_ns, max_ns, fairness, spread } = *figures;
    let cells = [
        workload.to_owned(),
        contender.to_owned(),
        number(ns_per_op),
        format!("{} to {}", number(spread.0), number(spread.1)),
        number(ns_per_op / ours),
        number(ops_per_s / 1e6),
        number(p50_ns),
        number(p99_ns),
        number(p999_ns),
        number(max_ns),
        number(fairness),
    ];
    format!("| {} |", cells.join(" | "))
}
