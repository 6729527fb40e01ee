//! Latencies, recorded by each thread for itself: a histogram that threads share would be what is measured.

use std::cell::RefCell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Two significant digits: few enough counters to stay in the cache beside what is measured.
const DIGITS: u8 = 2;
/// More than any slice lasts.
const LONGEST_NANOS: u64 = 100_000_000_000;

thread_local! {
    static OWN: RefCell<Histogram<u64>> = RefCell::new(empty());
}

/// What the threads of the running slice have handed in.
static HANDED_IN: Mutex<Option<Histogram<u64>>> = Mutex::new(None);

fn empty() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_NANOS, DIGITS).expect("the bounds are in range")
}

/// Takes down how long something took, in nanoseconds.
pub(crate) fn record(latency: Duration) {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NANOS);
    OWN.with_borrow_mut(|own| own.saturating_record(nanos));
}

/// Hands in what this thread has recorded. Every thread calls it before it ends.
pub(crate) fn hand_in() {
    let own = OWN.with_borrow_mut(|own| std::mem::replace(own, empty()));
    let mut handed_in = HANDED_IN.lock().expect("nobody panics while it is locked");
    handed_in.get_or_insert_with(empty).add(own).expect("their bounds are the same");
}

/// Everything that was handed in since the last call.
pub(crate) fn collect() -> Histogram<u64> {
    HANDED_IN.lock().expect("nobody panics while it is locked").take().unwrap_or_else(empty)
}

/// What two readings of the clock cost, which is in every latency: the median of many.
pub(crate) fn clock_overhead() -> u64 {
    let mut readings: Vec<_> = (0..10_001).map(|_| Instant::now().elapsed().as_nanos()).collect();
    let (_, median, _) = readings.select_nth_unstable(5_000);
    u64::try_from(*median).unwrap_or(u64::MAX)
}
