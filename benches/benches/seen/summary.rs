//! Turns, and what comes of them.

use std::process::ExitCode;
use std::time::Duration;

use super::programs::Build;
use crate::args::{Args, Choice};

/// Two that take turns, and how far the first may be above the other.
struct Pair {
    name: &'static str,
    what: &'static str,
    /// Build and load of the one that is judged, and of the one that it is judged by.
    of: [(Build, &'static str); 2],
    unit: &'static str,
    /// `None`: it is shown alone.
    limit: Option<f64>,
}

const PAIRS: [Pair; 4] = [
    Pair {
        name: "claims",
        what: "acquire and release, seen / not seen",
        of: [(Build::Seen, "claims"), (Build::Blind, "claims")],
        unit: "ns",
        limit: Some(1.05),
    },
    Pair {
        name: "waits",
        what: "the same of 64 callers on 16 connections",
        of: [(Build::Seen, "waits"), (Build::Blind, "waits")],
        unit: "ns",
        limit: Some(1.05),
    },
    Pair {
        name: "scraped",
        what: "p99 of acquire in a full pool, read 100 times a second / not read",
        of: [(Build::Seen, "scraped"), (Build::Seen, "full")],
        unit: "us",
        limit: Some(1.05),
    },
    Pair {
        name: "busy",
        what: "the same with both processors busy",
        of: [(Build::Seen, "busy-scraped"), (Build::Seen, "busy")],
        unit: "us",
        limit: None,
    },
];

/// What can be measured.
pub(crate) fn choices() -> [Choice; 1] {
    [("only", PAIRS.iter().map(|pair| pair.name).collect())]
}

pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let rounds = args.number("rounds", if args.check { 31 } else { 5 });
    let time = Duration::from_millis(if args.quick { 100 } else { 500 });
    for build in [Build::Seen, Build::Blind] {
        eprintln!("building benches/seen, {build:?}");
        build.build()?;
    }
    println!("| what | first | second | ratio | at most |\n| --- | --- | --- | --- | --- |");
    let mut holds = true;
    for pair in PAIRS.iter().filter(|pair| args.wants("only", pair.name)) {
        holds &= measure(pair, rounds, time)?;
    }
    Ok(if holds || !args.check { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The medians, and that of the ratios of each two turns. Whether it is within its limit.
fn measure(pair: &Pair, rounds: usize, time: Duration) -> Result<bool, String> {
    let (mut figures, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..rounds {
        eprint!("\r{}: round {} of {rounds} ", pair.what, round + 1);
        let mut turn = [0.0; 2];
        // Each begins as often as the other.
        for place in [round % 2, 1 - round % 2] {
            let (build, load) = pair.of[place];
            turn[place] = build.measure(load, time)?;
            figures[place].push(turn[place]);
        }
        ratios.push(turn[0] / turn[1]);
    }
    eprintln!();
    let [first, second] = figures.map(median);
    let ratio = median(ratios);
    let limit = pair.limit.map_or_else(|| "not judged".to_owned(), |limit| format!("{limit:.2}"));
    println!("| {} | {first:.1} {unit} | {second:.1} {unit} | {ratio:.3} | {limit} |", pair.what, unit = pair.unit);
    Ok(pair.limit.is_none_or(|limit| ratio <= limit))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
