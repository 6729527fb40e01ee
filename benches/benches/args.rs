//! The command line of a benchmark that ends with a table.

use lexopt::prelude::*;

/// An option that picks some of what can be measured, with the names that it allows.
pub(crate) type Choice = (&'static str, Vec<&'static str>);

/// What to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    rounds: Option<usize>,
    pub(crate) quick: bool,
    pub(crate) check: bool,
    /// By option.
    picked: Vec<(&'static str, String)>,
    usage: &'static str,
    nothing: bool,
}

impl Args {
    /// What the command line says; `None` if that is to do nothing.
    pub(crate) fn parse(usage: &'static str, choices: &[Choice]) -> Result<Option<Self>, lexopt::Error> {
        let (mut args, mut parser) = (Self { usage, ..Self::default() }, lexopt::Parser::from_env());
        while let Some(argument) = parser.next()? {
            let Long(name) = argument else { return Err(argument.unexpected()) };
            let name = name.to_owned();
            args.option(&name, choices, &mut parser)?;
        }
        Ok((!args.nothing).then_some(args))
    }

    /// How often all take turns, unless the command line says so.
    pub(crate) fn rounds(&self, otherwise: usize) -> usize {
        self.rounds.unwrap_or(otherwise)
    }

    /// Whether this is to be measured: if the option does not pick others.
    pub(crate) fn wants(&self, option: &str, name: &str) -> bool {
        let mut picked = self.picked.iter().filter(|(by, _)| *by == option).peekable();
        picked.peek().is_none() || picked.any(|(_, picked)| picked == name)
    }

    fn option(&mut self, name: &str, choices: &[Choice], parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        if let Some((option, allowed)) = choices.iter().find(|(option, _)| *option == name) {
            let picked = parser.value()?.parse_with(|text| one_of(allowed, text))?;
            self.picked.push((option, picked));
            return Ok(());
        }
        match name {
            "rounds" => self.rounds = Some(parser.value()?.parse_with(positive)?),
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
                println!("{}", self.usage);
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

fn one_of(allowed: &[&str], text: &str) -> Result<String, String> {
    if allowed.contains(&text) { Ok(text.to_owned()) } else { Err(format!("allowed: {}", allowed.join(", "))) }
}
