//! What is wrong with a configuration.

/// A configuration that cannot be used. Never contains a password or a whole connection string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresConfigError {
    /// A value that is not allowed.
    #[error("{field} = {value:?} is not allowed; allowed: {allowed}")]
    Value {
        /// The keyword or field.
        field: &'static str,
        /// The value it had.
        value: String,
        /// The values it may have.
        allowed: &'static str,
    },
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
        // By the names that the user wrote.
        let (field, allowed) = match error.field {
            "max_size" => ("max_conns", error.allowed),
            "min_size" => ("min_conns", "0 to max_conns"),
            "max_lifetime" => ("max_conn_lifetime", error.allowed),
            "idle_timeout" => ("max_conn_idle_time", error.allowed),
            "health_check_interval" => ("health_check_period", error.allowed),
            other => (other, error.allowed),
        };
        Self::Value { field, value: error.value, allowed }
    }
}
