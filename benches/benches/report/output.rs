//! Where the results go.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use super::claims::claims;
use super::figures::Results;
use super::latency::clock_overhead;
use super::plots::plot_all;
use super::rounds::measure;
use super::table::table;
use crate::args::Args;
use crate::claim::print_verdicts;
use crate::folder::report_folder;

/// How the names of those workloads begin that are a footnote to another one.
const TABLE_ONLY: [&str; 2] = ["one_by_one", "bursts_of"];

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn report(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let results = measure(args);
    println!("{}", table(&results));
    println!("Two readings of the clock cost {} ns, which is in every latency and in no ns/op.\n", clock_overhead());
    write(&results)?;
    let all_hold = print_verdicts(&claims(&results));
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write(results: &Results) -> Result<(), Box<dyn Error>> {
    let folder = report_folder()?;
    fs::write(
        folder.join("engine.json"),
        results.to_json(|workload| !TABLE_ONLY.iter().any(|name| workload.starts_with(name)))?,
    )?;
    plot_all(results, &folder)?;
    println!("Figures and plots are in {}.\n", folder.display());
    Ok(())
}
