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

    /// The number of a moment. Moments some centuries away are all the same.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).map_or(ORIGIN, |nanos| nanos.min(ORIGIN));
        match moment.checked_duration_since(self.origin) {
            Some(after) => ORIGIN + nanos(after),
            None => ORIGIN - nanos(self.origin - moment),
        }
    }

    /// The moment of a number, unless it is too far away to ever come.
    pub(super) fn moment(&self, at: u64) -> Option<Instant> {
        match at.checked_sub(ORIGIN) {
            Some(after) => self.origin.checked_add(Duration::from_nanos(after)),
            None => self.origin.checked_sub(Duration::from_nanos(ORIGIN - at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_as_they_were() {
        let clock = Clock::starting_now();
        let second = Duration::from_secs(1);
        for moment in [clock.origin, clock.origin + second, clock.origin - second] {
            assert_eq!(clock.moment(clock.at(moment)), Some(moment));
        }
        assert!(clock.at(clock.origin + second * 60 * 60 * 24 * 365 * 300) > clock.at(clock.origin + second));
    }
}
