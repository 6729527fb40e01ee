//! Whether a queue stands instead of flowing.

use std::time::Duration;

/// A queue that is shed when it stands: when for a whole `interval` nobody was served who had waited for less than `target`. From then on, and until an interval ends in which somebody was, those who have
/// waited for more than twice the target are turned away, the oldest first. A burst that is over within an interval costs nobody anything.
///
/// The rule, and the defaults, are those of `DBConnection`, which took them from the Controlled Delay of Nichols and Jacobson ("Controlling Queue Delay", ACM Queue, 2012).
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// let mut config = pool_core::ScheduleConfig::default();
/// config.codel = Some(pool_core::Codel::default());
/// assert_eq!(config.codel.map(|codel| codel.target), Some(Duration::from_millis(50)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Codel {
    /// A wait that is no cause for concern. From 1 ms to 10 years; default 50 ms.
    pub target: Duration,
    /// For how long the shortest wait has to be longer than that. From `target` to 10 years; default 2 s.
    pub interval: Duration,
}

impl Default for Codel {
    fn default() -> Self {
        Self { target: Duration::from_millis(50), interval: Duration::from_secs(2) }
    }
}

/// The queue so far. All times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The shortest wait of the present interval.
    shortest: u64,
    ends: u64,
    stands: bool,
    /// Since when somebody watches whether anybody is served at all, and whether anybody was.
    watched_since: Option<u64>,
    has_served: bool,
}

impl Flow {
    /// Somebody is about to be served from a line whose oldest has waited for so long.
    pub(crate) fn serves(&mut self, now: u64, waited: u64, codel: Codel) {
        self.has_served = true;
        if now >= self.ends {
            self.begin(now, waited, codel);
        } else {
            self.shortest = self.shortest.min(waited);
        }
    }

    /// Somebody waits where nobody did: what was before the last interval is over.
    pub(crate) fn begins_again(&mut self, now: u64) {
        self.stands &= now < self.ends;
    }

    /// Nobody waits any more.
    pub(crate) fn emptied(&mut self) {
        (self.shortest, self.watched_since) = (0, None);
    }

    /// Somebody who waits looks whether anybody is served. If nobody was for a whole interval, what the oldest has waited is a wait, too.
    pub(crate) fn watch(&mut self, now: u64, waited: u64, codel: Codel) {
        match self.watched_since.filter(|_| !self.has_served) {
            Some(since) if now >= since.saturating_add(nanos(codel.interval)) => {
                self.shortest = self.shortest.max(waited);
                self.begin(now, waited, codel);
            }
            Some(_) => return,
            None => {}
        }
        (self.watched_since, self.has_served) = (Some(now), false);
    }

    fn begin(&mut self, now: u64, waited: u64, codel: Codel) {
        self.stands = self.shortest > nanos(codel.target);
        (self.shortest, self.ends) = (waited, now.saturating_add(nanos(codel.interval)));
    }

    /// Whether it stands.
    pub(crate) fn stands(&self) -> bool {
        self.stands
    }

    /// How long one may have waited who is still served; in nanoseconds.
    pub(crate) fn patience(&self, codel: Codel) -> u64 {
        if self.stands { nanos(codel.target).saturating_mul(2) } else { u64::MAX }
    }
}

/// A time as a number.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Whether it stands after waits of so many milliseconds, one each 100 ms.
    fn stands(waits: &[u64]) -> bool {
        let (mut flow, codel) = (Flow::default(), Codel::default());
        for (number, waited) in (1..).zip(waits) {
            flow.serves(number * 100 * MS, waited * MS, codel);
        }
        flow.stands()
    }

    #[test]
    fn it_stands_after_an_interval_without_a_short_wait() {
        assert!(!stands(&[60; 20]), "not yet two seconds");
        assert!(stands(&[60; 21]));
        assert!(!stands(&[50; 41]), "as long as the target is no cause for concern");
    }

    #[test]
    fn one_short_wait_in_an_interval_is_enough() {
        let mut waits = [60; 61];
        waits[30] = 40;
        assert!(stands(&waits[..40]), "the first interval had none");
        assert!(!stands(&waits[..41]), "and the second had one");
        assert!(stands(&waits), "the third had none again");
    }

    #[test]
    fn a_queue_that_was_empty_flows_and_one_that_nobody_serves_for_an_interval_stands() {
        let (mut flow, codel) = (Flow::default(), Codel::default());
        flow.serves(0, 60 * MS, codel);
        flow.emptied();
        flow.serves(2_000 * MS, 60 * MS, codel);
        assert!(!flow.stands());
        flow.watch(3_000 * MS, 1_000 * MS, codel);
        flow.serves(3_900 * MS, 10 * MS, codel);
        flow.watch(4_500 * MS, 1_000 * MS, codel);
        flow.watch(6_400 * MS, 2_900 * MS, codel);
        assert!(!flow.stands(), "for less than an interval nobody was served");
        flow.watch(6_500 * MS, 3_000 * MS, codel);
        assert!(flow.stands());
        assert_eq!(flow.patience(codel), 100 * MS);
    }
}
