//! How long to wait before the next attempt to open a connection, and how many attempts at a time.

use std::time::Duration;

use crate::config::Config;

/// Failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed. Returns how long to wait: a random part of a pause that doubles each time ("full jitter", from the
    /// Amazon Builders' Library on timeouts, retries and backoff with jitter), so that many pools do not come back in step.
    pub(crate) fn failed(&mut self, config: &Config, random: u64) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let ceiling = config.backoff_initial.saturating_mul(1 << doublings).min(config.backoff_max);
        // Never nothing: a server that refuses at once must not be asked in a tight loop.
        let part = 0.1 + 0.9 * f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        ceiling.mul_f64(part)
    }

    /// How many attempts may run at once: one while the backend is failing, to probe it rather than storm it.
    pub(crate) fn openers(&self, config: &Config) -> usize {
        if self.failures == 0 { config.max_openers } else { 1 }
    }

    /// Whether this failure is worth a line in the log: the first, second, fourth, eighth in a row.
    pub(crate) fn is_notable(&self) -> bool {
        self.failures.is_power_of_two()
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let config = Config::default();
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..8).map(|_| backoff.failed(&config, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(&config, u64::MAX).as_millis(), 50);
        assert_eq!(backoff.failed(&config, 0).as_millis(), 10, "a tenth at least");
    }

    #[test]
    fn a_very_long_outage_does_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.failed(&Config::default(), u64::MAX), Duration::from_secs(2));
        assert_eq!(backoff.failures(), u32::MAX);
    }

    #[test]
    fn a_failing_backend_is_probed_by_one() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.openers(&Config::default()), 4);
        backoff.failed(&Config::default(), 0);
        assert_eq!(backoff.openers(&Config::default()), 1);
        assert!(backoff.is_notable());
    }
}
