//! Moments as numbers, small enough for a cell of the queue.

use std::time::Duration;

use tokio::time::Instant;

/// Counts nanoseconds from the moment when the pool was built.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
}

/// The origin. A runtime with a clock of its own, which tests have, may be at an earlier moment.
const ORIGIN: u64 = u64::MAX / 2;

impl Clock {
    pub(super) fn starting_now() -> Self {
        Self { origin: Instant::now() }
    }

    /// The number of this moment.
    pub(super) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// How long ago the pool was built.
    pub(super) fn running_for(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The number of a moment. Moments some centuries away are all the same.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.origin) {
            Some(after) => ORIGIN + nanos(after),
            None => ORIGIN - nanos(self.origin - moment),
        }
    }

    /// The number of a moment that is so many milliseconds after the pool was built.
    pub(super) fn of_epoch(millis: u64) -> u64 {
        ORIGIN.saturating_add(millis.saturating_mul(1_000_000))
    }

    /// The moment of a number. One that no clock can count to is as good as a century away.
    pub(super) fn moment(&self, at: u64) -> Instant {
        let moment = match at.checked_sub(ORIGIN) {
            Some(after) => self.origin.checked_add(Duration::from_nanos(after)),
            None => self.origin.checked_sub(Duration::from_nanos(ORIGIN - at)),
        };
        moment.unwrap_or_else(|| self.origin + CENTURY)
    }
}

const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

/// Nanoseconds, up to some centuries. Without the 128 bits of `as_nanos`: this is done for every wait.
pub(super) fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(duration.subsec_nanos().into()).min(ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_as_they_were() {
        let clock = Clock::starting_now();
        let second = Duration::from_secs(1);
        for moment in [clock.origin, clock.origin + second, clock.origin - second] {
            assert_eq!(clock.moment(clock.at(moment)), moment);
        }
        assert!(clock.moment(u64::MAX) > clock.origin + CENTURY - second, "and u64::MAX is never");
        assert!(clock.at(clock.origin + second * 60 * 60 * 24 * 365 * 300) > clock.at(clock.origin + second));
    }
}
