//! How a pool is looked at.

use std::fmt;
use std::time::Duration;

use crate::error::{ConfigError, RefusedSetting};

/// How a pool is looked at, for [`Pool::observe`](crate::Pool::observe).
///
/// # Example
///
/// ```
/// let mut config = pool_core::ObserveConfig::default();
/// config.name = "alerts".to_owned();
/// config.validate()?;
/// # Ok::<_, pool_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObserveConfig {
    /// What the pool is called, in all that is exported: unique among the pools of a service. Up to 100 letters, digits and characters of `_.:/-`; default `pool`.
    pub name: String,
    /// From one sample to the next. From 100 ms to 1 h; default 10 s.
    pub interval: Duration,
    /// How many samples are kept. From 1 to 10,000; default 360, an hour.
    pub history: usize,
    /// More percent than this of the connections that callers may have, in use at a sample, are worth a warning in the log; it is repeated once a minute at most. A shared connection that takes more users counts by the part of its places that are taken. From 1 to 100, which never warns; default 80.
    pub utilisation: u8,
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self { name: "pool".to_owned(), interval: Duration::from_secs(10), history: 360, utilisation: 80 }
    }
}

impl ObserveConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::ObserveConfig::default();
    /// config.history = 0;
    /// assert_eq!(config.validate().unwrap_err().to_string(), "history = 0 is not allowed; allowed: 1 to 10000");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut refused = Vec::new();
        let mut check = |holds: bool, field, value: &dyn fmt::Debug, allowed| {
            if !holds {
                refused.push(RefusedSetting { field, value: format!("{value:?}"), allowed });
            }
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
        let is_name = (1..=100).contains(&self.name.len()) && self.name.chars().all(fits);
        check(is_name, "name", &self.name, "1 to 100 letters, digits and characters of _.:/-");
        let intervals = Duration::from_millis(100)..=Duration::from_hours(1);
        check(intervals.contains(&self.interval), "interval", &self.interval, "100 ms to 1 h");
        check((1..=10_000).contains(&self.history), "history", &self.history, "1 to 10000");
        check((1..=100).contains(&self.utilisation), "utilisation", &self.utilisation, "1 to 100");
        if refused.is_empty() { Ok(()) } else { Err(ConfigError { refused }) }
    }
}
