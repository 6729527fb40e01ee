//! How long things take: counts by time that nobody waits for, those who note one as little as those who read.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;

use crate::stats::Distribution;
use crate::sync::Counter;

/// Times of one kind. Each thread has one of several sets of counters that it writes to, so that two seldom write to the same line.
#[derive(Debug, Default)]
pub(crate) struct Times([CachePadded<Shard>; SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    /// Each is made when it is needed: a kibibyte, and most times are of the same few.
    parts: [OnceLock<Box<[Counter; STEPS]>>; PARTS],
    nanos: Counter,
}

const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 2;
/// A microsecond, in nanoseconds: the unit of the counts.
const UNIT: u64 = 1_000;
/// The longest time that is told apart from longer ones: an hour.
const LONGEST: u64 = 3_600_000_000;
/// The longest time that is taken as it is, in nanoseconds: 30 days. What is beyond that is a mistake, and would be all that is seen of the others.
const BELIEVED: u64 = 30 * 24 * LONGEST * UNIT;
/// A sum that has come so far, in nanoseconds, stays as it is: 292 years. Whoever looks at one that has gone back takes that for a new process.
const FULL: u64 = 1 << 63;
/// The most that is added to a sum at once: more than two years. More than a hundred threads would have to come in the same instant for one that is not full yet to overflow.
const MOST: u64 = 1 << 56;
/// From here on a time is counted together with others, within one percent: half as many are told apart between a power of two and the next.
const EXACT: u64 = 256;
const STEPS: usize = 128;
/// As many parts as there are places.
const PARTS: usize = place(LONGEST) / STEPS + 1;

/// Where a time in microseconds is counted.
#[allow(clippy::cast_possible_truncation)] // of numbers below 2^32
const fn place(micros: u64) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    let shift = micros.ilog2() - (EXACT.ilog2() - 1);
    2 * STEPS + (shift as usize - 1) * STEPS + ((micros >> shift) as usize - STEPS)
}

/// The longest time in microseconds that is counted there.
const fn longest_at(place: usize) -> u64 {
    if (place as u64) < EXACT {
        return place as u64;
    }
    let above = place - 2 * STEPS;
    let (shift, step) = (above / STEPS + 1, (above % STEPS + STEPS) as u64);
    ((step + 1) << shift) - 1
}

/// The set that this thread writes to.
fn own_shard() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    // Where a thread has its own data is as good as its number, and nobody has to count.
    let place = HERE.with(|here| ptr::from_ref(here).addr() as u64);
    (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SHARD_BITS)) as usize
}

impl Shard {
    fn count(&self, place: usize) -> Option<&Counter> {
        let part = &self.parts[place / STEPS];
        if part.get().is_none() {
            // Made before: whoever comes at the same time waits for a move at most.
            let _ = part.set(Box::new(std::array::from_fn(|_| Counter::default())));
        }
        part.get().map(|part| &part[place % STEPS])
    }

    /// Adds to the sum.
    fn add_up(&self, nanos: u64) {
        if self.nanos.get() < FULL {
            self.nanos.add(nanos.min(MOST));
        }
    }

    /// What has been counted where.
    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let parts = self.parts.iter().enumerate().filter_map(|(number, part)| Some((number * STEPS, part.get()?)));
        let counts =
            parts.flat_map(|(first, part)| part.iter().enumerate().map(move |(at, count)| (first + at, count.get())));
        counts.filter(|(_, count)| *count > 0)
    }
}

impl Times {
    /// Notes a time in nanoseconds that stands for so many. Of what a driver hands in, which may be any number, no more than a month is added up.
    pub(crate) fn note(&self, nanos: u64, stands_for: u64) {
        let nanos = nanos.min(BELIEVED);
        let shard = &self.0[own_shard()];
        if let Some(count) = shard.count(place(nanos.div_ceil(UNIT).min(LONGEST))) {
            count.add(stands_for);
            shard.add_up(nanos.saturating_mul(stands_for));
        }
    }

    /// What has been counted so far.
    pub(crate) fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for shard in &self.0 {
            shard.counts().for_each(|(place, count)| *counted.counts.entry(place).or_default() += count);
            counted.nanos = counted.nanos.saturating_add(shard.nanos.get());
        }
        counted
    }

    /// How long all of them are together.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.iter().map(|shard| shard.nanos.get()).fold(0, u64::saturating_add))
    }

    pub(crate) fn distribution(&self) -> Distribution {
        self.counted().distribution()
    }
}

