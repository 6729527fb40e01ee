//! The tables, and the file.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use super::contenders::NAMES;
use super::figures::{Figures, Seen};
use super::musts::{musts, print};
use super::rounds::measure;
use super::workload::WORKLOADS;
use crate::args::{Args, Choice};
use crate::folder::report_folder;
use crate::number::number;

/// What an option picks.
pub(crate) fn choices() -> [Choice; 3] {
    let workloads = WORKLOADS.iter().map(|workload| workload.name).collect();
    [("only", workloads), ("contender", NAMES.to_vec()), ("without-sqlx", Vec::new())]
}

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and something is not what it must be.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let seen = measure(args)?;
    println!(
        "| workload | contender | queries/s | p50 µs | p99 µs | p99.9 µs | processor µs |\n| --- | --- | --: | --: | --: | --: | --: |"
    );
    for it in &seen {
        let Figures { queries_per_s, p50_us, p99_us, p999_us } = it.figures();
        let [rate, p50, p99, p999, processor] = [queries_per_s, p50_us, p99_us, p999_us, it.processor()].map(number);
        println!("| {} | {} | {rate} | {p50} | {p99} | {p999} | {processor} |", it.workload, it.contender);
    }
    let file = report_folder()?.join("postgres.json");
    fs::write(&file, serde_json::to_string_pretty(&by_workload(&seen))?)?;
    println!("\nFigures are in {}.\n", file.display());
    let all_met = print(&musts(&seen));
    Ok(if args.check && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn by_workload(seen: &[Seen]) -> BTreeMap<&str, BTreeMap<&str, Figures>> {
    let mut all = BTreeMap::<_, BTreeMap<_, _>>::new();
    for it in seen {
        all.entry(it.workload).or_default().insert(it.contender, it.figures());
    }
    all
}
