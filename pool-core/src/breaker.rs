//! When callers are spared a wait for a backend that cannot be reached.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::stats::BreakerState;

/// Fed by attempts to open a connection, and by connections that break: never by a busy pool, or by what a user's request is answered with.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// In a row, and since when.
    failures: u32,
    since: Option<Instant>,
    /// Since when nothing could be opened, for whatever reason.
    troubled: Option<Instant>,
    state: BreakerState,
    /// How many connections had broken when an attempt ended last.
    broken: u64,
}

impl Breaker {
    /// For a pool whose connections have broken so often.
    pub(crate) fn new(broken: u64) -> Self {
        Self { broken, ..Self::default() }
    }

    /// An attempt has succeeded. Whether the breaker has been open.
    pub(crate) fn succeeded(&mut self, broken: u64) -> bool {
        let was_open = self.is_open();
        *self = Self::new(broken);
        was_open
    }

    /// An attempt has failed; the next one may be at `probe_at`. Connections that have broken since the last attempt ended are one failure more, however many they are: it is one server
    /// that has gone. Whether this has opened the breaker, from closed.
    pub(crate) fn failed(&mut self, config: &Config, now: Instant, probe_at: Instant, broken: u64) -> bool {
        let more = 1 + u32::from(broken > self.broken);
        self.broken = broken;
        self.failures = self.failures.saturating_add(more);
        self.troubled.get_or_insert(now);
        let since = *self.since.get_or_insert(now);
        let was_open = self.is_open();
        if was_open || self.is_enough(config, now - since) {
            self.state = BreakerState::Open { next_probe: probe_at };
        }
        self.is_open() && !was_open
    }

    /// An attempt has found a backend that is in order and full: that is no failure, and no success.
    pub(crate) fn crowded(&mut self, now: Instant, probe_at: Instant) {
        self.troubled.get_or_insert(now);
        if self.is_open() {
            self.state = BreakerState::Open { next_probe: probe_at };
        }
    }

    fn is_enough(&self, config: &Config, lasted: Duration) -> bool {
        let failures = config.breaker_failures.is_some_and(|failures| self.failures >= failures);
        failures && lasted >= config.breaker_after
    }

    /// For how long nothing could be opened.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        self.troubled.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// For how long attempts have failed.
    fn lasted(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Other settings are in force. Whether this has closed the breaker.
    pub(crate) fn follow(&mut self, config: &Config, now: Instant) -> bool {
        let closes = self.is_open() && !self.is_enough(config, self.lasted(now));
        if closes {
            self.state = BreakerState::Closed;
        }
        closes
    }

    /// An attempt begins: the one that decides, if the breaker is open.
    pub(crate) fn attempt(&mut self) {
        if self.is_open() {
            self.state = BreakerState::HalfOpen;
        }
    }

    /// Open, or half open.
    pub(crate) fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Open, and nothing under way.
    pub(crate) fn wants_a_probe(&self) -> bool {
        matches!(self.state, BreakerState::Open { .. })
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(failures: Option<u32>, after: Duration) -> Config {
        Config { breaker_failures: failures, breaker_after: after, ..Config::default() }
    }

    /// A failure at each of these seconds; after which of them it opens.
    fn opens(config: &Config, seconds: &[u32]) -> Option<u32> {
        let (started, mut breaker) = (Instant::now(), Breaker::default());
        seconds.iter().copied().find(|second| {
            let now = started + *second * SECOND;
            breaker.failed(config, now, now + SECOND, 0)
        })
    }

    #[test]
    fn it_opens_when_there_are_enough_failures_and_they_have_lasted() {
        assert_eq!(opens(&config(Some(3), 5 * SECOND), &[0, 1, 2, 3, 4, 5, 6]), Some(5));
        assert_eq!(opens(&config(Some(3), 5 * SECOND), &[0, 5, 10, 15]), Some(10));
        assert_eq!(opens(&config(Some(1), Duration::from_millis(1)), &[0, 1]), Some(1));
        assert_eq!(opens(&config(None, SECOND), &[0, 5, 10, 15]), None);
    }

    #[test]
    fn a_success_between_them_begins_anew() {
        let (config, now, mut breaker) = (config(Some(2), SECOND), Instant::now(), Breaker::default());
        assert!(!breaker.failed(&config, now, now, 0) && !breaker.succeeded(0));
        assert!(!breaker.failed(&config, now + 5 * SECOND, now, 0), "the first one again");
        assert!(!breaker.is_open());
    }

    #[test]
    fn connections_that_break_are_one_failure_together() {
        let (config, now, mut breaker) = (config(Some(4), SECOND), Instant::now(), Breaker::new(7));
        assert!(!breaker.failed(&config, now, now, 27), "two");
        assert!(!breaker.failed(&config, now + SECOND, now, 27), "three");
        assert!(breaker.failed(&config, now + 2 * SECOND, now, 27), "four");
    }

    #[test]
    fn a_backend_that_is_full_opens_nothing_and_closes_nothing() {
        let (config, now, mut breaker) = (config(Some(2), SECOND), Instant::now(), Breaker::default());
        (0..10).for_each(|second| breaker.crowded(now + second * SECOND, now));
        assert!(!breaker.is_open());
        assert!(!breaker.failed(&config, now + 10 * SECOND, now, 0), "the first one that counts");
        assert!(breaker.failed(&config, now + 11 * SECOND, now, 0));
        breaker.attempt();
        breaker.crowded(now + 12 * SECOND, now + 13 * SECOND);
        assert_eq!(breaker.state(), BreakerState::Open { next_probe: now + 13 * SECOND }, "it goes on trying");
    }

    #[test]
    fn it_says_when_it_tries_next_and_closes_by_a_success_or_by_other_settings() {
        let (mut settings, now) = (config(Some(1), Duration::ZERO), Instant::now());
        let mut breaker = Breaker::default();
        assert!(breaker.failed(&settings, now, now + 2 * SECOND, 0));
        assert_eq!(breaker.state(), BreakerState::Open { next_probe: now + 2 * SECOND });
        assert!(breaker.wants_a_probe());
        breaker.attempt();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.failed(&settings, now + 2 * SECOND, now + 4 * SECOND, 0), "it has been open");
        assert!(breaker.is_open() && !breaker.follow(&settings, now + 2 * SECOND));
        settings.breaker_failures = None;
        assert!(breaker.follow(&settings, now + 2 * SECOND) && !breaker.is_open());
        settings.breaker_failures = Some(1);
        assert!(breaker.failed(&settings, now + 3 * SECOND, now, 0) && breaker.succeeded(0));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
