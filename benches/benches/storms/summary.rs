//! The rounds, the tables, the file, and the verdicts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use serde::Serialize;

use super::bb8::Bb8;
use super::cancel::{Storm, Use, storm};
use super::deadpool::Deadpool;
use super::ours::Ours;
use super::outage::{Recovery, outage};
use super::pool::{CONNECTIONS, Pool, TASKS};
use crate::args::{Args, Choice};
use crate::claim::{Claim, at_least, at_most, print_verdicts, reported};
use crate::folder::report_folder;
use crate::number::number;

/// Seconds until the last of those is served who have waited out an outage.
const SOON: f64 = 0.1;

/// The storms of those who give up.
const USES: [(&str, Use); 2] = [("cancel", Use::Turn), ("cancel_held", Use::Millisecond)];
const OUTAGE: &str = "outage";

/// What the command line can pick.
pub(crate) fn choices() -> [Choice; 1] {
    [("only", USES.iter().map(|(name, _)| *name).chain([OUTAGE]).collect())]
}

/// What one pool does in a round.
type Turn<T> = Box<dyn Fn(u64) -> T>;

/// All rounds of each pool.
#[derive(Serialize)]
struct Rounds<T>(BTreeMap<&'static str, Vec<T>>);

impl<T: Copy> Rounds<T> {
    /// The pools take turns.
    fn play(what: &str, rounds: u64, turns: &[(&'static str, Turn<T>)]) -> Self {
        let mut all = BTreeMap::<_, Vec<T>>::new();
        for round in 0..rounds {
            eprintln!("{what}: round {} of {rounds}", round + 1);
            for (name, turn) in turns {
                all.entry(*name).or_default().push(turn(round));
            }
        }
        Self(all)
    }

    fn of<P: Pool>(&self) -> &[T] {
        self.0.get(P::NAME).map_or(&[], Vec::as_slice)
    }

    /// The least, the median and the greatest of a figure.
    fn spread(&self, name: &str, figure: impl Fn(&T) -> f64) -> [f64; 3] {
        let mut all: Vec<_> = self.0[name].iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        [0, all.len() / 2, all.len() - 1].map(|at| all[at])
    }
}

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let rounds = args.number("rounds", if args.quick { 1 } else { ordinary_rounds(args) }) as u64;
    let mut claims = Vec::new();
    for (name, usage) in USES.into_iter().filter(|(name, _)| args.wants("only", name)) {
        claims.extend(give_up(name, usage, rounds)?);
    }
    if args.wants("only", OUTAGE) {
        claims.extend(wait_out(rounds)?);
    }
    println!("Figures are in {}.\n", report_folder()?.display());
    let all_hold = print_verdicts(&claims);
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ordinary_rounds(args: &Args) -> usize {
    if args.check { 20 } else { 3 }
}

fn give_up(name: &str, usage: Use, rounds: u64) -> Result<Vec<Claim>, Box<dyn Error>> {
    let turns: [(_, Turn<Storm>); 3] = [
        (Ours::NAME, Box::new(move |round| storm::<Ours>(round, usage))),
        (Bb8::NAME, Box::new(move |round| storm::<Bb8>(round, usage))),
        (Deadpool::NAME, Box::new(move |round| storm::<Deadpool>(round, usage))),
    ];
    let storms = Rounds::play(name, rounds, &turns);
    print_storms(name, &storms);
    write(name, &storms)?;
    Ok(storm_claims(name, &storms))
}

fn wait_out(rounds: u64) -> Result<Vec<Claim>, Box<dyn Error>> {
    let turns: [(_, Turn<Recovery>); 3] = [
        (Ours::NAME, Box::new(|_| outage::<Ours>())),
        (Bb8::NAME, Box::new(|_| outage::<Bb8>())),
        (Deadpool::NAME, Box::new(|_| outage::<Deadpool>())),
    ];
    let outages = Rounds::play(OUTAGE, rounds, &turns);
    print_outages(&outages);
    write(OUTAGE, &outages)?;
    Ok(outage_claims(&outages))
}

fn print_storms(name: &str, storms: &Rounds<Storm>) {
    println!("| {name} | acquires | served: median | from | to | connections created | most at once | whole |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --- |");
    for (name, all) in &storms.0 {
        let [least, median, most] = storms.spread(name, |storm| count(storm.served)).map(number);
        let [_, _, created] = storms.spread(name, |storm| count(storm.created)).map(number);
        let [_, _, peak] = storms.spread(name, |storm| count(storm.peak)).map(number);
        let whole = if all.iter().all(|storm| storm.whole) { "yes" } else { "no" };
        let acquires = number(count(all[0].acquires));
        println!("| {name} | {acquires} | {median} | {least} | {most} | {created} | {peak} | {whole} |");
    }
    println!();
}

fn print_outages(outages: &Rounds<Recovery>) {
    println!("| outage | served of {TASKS} | s after it: median | from | to | attempts refused: median |");
    println!("| --- | --: | --: | --: | --: | --: |");
    for name in outages.0.keys() {
        let [served, _, _] = outages.spread(name, |one| count(one.served)).map(number);
        let [least, median, most] = outages.spread(name, |one| one.seconds).map(|seconds| format!("{seconds:.3}"));
        let [_, refused, _] = outages.spread(name, |one| count(one.refused)).map(number);
        println!("| {name} | {served} | {median} | {least} | {most} | {refused} |");
    }
    println!();
}

fn storm_claims(name: &str, storms: &Rounds<Storm>) -> Vec<Claim> {
    let served = |all: &[Storm]| all.iter().map(|storm| storm.served).sum::<usize>();
    let (ours, bb8) = (storms.of::<Ours>(), storms.of::<Bb8>());
    let created = ours.iter().map(|storm| storm.created).max().unwrap_or(0);
    let failed = ours.iter().filter(|storm| storm.is_above_the_maximum() || !storm.whole).count();
    vec![
        at_least(1.0, &format!("{name}, served by bb8's"), count(served(ours)) / count(served(bb8))),
        at_most(count(CONNECTIONS), &format!("{name}, connections created"), count(created)),
        at_most(0.0, &format!("{name}, rounds with too many connections or too few afterwards"), count(failed)),
        reported(
            &format!("{name}, served by deadpool's"),
            count(served(ours)) / count(served(storms.of::<Deadpool>())),
        ),
    ]
}

fn outage_claims(outages: &Rounds<Recovery>) -> Vec<Claim> {
    let slowest = |all: &[Recovery]| all.iter().map(|one| one.seconds).fold(0.0, f64::max);
    let ours = outages.of::<Ours>();
    let served = ours.iter().map(|one| one.served).min().unwrap_or(0);
    vec![
        at_least(count(TASKS), "outage, served of those who have waited", count(served)),
        at_most(SOON, "outage, seconds after it until the last one is served", slowest(ours)),
        reported("outage, seconds with bb8", slowest(outages.of::<Bb8>())),
    ]
}

/// As `{pool: [round]}`.
fn write<T: Serialize>(name: &str, rounds: &Rounds<T>) -> Result<(), Box<dyn Error>> {
    fs::write(report_folder()?.join(format!("storm_{name}.json")), serde_json::to_string_pretty(rounds)?)?;
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
fn count(number: usize) -> f64 {
    number as f64
}
