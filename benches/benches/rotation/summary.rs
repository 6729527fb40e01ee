//! The table, the file, and the verdicts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use super::figures::{Figures, float};
use super::load::{LOADS, Load};
use super::pools::{CONNECTIONS, LIFETIME};
use super::rounds::{Outcome, measure};
use crate::args::Args;
use crate::claim::{Claim, at_least, at_most, print_verdicts, reported};
use crate::folder::report_folder;
use crate::number::number;

/// How much longer the slowest acquire of a thousand may take.
const MOST: f64 = 1.5;
/// A connection is replaced when two thirds of its life are over, which chance makes shorter by up to a tenth, at the earliest; at the latest when all of it is
/// over and somebody has looked. So it is replaced so often in a lifetime.
const LIVES: (f64, f64) = (0.9, 1.8);

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let wanted = LOADS.into_iter().filter(|load| args.wants("only", load.name));
    let outcomes: Vec<_> = wanted.map(|load| (load, measure(load, args))).collect();
    println!(
        "| load | tasks | connections live | acquires | p50 µs | p99 µs | p99.9 µs | max µs | replaced | oldest ms |"
    );
    println!("| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: |");
    for (load, Outcome { rotating, lasting }) in &outcomes {
        println!("{}\n{}", row(*load, "for a second", rotating), row(*load, "on", lasting));
    }
    println!();
    write(&outcomes)?;
    let claims: Vec<_> = outcomes.iter().flat_map(|(load, outcome)| claims(load.name, outcome)).collect();
    let all_hold = print_verdicts(&claims);
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn row(load: Load, life: &str, figures: &Figures) -> String {
    let Figures { acquires, p50_us, p99_us, p999_us, max_us, rotated, oldest_ms, .. } = *figures;
    let cells = [float(acquires), p50_us, p99_us, p999_us, max_us].map(number).join(" | ");
    let closed = if rotated > 0 { oldest_ms.to_string() } else { "-".to_owned() };
    format!("| {} | {} | {life} | {cells} | {rotated} | {closed} |", load.name, load.tasks)
}

fn claims(load: &str, outcome: &Outcome) -> Vec<Claim> {
    let Outcome { rotating, lasting } = outcome;
    let lives = rotating.rotated_per_s * LIFETIME.as_secs_f64() / float(CONNECTIONS as u64);
    let (least, most) = LIVES;
    let replaced = format!("{load}, replacements of each connection in a lifetime");
    vec![
        at_most(MOST, &format!("{load}, p99.9 over that without rotation"), rotating.p999_us / lasting.p999_us),
        reported(&format!("{load}, longest wait over that without rotation"), rotating.max_us / lasting.max_us),
        at_most(0.0, &format!("{load}, acquires that failed"), float(rotating.failed + lasting.failed)),
        at_least(least, &replaced, lives),
        at_most(most, &replaced, lives),
    ]
}

/// As `{load: {pool: {figure: value}}}`.
fn write(outcomes: &[(Load, Outcome)]) -> Result<(), Box<dyn Error>> {
    let pools = |outcome: &Outcome| BTreeMap::from([("rotating", outcome.rotating), ("lasting", outcome.lasting)]);
    let figures: BTreeMap<_, _> = outcomes.iter().map(|(load, outcome)| (load.name, pools(outcome))).collect();
    let folder = report_folder()?;
    fs::write(folder.join("rotation.json"), serde_json::to_string_pretty(&figures)?)?;
    println!("Figures are in {}.\n", folder.display());
    Ok(())
}
