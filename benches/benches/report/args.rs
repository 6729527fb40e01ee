//! The command line.

use lexopt::prelude::*;

use super::workload::WORKLOADS;

const USAGE: &str = "\
Measures the pool beside its peers, prints a table, and writes plots and figures to target/report/.
  cargo bench -p pool-benches --bench report -- [OPTIONS]
    --rounds N       how often all take turns (default 11, quick 3)
    --quick          short turns: for a look, not for a judgement
    --only WORKLOAD  this one alone
    --check          fail if a claim of docs/performance.md does not hold";

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) check: bool,
    pub(crate) only: Option<String>,
}

impl Args {
    /// What the command line says; `None` if that is to do nothing.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut args = Self { rounds: 0, quick: false, check: false, only: None };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => args.rounds = parser.value()?.parse_with(positive)?,
                Long("only") => args.only = Some(parser.value()?.parse_with(workload)?),
                Long("quick") => args.quick = true,
                Long("check") => args.check = true,
                // Cargo's own, in every run.
                Long("bench") => {}
                Long("no-run") => return Ok(None),
                Long("help") | Short('h') => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                other => return Err(other.unexpected()),
            }
        }
        if args.rounds == 0 {
            args.rounds = if args.quick { 3 } else { 11 };
        }
        Ok(Some(args))
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "allowed: 1 and more".to_owned())
}

fn workload(text: &str) -> Result<String, String> {
    let names = WORKLOADS.map(|(name, _)| name);
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("allowed: {}", names.join(", "))) }
}
