//! Why there is no server.

use std::fmt;
use std::sync::Arc;

/// Why a server could not be found, started or used.
#[derive(Clone)]
#[non_exhaustive]
pub enum EphemeralError {
    /// There is no such program and none could be provisioned.
    NotFound {
        /// What was looked for, such as `PostgreSQL 18`.
        what: String,
        /// Every place that was looked at, and why it did not do.
        looked_at: Vec<String>,
        /// The command that installs it on this system.
        install: String,
        /// How to say where it is.
        name: &'static str,
    },
    /// A setting in the environment cannot be used.
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A step failed.
    Step {
        /// What was being done.
        step: String,
        /// Why it failed.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl EphemeralError {
    pub(crate) fn step(step: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Step { step: step.into(), cause: Arc::from(cause.into()) }
    }
}

impl fmt::Display for EphemeralError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { what, looked_at, install, name } => {
                writeln!(f, "no {what} was found, and these tests need a real one.")?;
                for place in looked_at {
                    writeln!(f, "  - {place}")?;
                }
                write!(f, "install it with `{install}`, or {name}")
            }
            Self::Environment { variable, problem } => write!(f, "{variable}: {problem}"),
            Self::Step { step, cause } => write!(f, "{step}: {cause}"),
        }
    }
}

/// The same text, because tests unwrap and this is what they print.
impl fmt::Debug for EphemeralError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for EphemeralError {}

/// Names the step that an operation belongs to.
pub(crate) trait During<T> {
    /// Turns an error into one that says what was being done.
    fn during(self, step: impl FnOnce() -> String) -> Result<T, EphemeralError>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> During<T> for Result<T, E> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T, EphemeralError> {
        self.map_err(|error| EphemeralError::step(step(), error))
    }
}
