//! sqlx's pool, for the benchmarks of this project: `comparison` asks it for one defect after the other, `select` and `postgres` have it take turns.
//!
//! What is asked of a defect is answered by one line, which says what was seen, and by the exit code: 0 if the defect does not show, 1 if it does, 2 if it could
//! not be tried.

use std::env;
use std::future::ready;
use std::process::ExitCode;

use tokio::runtime::Builder;

mod ask;
mod connects;
mod seen;
mod sessions;
mod turns;

use seen::{Trial, Tried};

const USAGE: &str = "\
Tries a defect on sqlx's pool, or has the pool ask one prepared statement as often or for as long as standard input says.
  sqlx-peer URL DEFECT
  sqlx-peer URL ask CONNECTIONS   reads lines `CALLERS TIMES`, and answers each by one of JSON
  sqlx-peer URL turns CONNECTIONS reads lines `CALLERS WARM_UP COUNTED SLOW`, both times in milliseconds, one of SLOW queries slow or none if that is 0; likewise";

/// All that can be tried, by name.
const DEFECTS: [(&str, Trial); 12] = [
    ("transaction", |url| Box::pin(sessions::transaction(url))),
    ("begin", |url| Box::pin(sessions::begin(url))),
    ("query", |url| Box::pin(sessions::query(url))),
    ("setting", |url| Box::pin(sessions::setting(url))),
    ("attributes", |url| Box::pin(sessions::attributes(url))),
    ("refused", |url| Box::pin(connects::refused(url))),
    ("role", |url| Box::pin(connects::role(url))),
    ("limit", |url| Box::pin(connects::limit(url))),
    ("impatient", |url| Box::pin(connects::impatient(url))),
    ("churn", |url| Box::pin(connects::churn(url))),
    ("panic", |url| Box::pin(connects::panic(url))),
    ("secret", |_| Box::pin(ready(connects::secret()))),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [url, "ask", connections] => told(ask::answer(url, connections).map(|()| ExitCode::SUCCESS)),
        [url, "turns", connections] => told(turns::take(url, connections).map(|()| ExitCode::SUCCESS)),
        [url, defect] => told(tried(url, defect)),
        _ => told(Err(USAGE.into())),
    }
}

fn tried(url: &str, defect: &str) -> Tried<ExitCode> {
    let Some((_, trial)) = DEFECTS.iter().find(|(name, _)| *name == defect) else {
        let names: Vec<_> = DEFECTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no such defect: {defect}; allowed: {}", names.join(", ")).into());
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = runtime.block_on(trial(url.to_owned()))?;
    println!("{}", seen.said);
    Ok(ExitCode::from(u8::from(seen.shows)))
}

fn told(outcome: Tried<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
