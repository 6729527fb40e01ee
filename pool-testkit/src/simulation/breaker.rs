//! Where the breaker may stand, and where it has to.
//!
//! The pool counts a failure more when connections have broken between two attempts, and it may hear of a failure after the clock has jumped: so there are two counts and two moments.

use pool_core::Config;

use super::clock::millis;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row: at least, and at most.
    failures: (u32, u32),
    /// The first of them, by its earliest moment and by its latest.
    since: Option<(u64, u64)>,
    pub(super) may_be_open: bool,
    pub(super) has_to_be_open: bool,
    /// The number of the last moment when it may have been open.
    pub(super) last_open: u64,
    /// Whether everybody who waited has been told so since, and whoever came.
    pub(super) nobody_waits: bool,
}

impl Breaker {
    /// An attempt has failed, at this moment or later.
    pub(super) fn failed(&mut self, config: &Config, at: u64, jumped: u64, number: u64) {
        self.failures = (self.failures.0 + 1, self.failures.1 + 2);
        self.since.get_or_insert((at, at + jumped));
        let (has_to, may) = self.are_enough(config, at, jumped);
        self.may_be_open |= may;
        self.has_to_be_open |= has_to;
        if self.may_be_open {
            self.last_open = number;
        }
    }

    /// Whether there are enough failures, for sure and possibly.
    fn are_enough(&self, config: &Config, at: u64, jumped: u64) -> (bool, bool) {
        let (Some(least), Some((early, late))) = (config.breaker_failures, self.since) else { return (false, false) };
        let after = millis(config.breaker_after);
        let has_to = self.failures.0 >= least && at >= late + after;
        let may = self.failures.1 >= least && at + jumped >= early + after;
        (has_to, may)
    }

    /// One has succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self { last_open: self.last_open, ..Self::default() };
    }

    /// Other settings are in force.
    pub(super) fn follow(&mut self, config: &Config, now: u64) {
        let (has_to, may) = self.are_enough(config, now, 0);
        self.may_be_open &= may;
        self.has_to_be_open &= has_to;
        self.nobody_waits &= has_to;
    }
}