/// Times that have been counted, at one moment or between two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// By place, as far as there are any.
    counts: BTreeMap<usize, u64>,
    nanos: u64,
}

impl Counted {
    /// What has been counted since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |place| earlier.counts.get(place).copied().unwrap_or_default();
        let counts = self.counts.iter().map(|(place, now)| (*place, now.saturating_sub(before(place))));
        Self {
            counts: counts.filter(|(_, count)| *count > 0).collect(),
            nanos: self.nanos.saturating_sub(earlier.nanos),
        }
    }

    /// These and others.
    pub(crate) fn with(mut self, others: &Self) -> Self {
        others.counts.iter().for_each(|(place, count)| *self.counts.entry(*place).or_default() += count);
        self.nanos = self.nanos.saturating_add(others.nanos);
        self
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// All of them together.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// How many took no longer than each of these, which are in order.
    pub(crate) fn up_to(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut counts = self.counts.iter().peekable();
        let mut sum = 0;
        let up_to = bounds.iter().map(|bound| {
            let bound = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
            while let Some((_, count)) = counts.next_if(|(place, _)| longest_at(**place) <= bound) {
                sum += count;
            }
            sum
        });
        up_to.collect()
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let mut times = histogram();
        for (place, count) in &self.counts {
            times.saturating_record_n(longest_at(*place), *count);
        }
        if times.is_empty() {
            return Distribution::default();
        }
        let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
        #[allow(clippy::cast_precision_loss)] // of counts beyond 2^52
        let mean = self.total().as_secs_f64() / times.len() as f64;
        Distribution {
            count: times.len(),
            mean: Duration::try_from_secs_f64(mean).unwrap_or_default(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(times.max()),
        }
    }
}

#[allow(clippy::expect_used)] // of constants, and tested
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_a_percent_wide() {
        for place_of in 1..PARTS * STEPS {
            let (before, here) = (longest_at(place_of - 1), longest_at(place_of));
            assert_eq!((place(before + 1), place(here)), (place_of, place_of));
            assert!(here - before <= here / 100 + 1, "{before} to {here}");
            assert!(histogram().equivalent(before + 1, here), "the same as the histogram's");
        }
    }

    #[test]
    fn threads_that_note_at_once_are_all_counted_and_so_is_who_notes_while_somebody_reads() {
        const EACH: u64 = 100_000;
        let times = Times::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..EACH).for_each(|_| times.note(1_000_000, 1)));
            }
            while times.distribution().count < EACH {}
        });
        let all = times.distribution();
        assert_eq!((all.count, all.mean, all.max.as_micros()), (8 * EACH, Duration::from_millis(1), 1003));
    }

    #[test]
    fn a_time_that_is_none_spoils_nothing() {
        let times = Times::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| times.note(u64::MAX, 1));
            }
        });
        let before = times.total();
        times.note(1_000_000_000, 1);
        assert_eq!(before, 8 * Duration::from_hours(30 * 24));
        assert_eq!(times.counted().total(), before + Duration::from_secs(1));
    }

    #[test]
    fn a_sum_never_goes_back() {
        let times = Times::default();
        let mut before = Duration::ZERO;
        for stands_for in [1, 16, 1 << 20, u64::MAX].into_iter().cycle().take(2_000) {
            times.note(u64::MAX, stands_for);
            let now = times.total();
            assert!(now >= before && now == times.counted().total(), "{now:?} after {before:?}");
            before = now;
        }
        assert!(before > Duration::from_nanos(FULL));
    }

    #[test]
    fn what_has_come_since_a_moment_is_told_apart() {
        let times = Times::default();
        let none = times.counted();
        assert_eq!(none.distribution(), Distribution::default());
        times.note(5_000, 3);
        let before = times.counted();
        times.note(2_000_000_000, 1);
        let since = times.counted().since(&before);
        assert_eq!((since.count(), since.total()), (1, Duration::from_secs(2)));
        assert_eq!(times.counted().since(&none).count(), 4);
        let bounds = [4, 5, 1_000_000, 3_000_000].map(Duration::from_micros);
        assert_eq!(times.counted().up_to(&bounds), [0, 3, 3, 4]);
    }
}
