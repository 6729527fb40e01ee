//! What is wrong with a configuration.

/// A configuration that cannot be used. Never contains a password or a whole connection string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresConfigError {
    /// A value that is not allowed.
    #[error("{field} = {value:?} is not allowed; allowed: {allowed}")]
    Value {
        /// The keyword.
        field: &'static str,
        /// The value it had.
        value: String,
        /// The values it may have.
        allowed: &'static str,
    },
    /// More than one value that is not allowed.
    #[error("{}", list(.0))]
    Several(Vec<PostgresConfigError>),
    /// A keyword that does not exist.
    #[error("unknown keyword {keyword:?}; allowed: {allowed}")]
    Unknown {
        /// The keyword.
        keyword: String,
        /// All keywords.
        allowed: String,
    },
    /// A connection string that cannot be taken apart.
    #[error("malformed connection string, {part}: {problem}")]
    Malformed {
        /// The part of the string.
        part: &'static str,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A value that is needed and not there.
    #[error("{field} is not set, and the operating system does not tell it")]
    Missing {
        /// The field.
        field: &'static str,
    },
}

impl From<pool_core::ConfigError> for PostgresConfigError {
    fn from(error: pool_core::ConfigError) -> Self {
        let mut refused: Vec<_> = error.refused.into_iter().map(super::pool::refused).collect();
        if refused.len() == 1 { refused.remove(0) } else { Self::Several(refused) }
    }
}

fn list(errors: &[PostgresConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
