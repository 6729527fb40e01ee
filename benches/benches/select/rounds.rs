//! The rounds: all are open all the time, and take turns.

use std::error::Error;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pool_testkit::postgres::EphemeralPostgres;
use tokio::runtime::{Builder, Runtime};

use super::contenders::Contender;
use super::sqlx::Sqlx;
use crate::args::Args;
use crate::processor::processor_time;

/// What was seen of a contender.
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    /// Answers a second, by round.
    pub(crate) rates: Vec<f64>,
    pub(crate) times: Histogram<u64>,
    /// p50 and p99 in microseconds, by round, of a contender whose answers are counted where they arrive: in another process.
    pub(crate) told: Vec<[f64; 2]>,
    pub(crate) answers: u64,
    /// What its process has had of the processors in its turns, the server left out.
    pub(crate) processor: Duration,
}

impl Seen {
    fn new(name: &'static str) -> Self {
        // Up to a minute.
        let times = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
        Self { name, rates: Vec::new(), times, told: Vec::new(), answers: 0, processor: Duration::ZERO }
    }
}

/// Those who take turns, all of them open.
struct Site {
    runtime: Runtime,
    contenders: Vec<Contender>,
    /// Behind the others.
    sqlx: Option<Sqlx>,
    connections: usize,
    times: usize,
}

/// Has all take turns, each round in another order.
pub(crate) fn measure(args: &Args) -> Result<Vec<Seen>, Box<dyn Error>> {
    let server = EphemeralPostgres::start()?;
    let mut site = Site::open(args, &server.url())?;
    let mut seen: Vec<_> = site.contenders.iter().map(|it| Seen::new(it.name())).collect();
    seen.extend(site.sqlx.iter().map(|_| Seen::new("sqlx")));
    let rounds = args.number("rounds", if args.quick { 3 } else { 45 });
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for turn in 0..seen.len() {
            let which = (round + turn) % seen.len();
            site.take_turn(which, &mut seen[which])?;
        }
    }
    Ok(seen)
}

impl Site {
    fn open(args: &Args, url: &str) -> Result<Self, Box<dyn Error>> {
        let connections = args.number("connections", 8);
        let times = if args.quick { 500 } else { 2_000 };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut contenders = runtime.block_on(Contender::all(url, connections));
        contenders.retain(|contender| args.wants("only", contender.name()));
        let sqlx = args.has("with-sqlx").then(|| Sqlx::start(url, connections)).transpose()?;
        Ok(Self { runtime, contenders, sqlx, connections, times })
    }

    fn take_turn(&mut self, which: usize, seen: &mut Seen) -> Result<(), Box<dyn Error>> {
        match (self.contenders.get(which), &mut self.sqlx) {
            (Some(contender), _) => self.take_turn_here(contender, seen),
            (None, Some(sqlx)) => sqlx.take_turn(self.connections, self.times, seen)?,
            (None, None) => {}
        }
        Ok(())
    }

    fn take_turn_here(&self, contender: &Contender, seen: &mut Seen) {
        let before = processor_time("self");
        let begun = Instant::now();
        let asks = (0..self.connections).map(|task| self.runtime.spawn(contender.clone().ask(task, self.times)));
        let tasks: Vec<_> = asks.collect();
        let mut answers = 0_u32;
        for task in tasks {
            for taken in self.runtime.block_on(task).expect("it does not panic") {
                answers += 1;
                seen.times.saturating_record(taken);
            }
        }
        if let (Some(before), Some(after)) = (before, processor_time("self")) {
            seen.processor += after.saturating_sub(before);
        }
        seen.answers += u64::from(answers);
        let took = begun.elapsed().max(Duration::from_nanos(1));
        seen.rates.push(f64::from(answers) / took.as_secs_f64());
    }
}
