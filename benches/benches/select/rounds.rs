//! The rounds: all are open all the time, and take turns.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pool_testkit::postgres::EphemeralPostgres;
use tokio::runtime::{Builder, Runtime};

use super::contenders::Contender;
use crate::args::Args;

/// What was seen of a contender.
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    /// Answers a second, by round.
    pub(crate) rates: Vec<f64>,
    pub(crate) times: Histogram<u64>,
}

/// Has all take turns, each round in another order.
pub(crate) fn measure(args: &Args) -> Vec<Seen> {
    let connections = args.number("connections", 8);
    let server = EphemeralPostgres::start().expect("a server");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut contenders = runtime.block_on(Contender::all(&server.url(), connections));
    contenders.retain(|contender| args.wants("only", contender.name()));
    // Up to a minute.
    let times = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
    let mut seen: Vec<_> =
        contenders.iter().map(|it| Seen { name: it.name(), rates: Vec::new(), times: times() }).collect();
    let rounds = args.number("rounds", if args.quick { 3 } else { 45 });
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            take_turn(&runtime, &contenders[which], connections, args.quick, &mut seen[which]);
        }
    }
    seen
}

fn take_turn(runtime: &Runtime, contender: &Contender, connections: usize, quick: bool, seen: &mut Seen) {
    let times = if quick { 500 } else { 2_000 };
    let cpu0 = cpu();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..connections).map(|task| runtime.spawn(contender.clone().ask(task, times))).collect();
    let mut answers = 0_u32;
    for task in tasks {
        for taken in runtime.block_on(task).expect("it does not panic") {
            answers += 1;
            seen.times.saturating_record(taken);
        }
    }
    eprintln!("CPU {} {:?} {}", contender.name(), (cpu().0 - cpu0.0, cpu().1 - cpu0.1), answers);
    let took = begun.elapsed().max(Duration::from_nanos(1));
    seen.rates.push(f64::from(answers) / took.as_secs_f64());
}

fn cpu() -> (u64, u64) {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let p: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (p[11].parse().unwrap(), p[12].parse().unwrap())
}
