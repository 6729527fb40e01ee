//! How long to wait before the next attempt to open a connection, and how many attempts at a time.

use std::time::Duration;

use crate::config::Config;

/// While somebody waits, no pause is longer than this part of the time for which attempts have failed: whoever has waited out an outage waits for a tenth more at most.
const SHARE: u32 = 10;

/// How long to wait after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    /// If nobody waits for a connection.
    pub(crate) patient: Duration,
    /// As long as somebody does. Not longer.
    pub(crate) awaited: Duration,
}

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

    /// An attempt failed, and for so long they have. Returns how long to wait: a random part, a tenth at least, of a pause that doubles each time ("full jitter", from the
    /// Amazon Builders' Library on timeouts, retries and backoff with jitter), so that many pools do not come back in step.
    pub(crate) fn failed(&mut self, config: &Config, failing_for: Duration, random: u64) -> Pauses {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let ceiling = config.backoff_initial.saturating_mul(1 << doublings).min(config.backoff_max);
        let awaited = ceiling.min(config.backoff_initial.max(failing_for / SHARE));
        // Never nothing: a server that refuses at once must not be asked in a tight loop.
        let chance = f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let patient = ceiling.mul_f64(0.1 + 0.9 * chance);
        // These are short enough, and half of them is enough to fall out of step.
        Pauses { patient, awaited: patient.min(awaited.mul_f64(0.5 + 0.5 * chance)) }
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
        let mut failed = |random| backoff.failed(&config, Duration::ZERO, random).patient.as_millis();
        let longest: Vec<_> = (0..8).map(|_| failed(u64::MAX)).collect();
        assert_eq!(longest, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.succeeded();
        let mut failed = |random| backoff.failed(&config, Duration::ZERO, random).patient.as_millis();
        assert_eq!(failed(u64::MAX), 50);
        assert_eq!(failed(0), 10, "a tenth at least");
    }

    #[test]
    fn pauses_are_shorter_while_somebody_waits_in_proportion_to_the_outage() {
        let config = Config::default();
        let mut backoff = Backoff { failures: 10 };
        let mut longest = |millis| backoff.failed(&config, Duration::from_millis(millis), u64::MAX).awaited.as_millis();
        assert_eq!([0, 499, 700, 5_000, 20_000, 60_000].map(&mut longest), [50, 50, 70, 500, 2_000, 2_000]);
        let shortest = backoff.failed(&config, Duration::from_secs(2), 0);
        assert_eq!((shortest.patient.as_millis(), shortest.awaited.as_millis()), (200, 100), "half at least");
        let mut backoff = Backoff::default();
        let first = backoff.failed(&config, Duration::from_hours(1), u64::MAX);
        assert_eq!(first.awaited, first.patient, "and never longer");
    }

    #[test]
    fn a_very_long_outage_does_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        let pauses = backoff.failed(&Config::default(), Duration::MAX, u64::MAX);
        assert_eq!((pauses.patient, pauses.awaited), (Duration::from_secs(2), Duration::from_secs(2)));
        assert_eq!(backoff.failures(), u32::MAX);
    }

    #[test]
    fn a_failing_backend_is_probed_by_one() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.openers(&Config::default()), 4);
        backoff.failed(&Config::default(), Duration::ZERO, 0);
        assert_eq!(backoff.openers(&Config::default()), 1);
        assert!(backoff.is_notable());
    }
}
