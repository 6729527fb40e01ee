//! What has to come out.

use super::figures::{Seen, median};
use crate::number::number;

/// A ratio of two figures of the same run, and what it has to be.
pub(crate) struct Must {
    what: String,
    bound: Bound,
    /// Of what is written down; not a number if it was not measured.
    found: f64,
    /// The median of the turns' own ratios.
    by_turns: f64,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Must {
    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.found >= least,
            Bound::AtMost(most) => self.found <= most,
        }
    }

    fn print(&self) {
        let needed = match self.bound {
            Bound::AtLeast(least) => format!("≥ {least}"),
            Bound::AtMost(most) => format!("≤ {most}"),
        };
        let verdict = if self.is_met() { "ok" } else { "MISS" };
        println!("| {} | {needed} | {} | {} | {verdict} |", self.what, number(self.found), number(self.by_turns));
    }
}

/// Of which figure.
#[derive(Clone, Copy)]
enum Of {
    Throughput,
    P99,
}

/// A contender at a workload.
type Who = (&'static str, &'static str);

const OURS: &str = "ours_multiplexed";
const BARE: &str = "bare_pipelined";
const DEADPOOL: &str = "deadpool";

/// All of them, in this run.
pub(crate) fn musts(seen: &[Seen]) -> Vec<Must> {
    use Bound::{AtLeast, AtMost};
    use Of::{P99, Throughput};
    let must = |of, bound, one: Who, other: Who| ratio(seen, of, bound, one, other);
    let beside = |of, bound, workload, other| must(of, bound, (workload, OURS), (workload, other));
    vec![
        beside(Throughput, AtLeast(1.25), "callers_64", DEADPOOL),
        beside(Throughput, AtLeast(1.5), "callers_256", DEADPOOL),
        beside(Throughput, AtLeast(0.95), "callers_64", BARE),
        beside(Throughput, AtLeast(0.95), "callers_256", BARE),
        beside(P99, AtMost(1.1), "callers_64", BARE),
        beside(P99, AtMost(1.1), "callers_256", BARE),
        beside(P99, AtMost(1.0), "callers_256", DEADPOOL),
        must(Throughput, AtLeast(1.0), ("callers_256_conns_2", OURS), ("callers_256", DEADPOOL)),
        beside(Throughput, AtLeast(10.0), "delay_5ms_256", DEADPOOL),
        must(P99, AtMost(2.0), ("mixed_slow", OURS), ("callers_256", OURS)),
    ]
}

fn ratio(seen: &[Seen], of: Of, bound: Bound, one: Who, other: Who) -> Must {
    let find = |(workload, contender)| seen.iter().find(|it| it.workload == workload && it.contender == contender);
    let figure = |who| find(who).map_or(f64::NAN, |seen| of.figure(seen));
    let by_turn = |who| find(who).map_or(&[][..], |seen| of.by_turn(seen));
    let ratios: Vec<_> = by_turn(one).iter().zip(by_turn(other)).map(|(one, other)| one / other).collect();
    let name = of.name();
    let what = format!("{name} of {} at {} over that of {} at {}", one.1, one.0, other.1, other.0);
    Must { what, bound, found: figure(one) / figure(other), by_turns: median(&ratios) }
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Throughput => "queries/s",
            Self::P99 => "p99",
        }
    }

    fn figure(self, seen: &Seen) -> f64 {
        match self {
            Self::Throughput => seen.figures().queries_per_s,
            Self::P99 => seen.figures().p99_us,
        }
    }

    fn by_turn(self, seen: &Seen) -> &[f64] {
        match self {
            Self::Throughput => seen.rates(),
            Self::P99 => seen.p99s(),
        }
    }
}

/// Prints them. Whether all are met.
pub(crate) fn print(musts: &[Must]) -> bool {
    println!("| ratio | needed | found | by turns | |\n| --- | --: | --: | --: | --- |");
    musts.iter().for_each(Must::print);
    let met = musts.iter().filter(|must| must.is_met()).count();
    println!("\n{met} of {} are met in this run.", musts.len());
    met == musts.len()
}
