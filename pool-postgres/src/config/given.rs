//! What was given, keyword by keyword, before anything is made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::{PostgresConfigError, Problems};
use super::{field, keyword, nearest, suspect};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The connection string, or a value that a program has set.
    Given,
    /// A line of a service file.
    Service {
        /// The file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => Ok(()),
            Self::Service { file, line } => write!(f, " (line {line} of {})", file.display()),
            Self::Variable(name) => write!(f, " (from {name})"),
        }
    }
}

/// A value, and where it comes from. It may be a password.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: Zeroizing<String>,
    pub(super) origin: Origin,
}

/// Values by keyword, and what is wrong so far. Not shown by `Debug` of anything: passwords are among them.
#[derive(Clone, Default)]
pub(super) struct Given {
    values: BTreeMap<&'static str, Value>,
    pub(super) problems: Problems,
    /// Whether something could not be read, so that nobody knows what else was meant to be set.
    is_cut: bool,
}

impl Given {
    /// Something could not be read.
    pub(super) fn cut(&mut self, problem: PostgresConfigError) {
        self.problems.add(problem);
        self.is_cut = true;
    }

    /// Whether all that was given is there, but for keywords that nobody knows.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_cut
    }

    /// Sets a keyword; the last value counts.
    pub(super) fn set(&mut self, keyword: &str, text: impl Into<Zeroizing<String>>) -> Result<(), PostgresConfigError> {
        let (keyword, text) = translated(keyword, text.into());
        let known = known(keyword).ok_or_else(|| unknown(keyword))?;
        self.values.insert(known, Value { text, origin: Origin::Given });
        Ok(())
    }

    /// Sets a keyword that has no value yet.
    pub(super) fn add(&mut self, keyword: &'static str, text: String, origin: Origin) {
        let text = Zeroizing::new(text);
        self.values.entry(keyword).or_insert(Value { text, origin });
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.values.contains_key(keyword)
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(|value| value.text.as_str())
    }

    /// Where a value comes from.
    pub(super) fn origin(&self, keyword: &str) -> Origin {
        self.values.get(keyword).map_or(Origin::Given, |value| value.origin.clone())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(keyword, value)| (*keyword, value))
    }
}

/// The keyword, if there is one of that name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    all().find(|known| *known == name)
}

/// Whether it can be set, by whatever name.
pub(super) fn is_known(name: &str) -> bool {
    known(name).is_some() || name == REQUIRES_SSL
}

/// All keywords: libpq's, and the pool's.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    keyword::KEYWORDS.iter().map(|keyword| keyword.name).chain(field::pool_keywords())
}

/// libpq still knows this one of old.
const REQUIRES_SSL: &str = "requiressl";

fn translated(keyword: &str, text: Zeroizing<String>) -> (&str, Zeroizing<String>) {
    match keyword {
        REQUIRES_SSL => ("sslmode", if text.starts_with('1') { "require" } else { "prefer" }.to_owned().into()),
        other => (other, text),
    }
}

pub(super) fn unknown(keyword: &str) -> PostgresConfigError {
    let shown = if suspect::is_plain(keyword) { keyword } else { suspect::HIDDEN };
    PostgresConfigError::Unknown { keyword: shown.to_owned(), nearest: nearest::to(keyword, all()) }
}
