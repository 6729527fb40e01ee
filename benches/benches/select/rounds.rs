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
    pub(crate) answers: u64,
    /// What this process has had of the processors in its turns, the server left out.
    pub(crate) processor: Duration,
}

impl Seen {
    fn new(name: &'static str) -> Self {
        // Up to a minute.
        let times = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
        Self { name, rates: Vec::new(), times, answers: 0, processor: Duration::ZERO }
    }
}

/// Has all take turns, each round in another order.
pub(crate) fn measure(args: &Args) -> Vec<Seen> {
    let connections = args.number("connections", 8);
    let server = EphemeralPostgres::start().expect("a server");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut contenders = runtime.block_on(Contender::all(&server.url(), connections));
    contenders.retain(|contender| args.wants("only", contender.name()));
    let mut seen: Vec<_> = contenders.iter().map(|it| Seen::new(it.name())).collect();
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
    let before = processor_time();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..connections).map(|task| runtime.spawn(contender.clone().ask(task, times))).collect();
    let mut answers = 0_u32;
    for task in tasks {
        for taken in runtime.block_on(task).expect("it does not panic") {
            answers += 1;
            seen.times.saturating_record(taken);
        }
    }
    if let (Some(before), Some(after)) = (before, processor_time()) {
        seen.processor += after.saturating_sub(before);
    }
    seen.answers += u64::from(answers);
    let took = begun.elapsed().max(Duration::from_nanos(1));
    seen.rates.push(f64::from(answers) / took.as_secs_f64());
}

/// What this process has had of the processors so far; `None` where the system does not tell.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have anything in it: the 14th field of all is the time in the process, the 15th that in the system for it.
    let ticks = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok());
    // Linux tells all times in hundredths of a second.
    Some(Duration::from_millis(10 * ticks.sum::<Option<u64>>()?))
}
