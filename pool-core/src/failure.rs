//! Why a connection could not be opened.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::attempt::Progress;
use crate::brief::Brief;
use crate::driver::ErrorClass;
use crate::hooks::HookFailure;

/// Why an attempt to open a connection failed. Its message has everything below it, on one line, and [`source`](StdError::source) leads to the same, for programs.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenFailure {
    /// The driver reported an error.
    Driver {
        /// What the driver said the error means.
        class: ErrorClass,
        /// The driver's error; downcast it to [`Driver::Error`](crate::Driver::Error) for its details.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A [hook](crate::Hooks) around it has not done what it was called for.
    Hook(HookFailure),
    /// `connect` took longer than the connect timeout.
    TimedOut {
        /// The connect timeout in force.
        after: Duration,
        /// How far it had come.
        progress: Progress,
    },
    /// `connect` panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The runtime that the attempt ran on ended.
    Abandoned,
}

impl OpenFailure {
    /// What the failure says about the next attempt. Only a driver can call a failure permanent.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Driver { class, .. } => *class,
            _ => ErrorClass::Transient,
        }
    }
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver { source, .. } => write!(f, "connect failed: {}", Chain(source.as_ref())),
            Self::Hook(failure) => write!(f, "{failure}"),
            Self::TimedOut { after, progress } => write!(f, "connect took longer than {} ({progress})", Brief(*after)),
            Self::Panicked { message } => write!(f, "connect panicked: {}", OneLine(message)),
            Self::Abandoned => f.write_str("the runtime that connected ended"),
        }
    }
}

impl OpenFailure {
    /// For who has no time: what is at the bottom of it comes first, and then what was tried, such as `Connection refused (connect to db:5432)`.
    pub(crate) fn cause_first(&self) -> String {
        let Self::Driver { source, .. } = self else { return self.to_string() };
        let whole = Chain(source.as_ref()).to_string();
        let below = std::iter::successors(source.source(), |&error| error.source()).last();
        let split = below.map(|cause| OneLine(cause).to_string()).and_then(|cause| {
            let tried = whole.strip_suffix(&cause)?.trim_end_matches([':', ' ']);
            (!tried.is_empty() && !cause.is_empty()).then(|| format!("{cause} ({tried})"))
        });
        split.unwrap_or_else(|| self.to_string())
    }
}

impl StdError for OpenFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Driver { source, .. } => Some(source.as_ref()),
            Self::Hook(failure) => Some(failure),
            _ => None,
        }
    }
}

/// An error with everything below it, on one line. What an error says of the one below it already is not said again.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = OneLine(self.0).to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = OneLine(cause).to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

/// Words of others, whose lines become one.
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let lines = text.split(char::is_control).map(str::trim).filter(|line| !line.is_empty());
        lines.enumerate().try_for_each(|(place, line)| {
            let between = if place == 0 { "" } else { " " };
            write!(f, "{between}{line}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    fn failure(texts: &[&'static str]) -> OpenFailure {
        let told = texts.iter().rev().fold(None, |source, text| Some(Box::new(Told { text, source })));
        OpenFailure::Driver { class: ErrorClass::Transient, source: told.expect("one at least") }
    }

    #[test]
    fn a_chain_is_told_once_whether_its_errors_tell_it_or_not() {
        let text = |texts: &[&'static str]| failure(texts).to_string();
        assert_eq!(text(&["a", "b", "c"]), "connect failed: a: b: c");
        assert_eq!(text(&["a: b: c", "b: c", "c"]), "connect failed: a: b: c");
        assert_eq!(text(&["a", "b: c", "c"]), "connect failed: a: b: c");
    }

    #[test]
    fn the_cause_comes_first_for_who_has_no_time() {
        let text = |texts: &[&'static str]| failure(texts).cause_first();
        assert_eq!(
            text(&["could not connect to db:5432 (10.0.0.7:5432): refused", "refused"]),
            "refused (could not connect to db:5432 (10.0.0.7:5432))"
        );
        assert_eq!(text(&["a", "b", "c"]), "c (a: b)");
        assert_eq!(text(&["a: c: b", "c"]), "connect failed: a: c: b", "it is in between");
        assert_eq!(text(&["a"]), "connect failed: a");
    }

    #[test]
    fn whatever_others_say_is_one_line() {
        assert_eq!(failure(&["a\nb", "c\r\n  d\t\u{1b}"]).to_string(), "connect failed: a b: c d");
        let panicked = OpenFailure::Panicked { message: "left\n  right".to_owned() };
        assert_eq!(panicked.to_string(), "connect panicked: left right");
    }

    #[test]
    fn programs_find_the_errors_below_it() {
        let failure = failure(&["a: b", "b"]);
        let first = failure.source().and_then(|error| error.downcast_ref::<Told>()).expect("the driver's error");
        assert_eq!(first.source().map(ToString::to_string).as_deref(), Some("b"));
    }
}
