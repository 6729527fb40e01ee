//! Lets others have the processor.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Whoever keeps the processor for longer than this is not whom it was meant for.
const SHORT: Duration = Duration::from_millis(1);
/// The time that is lost by that is one part in so many, at most.
const PART: u64 = 20;
/// So much of it may be lost at a time.
const AT_ONCE: Duration = Duration::from_millis(10);

/// What was lost, as the time at which it is made up for, in microseconds since the beginning. A count of its own for the whole process: the processors are.
static LOST: Lost = Lost(AtomicU64::new(0));
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Lost(AtomicU64);

impl Lost {
    /// Whether it is so little that more may be lost.
    fn is_little(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now.saturating_add(micros(AT_ONCE) * PART)
    }

    /// So much was lost.
    fn add(&self, now: u64, took: Duration) {
        let later = |before: u64| Some(before.max(now).saturating_add(micros(took).saturating_mul(PART)));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }
}

/// Offers the processor to whoever waits for it. That is for a server on the same machine: it has been given something to do, and would wait until the time of this thread is over, a few milliseconds, and with it all those who
/// wait for its answers. If nobody waits, this returns at once. Others may wait, too, that have a lot to do and keep the processor for milliseconds: then it is offered so rarely that the process loses a twentieth of its time to those at most.
pub(crate) fn offer() {
    let began = BEGAN.elapsed();
    if !LOST.is_little(micros(began)) {
        return;
    }
    thread::yield_now();
    let ended = BEGAN.elapsed();
    let took = ended.saturating_sub(began);
    if took > SHORT {
        LOST.add(micros(ended), took);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_lost_than_a_part() {
        let (lost, second) = (Lost(AtomicU64::new(0)), 1_000_000);
        let mut sum = Duration::ZERO;
        for now in (0..10 * second).step_by(1_000) {
            if lost.is_little(now) {
                let took = Duration::from_millis(4);
                lost.add(now, took);
                sum += took;
            }
        }
        let part = Duration::from_millis(500);
        assert!((part..part + Duration::from_millis(20)).contains(&sum), "{sum:?} of ten seconds");
    }
}
