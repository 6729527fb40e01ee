//! The command line.

use lexopt::prelude::*;

use super::workload::WORKLOADS;

const USAGE: &str = "\
Measures the pool beside its peers, prints a table, and writes plots and figures to target/report/.
  cargo bench -p pool-benches --bench report -- [OPTIONS]
    --rounds N       how often all take turns (default 19, quick 3)
    --quick          short turns: for a look, not for a judgement
    --only WORKLOAD  this one alone
    --check          fail if a claim of docs/performance.md does not hold";

/// What to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    rounds: Option<usize>,
    pub(crate) quick: bool,
    pub(crate) check: bool,
    pub(crate) only: Option<String>,
    nothing: bool,
}

impl Args {
    /// What the command line says; `None` if that is to do nothing.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let (mut args, mut parser) = (Self::default(), lexopt::Parser::from_env());
        while let Some(argument) = parser.next()? {
            let Long(name) = argument else { return Err(argument.unexpected()) };
            let name = name.to_owned();
            args.option(&name, &mut parser)?;
        }
        Ok((!args.nothing).then_some(args))
    }

    /// How often all take turns.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 19 })
    }

    fn option(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        match name {
            "rounds" => self.rounds = Some(parser.value()?.parse_with(positive)?),
            "only" => self.only = Some(parser.value()?.parse_with(workload)?),
            switch => self.switch(switch)?,
        }
        Ok(())
    }

    fn switch(&mut self, name: &str) -> Result<(), lexopt::Error> {
        match name {
            "quick" => self.quick = true,
            "check" => self.check = true,
            // Cargo's own, in every run.
            "bench" => {}
            "no-run" => self.nothing = true,
            "help" => {
                println!("{USAGE}");
                self.nothing = true;
            }
            other => return Err(lexopt::Error::UnexpectedOption(format!("--{other}"))),
        }
        Ok(())
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "allowed: 1 and more".to_owned())
}

fn workload(text: &str) -> Result<String, String> {
    let names = WORKLOADS.map(|(name, _)| name);
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("allowed: {}", names.join(", "))) }
}
