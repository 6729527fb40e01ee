//! What is wrong with a configuration.

use super::given::{Origin, Value};
use super::keyword::SECRETS;
use super::suspect;

/// A configuration that cannot be used. Never contains a password or a whole connection string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresConfigError {
    /// A value that is not allowed.
    #[error("{field} = {}{origin} is not allowed; allowed: {allowed}", Shown(value))]
    Value {
        /// The keyword.
        field: &'static str,
        /// The value it had; in its place that it is not shown, if a password may be in it.
        value: String,
        /// The values it may have.
        allowed: &'static str,
        /// Where the value comes from.
        origin: Origin,
    },
    /// A value that libpq takes, and that can do nothing here.
    #[error("{field} = {}{origin} cannot be used: {why}; allowed: {allowed}", Shown(value))]
    Unsupported {
        /// The keyword.
        field: &'static str,
        /// The value it had; in its place that it is not shown, if a password may be in it.
        value: String,
        /// Why not.
        why: &'static str,
        /// The values it may have.
        allowed: String,
        /// Where the value comes from.
        origin: Origin,
    },
    /// Lists that belong together and are not of the same length.
    #[error("{one} has {count} items and {other} has {others}; as many are allowed, or one port for all")]
    Lists {
        /// The keyword of the one.
        one: &'static str,
        /// How many it has.
        count: usize,
        /// The keyword of the other one.
        other: &'static str,
        /// How many that has.
        others: usize,
    },
    /// Two values that exclude each other.
    #[error("{one} and {other} exclude each other: {why}")]
    Conflict {
        /// The one, as it is written.
        one: String,
        /// The other one.
        other: String,
        /// Why, and what would do.
        why: &'static str,
    },
    /// More than one of these, each of which is none: [`problems`](Self::problems) has them.
    #[error("{}", list(.0))]
    Several(Vec<PostgresConfigError>),
    /// A keyword that does not exist.
    #[error("unknown keyword {}{}", Shown(keyword), Nearest(*.nearest))]
    Unknown {
        /// The keyword; in its place that it is not shown, if a password may be in it.
        keyword: String,
        /// The one that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A connection string that cannot be taken apart.
    #[error("malformed connection string, {part}: {problem}")]
    Malformed {
        /// The part of the string.
        part: &'static str,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A service that cannot be used.
    #[error("the service {}: {problem}", Shown(service))]
    Service {
        /// Its name; in its place that it is not shown, if a password may be in it.
        service: String,
        /// Why not.
        problem: String,
    },
    /// A value that is needed and not there.
    #[error("{field} is not set, and the operating system does not tell it")]
    Missing {
        /// The field.
        field: &'static str,
    },
}

impl PostgresConfigError {
    /// Everything that is wrong, one by one: what is told of a string, of variables and files, or of what a program has set is told at once.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::{PostgresConfig, PostgresConfigError};
    ///
    /// let error = "colour=red sslmode=maybe port=x".parse::<PostgresConfig>().unwrap_err();
    /// assert_eq!(error.problems().len(), 3);
    /// for problem in error.problems() {
    ///     match problem {
    ///         PostgresConfigError::Unknown { keyword, .. } => assert_eq!(keyword, "colour"),
    ///         PostgresConfigError::Value { field, .. } => assert!(["sslmode", "port"].contains(field)),
    ///         other => panic!("{other}"),
    ///     }
    /// }
    /// ```
    pub fn problems(&self) -> &[Self] {
        match self {
            Self::Several(problems) => problems,
            one => std::slice::from_ref(one),
        }
    }

    /// A value that a program or a string has set.
    pub(crate) fn value(field: &'static str, value: impl Into<String>, allowed: &'static str) -> Self {
        Self::Value { field, value: suspect::value_of(field, value.into()), allowed, origin: Origin::Given }
    }

    /// A value of a keyword with which nothing can be done.
    pub(super) fn unsupported(field: &'static str, value: &Value, why: &'static str, allowed: String) -> Self {
        let text = if SECRETS.contains(&field) {
            suspect::HIDDEN.to_owned()
        } else {
            suspect::value_of(field, value.text.to_string())
        };
        Self::Unsupported { field, value: text, why, allowed, origin: value.origin.clone() }
    }

    /// A service.
    pub(super) fn service(service: &str, problem: impl Into<String>) -> Self {
        Self::Service { service: suspect::value(service.to_owned()), problem: problem.into() }
    }

    /// As it is, of a value that comes from somewhere else, for a keyword.
    pub(super) fn of(self, keyword: &'static str, place: &Origin) -> Self {
        match self {
            Self::Value { value, allowed, .. } => Self::Value { field: keyword, value, allowed, origin: place.clone() },
            other => other,
        }
    }
}

impl From<pool_core::ConfigError> for PostgresConfigError {
    fn from(error: pool_core::ConfigError) -> Self {
        let mut problems = Problems::default();
        error.refused.into_iter().map(super::pool::refused).for_each(|problem| problems.add(problem));
        problems.into_error().unwrap_or(Self::Several(Vec::new()))
    }
}

fn list(errors: &[PostgresConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Between quotes, unless it only says that something is not shown.
struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == suspect::HIDDEN { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

struct Nearest(Option<&'static str>);

impl std::fmt::Display for Nearest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; is {nearest:?} meant?"),
            None => f.write_str("; docs/libpq.md has them all"),
        }
    }
}

/// What is wrong so far: all of it is told at once.
#[derive(Clone, Default)]
pub(super) struct Problems(Vec<PostgresConfigError>);

impl Problems {
    pub(super) fn add(&mut self, problem: PostgresConfigError) {
        match problem {
            PostgresConfigError::Several(several) => self.0.extend(several),
            known if self.0.contains(&known) => {}
            one => self.0.push(one),
        }
    }

    /// What there is, unless it is a problem.
    pub(super) fn keep<T>(&mut self, outcome: Result<T, PostgresConfigError>) -> Option<T> {
        outcome.map_err(|problem| self.add(problem)).ok()
    }

    /// All of them as one error, if there are any.
    pub(super) fn into_error(mut self) -> Option<PostgresConfigError> {
        match self.0.len() {
            0 => None,
            1 => self.0.pop(),
            _ => Some(PostgresConfigError::Several(self.0)),
        }
    }
}
