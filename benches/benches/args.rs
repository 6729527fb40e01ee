//! The command line of a benchmark that ends with a table.

use lexopt::prelude::*;

/// An option that picks some of what can be measured, with the names that it allows; none for one that has no value.
pub(crate) type Choice = (&'static str, Vec<&'static str>);

/// What to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    pub(crate) quick: bool,
    pub(crate) check: bool,
    /// By option.
    numbers: Vec<(&'static str, usize)>,
    picked: Vec<(&'static str, String)>,
    usage: &'static str,
    nothing: bool,
}

impl Args {
    /// What the command line says, which has options that pick and options with a number; `None` if that is to do nothing.
    pub(crate) fn parse(
        usage: &'static str,
        choices: &[Choice],
        numbers: &[&'static str],
    ) -> Result<Option<Self>, lexopt::Error> {
        let (mut args, mut parser) = (Self { usage, ..Self::default() }, lexopt::Parser::from_env());
        while let Some(argument) = parser.next()? {
            let Long(name) = argument else { return Err(argument.unexpected()) };
            let name = name.to_owned();
            args.option(&name, choices, numbers, &mut parser)?;
        }
        Ok((!args.nothing).then_some(args))
    }

    /// What an option says, unless the command line has another number.
    pub(crate) fn number(&self, option: &str, otherwise: usize) -> usize {
        self.numbers.iter().rev().find(|(name, _)| *name == option).map_or(otherwise, |(_, number)| *number)
    }

    /// Whether this is to be measured: if the option does not pick others.
    pub(crate) fn wants(&self, option: &str, name: &str) -> bool {
        let mut picked = self.picked.iter().filter(|(by, _)| *by == option).peekable();
        picked.peek().is_none() || picked.any(|(_, picked)| picked == name)
    }

    /// Whether the command line has this option.
    #[allow(dead_code)] // not every benchmark has such an option
    pub(crate) fn has(&self, option: &str) -> bool {
        self.picked.iter().any(|(by, _)| *by == option)
    }

    fn option(
        &mut self,
        name: &str,
        choices: &[Choice],
        numbers: &[&'static str],
        parser: &mut lexopt::Parser,
    ) -> Result<(), lexopt::Error> {
        if let Some((option, allowed)) = choices.iter().find(|(option, _)| *option == name) {
            let picked = match &allowed[..] {
                [] => String::new(),
                allowed => parser.value()?.parse_with(|text| one_of(allowed, text))?,
            };
            self.picked.push((option, picked));
        } else if let Some(option) = numbers.iter().find(|option| **option == name) {
            self.numbers.push((option, parser.value()?.parse_with(positive)?));
        } else {
            self.switch(name)?;
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
