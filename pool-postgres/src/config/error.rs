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
        let mut refused: Vec<_> = error.refused.into_iter().map(Self::from).collect();
        if refused.len() == 1 { refused.remove(0) } else { Self::Several(refused) }
    }
}

impl From<pool_core::RefusedSetting> for PostgresConfigError {
    fn from(setting: pool_core::RefusedSetting) -> Self {
        // By the names that the user wrote.
        let (field, allowed) = match setting.field {
            "max_size" => ("max_conns", setting.allowed),
            "min_size" => ("min_conns", "0 to max_conns"),
            "max_lifetime" => ("max_conn_lifetime", setting.allowed),
            "idle_timeout" => ("max_conn_idle_time", setting.allowed),
            "health_check_interval" => ("health_check_period", setting.allowed),
            other => (other, setting.allowed),
        };
        Self::Value { field, value: setting.value, allowed }
    }
}

fn list(errors: &[PostgresConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
