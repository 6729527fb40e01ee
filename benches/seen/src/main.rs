//! What it costs to be seen: the work of `cargo bench -p pool-benches --bench seen`, in a program that is built with and without.
//!
//! `seen LOAD MILLISECONDS` prints one number.

mod loads;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let Some(outcome) = run(&words) else {
        eprintln!("usage: seen claims|waits|full|scraped|busy|busy-scraped MILLISECONDS");
        return ExitCode::FAILURE;
    };
    println!("{outcome}");
    ExitCode::SUCCESS
}

fn run(words: &[&str]) -> Option<f64> {
    let &[load, millis] = words else { return None };
    let time = Duration::from_millis(millis.parse().ok()?);
    Some(match load {
        "claims" => loads::claims(time),
        "waits" => loads::waits(time),
        "full" => loads::full(time, loads::Hold::AMillisecond, false),
        "scraped" => loads::full(time, loads::Hold::AMillisecond, true),
        "busy" => loads::full(time, loads::Hold::ATurn, false),
        "busy-scraped" => loads::full(time, loads::Hold::ATurn, true),
        _ => return None,
    })
}
