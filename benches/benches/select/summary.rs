//! The table, the file, and the verdicts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use super::rounds::{Seen, measure};
use crate::args::Args;
use crate::claim::{Claim, at_least, at_most, print_verdicts, reported};
use crate::folder::report_folder;
use crate::number::number;

/// Measures, prints and writes. Fails in the sense of the operating system if it is to check, and a claim does not hold.
pub(crate) fn summarize(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let seen = measure(args)?;
    println!("| contender | answers/s | p50 µs | p99 µs | processor µs |\n| --- | --: | --: | --: | --: |");
    for it in &seen {
        let [p50, p99] = percentiles(it).map(number);
        let (rate, processor) = (number(median(&it.rates)), number(processor(it)));
        println!("| {} | {rate} | {p50} | {p99} | {processor} |", it.name);
    }
    println!();
    let figures: BTreeMap<_, _> = seen.iter().map(|it| (it.name, &it.rates)).collect();
    let folder = report_folder()?;
    fs::write(folder.join("select.json"), serde_json::to_string_pretty(&figures)?)?;
    println!("Figures are in {}.\n", folder.display());
    let all_hold = print_verdicts(&claims(&seen));
    Ok(if args.check && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn claims(seen: &[Seen]) -> Vec<Claim> {
    let rates = |name| seen.iter().find(|it| it.name == name).map_or(&[][..], |it| &it.rates[..]);
    let middle =
        |name| seen.iter().find(|it| it.name == name).map_or(f64::NAN, |it| nanos(it.times.value_at_quantile(0.5)));
    let (ours, bare, deadpool) = (rates("pool"), rates("tokio-postgres"), rates("deadpool-postgres"));
    let kept = rates("kept");
    let of = |name| seen.iter().find(|it| it.name == name).map_or(f64::NAN, processor);
    let mut claims = vec![
        at_least(
            0.98,
            "answers a second on kept connections over those of the client alone, by medians: what follows the wire",
            median(kept) / median(bare),
        ),
        at_least(0.97, "answers a second over those of the client alone, by medians", median(ours) / median(bare)),
        at_least(1.0, "answers a second over those of deadpool-postgres, by medians", median(ours) / median(deadpool)),
        at_most(
            1.1,
            "median time of an answer over that of the client alone",
            middle("pool") / middle("tokio-postgres"),
        ),
        reported("the first by the median of the rounds' own ratios", median(&ratios(kept, bare))),
        reported("the second in the same way", median(&ratios(ours, bare))),
        reported("the third in the same way", median(&ratios(ours, deadpool))),
        reported(
            "processor time of this process for an answer over that of the client alone",
            of("pool") / of("tokio-postgres"),
        ),
        reported("over that of deadpool-postgres", of("pool") / of("deadpool-postgres")),
    ];
    if seen.iter().any(|it| it.name == "sqlx") {
        let rate = median(ours) / median(rates("sqlx"));
        claims.push(reported("answers a second over those of sqlx, by medians", rate));
        claims.push(reported("processor time for an answer over that of sqlx", of("pool") / of("sqlx")));
    }
    claims
}

/// p50 and p99 in microseconds: of all answers, or, if those are known by round alone, the medians of the rounds.
fn percentiles(seen: &Seen) -> [f64; 2] {
    let of_round = |which: usize| seen.told.iter().map(|told| told[which]).collect::<Vec<_>>();
    if seen.told.is_empty() {
        [0.5, 0.99].map(|quantile| nanos(seen.times.value_at_quantile(quantile)) / 1e3)
    } else {
        [0, 1].map(|which| median(&of_round(which)))
    }
}

/// Microseconds of the processors for an answer.
fn processor(seen: &Seen) -> f64 {
    let answers = u32::try_from(seen.answers).unwrap_or(u32::MAX).max(1);
    seen.processor.as_secs_f64() * 1e6 / f64::from(answers)
}

fn ratios(ones: &[f64], others: &[f64]) -> Vec<f64> {
    ones.iter().zip(others).map(|(one, other)| one / other).collect()
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Microseconds have that many digits.
#[allow(clippy::cast_precision_loss)]
fn nanos(time: u64) -> f64 {
    time as f64
}
