//! The rounds: in each of them every contender has a turn at every workload, and the order moves on by one each time.

use std::time::{Duration, Instant};

use super::figures::{Results, Turn, Turns};
use super::window::Lengths;
use super::workload::{Slice, WORKLOADS, Workload, run};
use crate::args::{Args, Choice};
use crate::contenders::{Bb8, Contender, Deadpool, DeadpoolTimeouts, Mobc, Ours, QueueOnly, SemaphoreQueue};

/// A contender, without its type.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    waits: bool,
    throughput: fn(Workload, Lengths) -> Slice,
    latency: fn(Workload, Lengths) -> Slice,
}

pub(crate) const ENTRIES: [Entry; 7] = [
    entry::<Ours>(),
    entry::<QueueOnly>(),
    entry::<SemaphoreQueue>(),
    entry::<Deadpool>(),
    entry::<DeadpoolTimeouts>(),
    entry::<Bb8>(),
    entry::<Mobc>(),
];

const fn entry<C: Contender>() -> Entry {
    Entry { name: C::NAME, waits: C::WAITS, throughput: run::<C, false>, latency: run::<C, true> }
}

impl Entry {
    fn can_do(&self, workload: Workload) -> bool {
        self.waits || !workload.has_waiters()
    }

    /// The throughput and the latencies, one after the other.
    fn turn(&self, workload: Workload, args: &Args) -> Turn {
        let counted = (self.throughput)(workload, args.lengths(Duration::from_millis(120)));
        let timed = (self.latency)(workload, args.lengths(Duration::from_millis(80)));
        Turn::new(&counted, &timed.latencies)
    }
}

/// Everything that the arguments ask for.
pub(crate) fn measure(args: &Args) -> Results {
    let mut turns = Turns::new();
    let started = Instant::now();
    let rounds = args.number("rounds", if args.quick { 3 } else { 19 });
    for round in 0..rounds {
        eprintln!("round {} of {rounds}, after {} s", round + 1, started.elapsed().as_secs());
        for (workload_name, workload) in args.workloads() {
            for place in 0..ENTRIES.len() {
                let entry = &ENTRIES[(place + round) % ENTRIES.len()];
                if entry.can_do(workload) && args.wants("contender", entry.name) {
                    let turn = entry.turn(workload, args);
                    turns.entry(workload_name).or_default().entry(entry.name).or_default().push(turn);
                }
            }
        }
    }
    Results::new(&turns, rounds)
}

/// What the command line can pick.
pub(crate) fn choices() -> [Choice; 2] {
    [
        ("only", WORKLOADS.iter().map(|(name, _)| *name).collect()),
        ("contender", ENTRIES.iter().map(|entry| entry.name).collect()),
    ]
}

impl Args {
    fn workloads(&self) -> impl Iterator<Item = (&'static str, Workload)> {
        WORKLOADS.into_iter().filter(|(name, _)| self.wants("only", name))
    }

    fn lengths(&self, counting: Duration) -> Lengths {
        let counting = if self.quick { counting / 5 } else { counting };
        Lengths { warm_up: counting / 5, counting }
    }
}
