//! Where the results go.

use std::error::Error;
use std::process::ExitCode;
use std::{fs, io};

use super::args::Args;
use super::claims::{Claim, claims};
use super::figures::Results;
use super::latency::clock_overhead;
use super::rounds::measure;
use super::table::table;
use crate::folder::report_folder;

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn report(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let results = measure(args);
    println!("{}", table(&results));
    println!("Two readings of the clock cost {} ns, which is in every latency and in no ns/op.\n", clock_overhead());
    write(&results)?;
    let claims = claims(&results);
    claims.iter().for_each(|claim| println!("{claim}"));
    let broken = claims.iter().filter(|claim| !claim.holds()).count();
    println!("\n{} of {} claims hold in this run.", claims.len() - broken, claims.len());
    Ok(if args.check && !claims.iter().all(Claim::holds) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write(results: &Results) -> Result<(), Box<dyn Error>> {
    let folder = report_folder()?;
    fs::write(folder.join("engine.json"), serde_json::to_string_pretty(results).map_err(io::Error::from)?)?;
    println!("Figures and plots are in {}.\n", folder.display());
    Ok(())
}
