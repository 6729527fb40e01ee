//! The parts, the file, and the verdicts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use tokio::runtime::Builder;

use super::loss::Loss;
use super::part::Part;
use super::{breaker, busy, loss, outage, password};
use crate::args::{Args, Choice};
use crate::claim::print_verdicts;
use crate::folder::report_folder;

const LOSSES: [(&str, Loss); 3] =
    [("killed", Loss::Killed), ("restarted", Loss::Restarted), ("terminated", Loss::Terminated)];
const OTHERS: [&str; 4] = ["breaker", "password", "busy", "outage"];

/// What the command line can pick.
pub(crate) fn choices() -> [Choice; 1] {
    [("only", LOSSES.iter().map(|(name, _)| *name).chain(OTHERS).collect())]
}

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut parts = Vec::new();
    let rounds = args.number("rounds", if args.check && !args.quick { 5 } else { 1 });
    for (name, loss) in LOSSES.into_iter().filter(|(name, _)| args.wants("only", name)) {
        parts.push((name, runtime.block_on(loss::lose(name, loss, rounds, args.quick))));
    }
    for name in OTHERS.into_iter().filter(|name| args.wants("only", name)) {
        parts.push((name, runtime.block_on(other(name, args.quick))));
    }
    write(&parts)?;
    let claims: Vec<_> = parts.into_iter().flat_map(|(_, part)| part.claims).collect();
    let all_hold = print_verdicts(&claims);
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn other(name: &str, quick: bool) -> Part {
    match name {
        "breaker" => breaker::deny(name).await,
        "password" => password::refuse(name).await,
        "busy" => busy::keep_busy(name).await,
        _ => outage::wait_out(name, quick).await,
    }
}

/// As `{part: figures}`.
fn write(parts: &[(&str, Part)]) -> Result<(), Box<dyn Error>> {
    let figures: BTreeMap<_, _> = parts.iter().map(|(name, part)| (name, &part.figures)).collect();
    let folder = report_folder()?;
    fs::write(folder.join("recovery.json"), serde_json::to_string_pretty(&figures)?)?;
    println!("Figures are in {}.\n", folder.display());
    Ok(())
}
