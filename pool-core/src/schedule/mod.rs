//! Who of those who wait is served next, and who is told early that he will not be.

mod accounts;
mod codel;
mod lanes;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::error::{ConfigError, RefusedSetting};
use crate::shed::Key;

pub use codel::Codel;
pub(crate) use codel::nanos;
pub(crate) use lanes::Place;
pub(crate) use line::{Call, Demand, Entry, Limits, Line, Pass};

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Priority {
    /// Before all others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// When there is time.
    Low,
}

impl Priority {
    /// All of them, from the first to the last.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// What one [`Key`] may have.
///
/// # Example
///
/// ```
/// let mut quota = pool_core::Quota::default();
/// quota.max = Some(5);
/// quota.reserved = 1;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// So many connections at a time at most. At least 1; `None`, the default, is as many as there are.
    pub max: Option<usize>,
    /// So many are kept for this key: nobody else gets them, even while it does not want them. At most `max`; default 0.
    pub reserved: usize,
    /// When several keys want more than there is, each is served by what it has already in proportion to its weight, the least first. At least 1; default 1.
    pub weight: u32,
    /// So many may wait. `None`, the default, is as many as [`ScheduleConfig::max_waiting`] lets.
    pub max_waiting: Option<usize>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { max: None, reserved: 0, weight: 1, max_waiting: None }
    }
}

/// The settings of a [`Scheduler`](crate::Scheduler). By default all keys share what there is evenly, priorities are kept, and nobody is turned away but by his own deadline.
///
/// # Example
///
/// ```
/// let mut config = pool_core::ScheduleConfig::default();
/// config.max_waiting = Some(1_000);
/// config.codel = Some(pool_core::Codel::default());
/// config.validate()?;
/// # Ok::<_, pool_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleConfig {
    /// So many may wait; who comes then is turned away at once. `None`, the default, is any number.
    pub max_waiting: Option<usize>,
    /// Sheds a queue that stands. Default `None`: nothing is shed.
    pub codel: Option<Codel>,
    /// While the queue stands, who came last is served first: he has most of his time left. Needs `codel`; default `false`.
    pub newest_first: bool,
    /// Turns those away at once, and while they wait, who cannot be served before their deadline: as far as that can be told from how long connections are held, and how many are before them; and when their turn has
    /// come, from how long [hooks](crate::Hooks) and conversions take. Default `true`.
    pub foresee: bool,
    /// After so long a request of a lower priority counts as aged, and gets its share. From 1 ms to 10 years; default 1 s.
    pub aging: Duration,
    /// Of the connections handed out while requests of higher priority wait as well, so many percent go to aged ones of normal priority. From 0, which may starve them, to 50; default 20.
    pub normal_share: u8,
    /// As `normal_share`, for those of low priority. Default 5.
    pub low_share: u8,
    /// What a key may have that is not in `quotas`. Nothing can be reserved for those.
    pub quota: Quota,
    /// What these may have.
    pub quotas: BTreeMap<Key, Quota>,
    /// So many keys are known at a time. The one that was used least recently is forgotten for another one; if all are in use, a request with another key is turned away, but keys for which something is
    /// reserved are known beside them. At least 1, and as many as there are quotas; default 1,024.
    pub max_keys: usize,
    /// So many connections are not for requests, but for whoever acquires from the [`Pool`](crate::Pool) itself: administration, say. Default 0.
    pub kept: usize,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            max_waiting: None,
            codel: None,
            newest_first: false,
            foresee: true,
            aging: Duration::from_secs(1),
            normal_share: 20,
            low_share: 5,
            quota: Quota::default(),
            quotas: BTreeMap::new(),
            max_keys: 1024,
            kept: 0,
        }
    }
}

const MIN_TIME: Duration = Duration::from_millis(1);
const TIMES: &str = "1 ms to 10 years";

impl ScheduleConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::ScheduleConfig::default();
    /// config.low_share = 60;
    /// assert_eq!(config.validate().unwrap_err().to_string(), "low_share = 60 is not allowed; allowed: 0 to 50, and with normal_share 90 at most");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fits = |time| (MIN_TIME..=crate::config::MAX_BUDGET).contains(&time);
        let codel = self.codel.unwrap_or_default();
        let rows: [(bool, &'static str, &dyn fmt::Debug, &'static str); 8] = [
            (fits(codel.target), "codel.target", &codel.target, TIMES),
            (
                fits(codel.interval) && codel.interval >= codel.target,
                "codel.interval",
                &codel.interval,
                "codel.target to 10 years",
            ),
            (
                !self.newest_first || self.codel.is_some(),
                "newest_first",
                &self.newest_first,
                "true, with codel, or false",
            ),
            (fits(self.aging), "aging", &self.aging, TIMES),
            (self.normal_share <= 50, "normal_share", &self.normal_share, "0 to 50"),
            (
                self.low_share <= 50 && self.normal_share.saturating_add(self.low_share) <= 90,
                "low_share",
                &self.low_share,
                "0 to 50, and with normal_share 90 at most",
            ),
            (
                self.max_keys >= self.quotas.len().max(1),
                "max_keys",
                &self.max_keys,
                "1 and more, and as many as there are quotas",
            ),
            (self.quota.reserved == 0, "quota.reserved", &self.quota.reserved, "0"),
        ];
        let wrong = rows.into_iter().filter(|(holds, ..)| !holds);
        let refused = |(_, field, value, allowed): (bool, _, &dyn fmt::Debug, _)| RefusedSetting {
            field,
            value: format!("{value:?}"),
            allowed,
        };
        let mut refused: Vec<_> = wrong.map(refused).collect();
        let quotas = self.quotas.iter().map(|(key, quota)| (Some(key), quota)).chain([(None, &self.quota)]);
        refused.extend(quotas.flat_map(|(key, quota)| quota.refused(key)));
        if refused.is_empty() { Ok(()) } else { Err(ConfigError { refused }) }
    }

    pub(crate) fn share(&self, priority: Priority) -> u32 {
        match priority {
            Priority::High => 0,
            Priority::Normal => self.normal_share.into(),
            Priority::Low => self.low_share.into(),
        }
    }
}

impl Quota {
    fn refused(&self, key: Option<&Key>) -> Vec<RefusedSetting> {
        let rows: [(bool, &'static str, &dyn fmt::Debug, &'static str); 3] = [
            (self.max != Some(0), "quota.max", &self.max, "None, or 1 and more"),
            (self.max.is_none_or(|max| self.reserved <= max), "quota.reserved", &self.reserved, "0 to quota.max"),
            (self.weight > 0, "quota.weight", &self.weight, "1 and more"),
        ];
        let wrong = rows.into_iter().filter(|(holds, ..)| !holds);
        let of = key.map_or(String::new(), |key| format!(" (of {key})"));
        wrong
            .map(|(_, field, value, allowed)| RefusedSetting { field, value: format!("{value:?}{of}"), allowed })
            .collect()
    }
}
