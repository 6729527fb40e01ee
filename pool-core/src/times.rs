//! How long things take: a histogram that nobody waits for.

use std::ptr;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;

use crate::stats::Distribution;

/// Times of one kind. Whoever notes one never waits: there are several histograms, of which each thread has one that it tries first. Only if all of them
/// are in use at the same moment, a time is left out.
#[derive(Debug, Default)]
pub(crate) struct Times([CachePadded<Shard>; SHARDS]);

/// Made when it is needed: it takes some 26 KiB.
type Shard = Mutex<Option<Box<Histogram<u64>>>>;

const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 2;
/// A microsecond, in nanoseconds: the unit of the histograms.
const UNIT: u64 = 1_000;
/// The longest time that is told apart from longer ones: an hour.
const LONGEST: u64 = 3_600_000_000;

#[allow(clippy::expect_used)] // of constants, and tested
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are in order")
}

/// The one that this thread tries first.
fn first_shard() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    // Where a thread has its own data is as good as its number, and nobody has to count.
    let place = HERE.with(|here| ptr::from_ref(here).addr() as u64);
    (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SHARD_BITS)) as usize
}

impl Times {
    /// Notes a time in nanoseconds that stands for so many.
    pub(crate) fn note(&self, nanos: u64, stands_for: u64) {
        let first = first_shard();
        let mut shards = (0..SHARDS).map(|next| &self.0[(first + next) % SHARDS]);
        let free = shards.find_map(|shard| match shard.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        if let Some(mut shard) = free {
            let times = shard.get_or_insert_with(|| Box::new(histogram()));
            times.saturating_record_n(nanos.div_ceil(UNIT), stands_for);
        }
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let mut times = histogram();
        for shard in &self.0 {
            // Whoever notes a time holds it for some nanoseconds, and tries another one while it is held here.
            if let Some(shard) = shard.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
                // Of the same bounds, so nothing is left out.
                let _ = times.add(shard);
            }
        }
        if times.is_empty() {
            return Distribution::default();
        }
        let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
        Distribution {
            count: times.len(),
            mean: Duration::from_micros(1).mul_f64(times.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(times.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_note_at_once_are_both_counted_and_so_is_who_notes_while_somebody_reads() {
        const EACH: u64 = 100_000;
        let times = Times::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..EACH).for_each(|_| times.note(1_000_000, 1)));
            }
            while times.distribution().count < EACH {}
        });
        let all = times.distribution();
        // With fewer parties than histograms there is hardly ever none to be had.
        assert!(all.count > 2 * EACH * 999 / 1000, "{} of {} were counted", all.count, 2 * EACH);
        assert_eq!((all.mean.as_millis(), all.max.as_millis()), (1, 1));
    }
}
