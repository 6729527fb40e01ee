//! How many connections a pool may have: from how many are in use, how long callers wait, and how long the backend takes.

mod law;
mod measure;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::config::{Config, MAX_BUDGET};
use crate::error::{ConfigError, RefusedSetting};

pub use report::{AdaptReason, AdaptReport};

pub(crate) use law::{Decision, Law, Limits};
pub(crate) use measure::{Figures, Look};

/// The settings of an [`Adapter`](crate::Adapter).
///
/// # Example
///
/// ```
/// let mut config = pool_core::AdaptConfig::default();
/// (config.min_size, config.max_size) = (4, 64);
/// config.validate()?;
/// # Ok::<_, pool_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdaptConfig {
    /// The size that the pool does not shrink below. [`Config::min_size`](crate::Config::min_size) and [`Config::min_idle`](crate::Config::min_idle) hold beside it. From 1 to `max_size`; default 2.
    pub min_size: usize,
    /// The size that the pool does not grow beyond: what the backend can bear of this process. Up to [`Config::MAX_SIZE_LIMIT`](crate::Config::MAX_SIZE_LIMIT); default 50.
    pub max_size: usize,
    /// From one look to the next. In between, where the connections are is read ten times. From 10 ms to 10 years; default 1 s.
    pub interval: Duration,
    /// Callers may wait for so long, on average over all that come, before the pool grows. From 1 ms to 10 years; default 10 ms.
    pub target_wait: Duration,
    /// Connections beyond those that are in use on average, for demand that varies: so many percent of the square root of those. Up to 1,000; default 150, with which about one caller in ten
    /// waits if they come at random.
    pub headroom: u16,
    /// The pool grows when callers have waited in so many looks in a row. At least 1; default 2.
    pub grow_after: u32,
    /// The pool shrinks when nobody has waited in so many looks in a row, and no more than that were in use at any time. At least 1; default 30.
    pub shrink_after: u32,
    /// After growth that was in vain, the pool does not grow for so many looks, and each time that happens in a row for twice as many, up to 32 times. At least 1; default 30.
    pub retry_after: u32,
    /// The backend counts as slow when it takes so many percent more time than it usually does. From 1 to 1,000; default 25.
    pub tolerance: u16,
    /// What is usual is an average over about so long. A backend that is slow for longer is usual then: growth is tried, and taken back if it is in vain. From `interval` to 10 years; default 10 min.
    pub memory: Duration,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        Self {
            min_size: 2,
            max_size: 50,
            interval: Duration::from_secs(1),
            target_wait: Duration::from_millis(10),
            headroom: 150,
            grow_after: 2,
            shrink_after: 30,
            retry_after: 30,
            tolerance: 25,
            memory: Duration::from_mins(10),
        }
    }
}

impl AdaptConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::AdaptConfig::default();
    /// config.min_size = 0;
    /// assert_eq!(config.validate().unwrap_err().to_string(), "min_size = 0 is not allowed; allowed: 1 to max_size");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let min_size = self.min_size > 0 && self.min_size <= self.max_size;
        let max_size = (1..=Config::MAX_SIZE_LIMIT).contains(&self.max_size);
        let interval = (MIN_INTERVAL..=MAX_BUDGET).contains(&self.interval);
        let target_wait = (MIN_WAIT..=MAX_BUDGET).contains(&self.target_wait);
        let memory = self.memory >= self.interval && self.memory <= MAX_BUDGET;
        let rows: [(bool, &'static str, &dyn fmt::Debug, &'static str); 10] = [
            (min_size, "min_size", &self.min_size, "1 to max_size"),
            (max_size, "max_size", &self.max_size, "1 to 65535"),
            (interval, "interval", &self.interval, "10 ms to 10 years"),
            (target_wait, "target_wait", &self.target_wait, "1 ms to 10 years"),
            (self.headroom <= 1_000, "headroom", &self.headroom, "0 to 1000"),
            (self.grow_after > 0, "grow_after", &self.grow_after, "1 and more"),
            (self.shrink_after > 0, "shrink_after", &self.shrink_after, "1 and more"),
            (self.retry_after > 0, "retry_after", &self.retry_after, "1 and more"),
            ((1..=1_000).contains(&self.tolerance), "tolerance", &self.tolerance, "1 to 1000"),
            (memory, "memory", &self.memory, "interval to 10 years"),
        ];
        let wrong = rows.into_iter().filter(|(holds, ..)| !holds);
        let refused: Vec<_> = wrong
            .map(|(_, field, value, allowed)| RefusedSetting { field, value: format!("{value:?}"), allowed })
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(ConfigError { refused }) }
    }
}

const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MIN_WAIT: Duration = Duration::from_millis(1);
