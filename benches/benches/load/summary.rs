//! The table, the file, and the verdicts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use pool_testkit::postgres::EphemeralPostgres;
use tokio::runtime::Builder;

use super::figures::Figures;
use super::phase::{PHASES, Phase};
use crate::args::Args;
use crate::claim::{Claim, at_least, at_most, print_verdicts, reported};
use crate::folder::report_folder;
use crate::number::number;

/// Of a hundred operations that were not dropped by their callers, with faults in one of a hundred.
const SUCCEEDED: f64 = 99.5;
/// Of the connections, in percent.
const USED: f64 = 80.0;
/// In MiB: of the whole process, which is the callers, the pool and the proxy.
const RESIDENT: f64 = 32.0;
/// In MiB, from when the first tenth of a phase was over.
const GROWTH: f64 = 16.0;

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let phases: Vec<_> = PHASES.into_iter().filter(|phase| args.wants("only", phase.name)).collect();
    let seconds = args.number("seconds", ordinary_seconds(args)) as u64;
    let length = Duration::from_secs(seconds) / u32::try_from(phases.len())?;
    let server = EphemeralPostgres::start()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let play = |phase: Phase| (phase, runtime.block_on(phase.play(&server, length)));
    let played: Vec<_> = phases.into_iter().map(play).collect();
    print(&played);
    write(&played)?;
    let claims: Vec<_> = played.iter().flat_map(|(phase, figures)| claims(phase.name, figures)).collect();
    let all_hold = print_verdicts(&claims);
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ordinary_seconds(args: &Args) -> usize {
    match (args.quick, args.check) {
        (true, _) => 2,
        (false, false) => 10,
        (false, true) => 60,
    }
}

fn print(played: &[(Phase, Figures)]) {
    println!("| load | tasks | operations | succeeded % | in use % | p50 ms | p99 ms | p99.9 ms | max ms | opened |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for (phase, figures) in played {
        let Figures { operations, succeeded_percent, utilisation_percent, opened, .. } = figures;
        let times = [figures.p50_ms, figures.p99_ms, figures.p999_ms, figures.max_ms].map(number).join(" | ");
        println!(
            "| {} | {} | {operations} | {succeeded_percent:.3} | {utilisation_percent:.1} | {times} | {opened} |",
            phase.name,
            phase.tasks()
        );
    }
    println!();
    for (phase, figures) in played {
        let Figures { not_done, unknown, dropped, struck_by_the_network, done_after_all, unclean, .. } = figures;
        println!(
            "{}: {not_done} not done, {unknown} of unknown outcome, {dropped} dropped by their callers; of the last two {done_after_all} were done",
            phase.name
        );
        println!("{}: {struck_by_the_network} connections struck by the network", phase.name);
        println!("{}: retries {:?}, given up {:?}", phase.name, figures.retries, figures.given_up);
        println!("{}: not as it should be at the end: {unclean:?}", phase.name);
    }
    println!();
}

fn claims(phase: &str, figures: &Figures) -> Vec<Claim> {
    let count = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    let what = |what: &str| format!("{phase}, {what}");
    let lost = usize::try_from(figures.without_an_end).unwrap_or(usize::MAX);
    vec![
        at_least(SUCCEEDED, &what("% of operations that succeeded"), figures.succeeded_percent),
        at_least(0.9, &what("% of operations with a fault of their own"), figures.faulty_percent),
        at_most(0.0, &what("operations done twice, lost, denied or of nobody"), count(figures.wrong_in_the_books)),
        at_most(0.0, &what("operations without an end, or counted otherwise"), count(lost)),
        at_least(USED, &what("% of connections in use"), figures.utilisation_percent),
        at_most(RESIDENT, &what("MiB resident at most"), figures.resident_mib),
        at_most(GROWTH, &what("MiB more than early"), figures.resident_growth_mib),
        at_most(0.0, &what("things not as they should be at the end"), count(figures.unclean.len())),
        reported(&what("99th percentile of waits for a connection, ms"), figures.wait_p99_ms),
    ]
}

/// As `{phase: {figure: value}}`.
fn write(played: &[(Phase, Figures)]) -> Result<(), Box<dyn Error>> {
    let figures: BTreeMap<_, _> = played.iter().map(|(phase, figures)| (phase.name, figures)).collect();
    let folder = report_folder()?;
    fs::write(folder.join("load.json"), serde_json::to_string_pretty(&figures)?)?;
    println!("Figures are in {}.\n", folder.display());
    Ok(())
}
