//! Reads what the pool says of itself, and what has come since the last time.

use std::time::Duration;

use tokio::time::Instant;

use crate::adapt::Look;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::stats::{PoolState, Stats};

/// What is known since the last look.
pub(super) struct Observer {
    before: Stats,
    queue_before: InQueue,
    waiting_before: usize,
    since: Instant,
    samples: Samples,
}

/// What has come of the queue alone. Who waits in a line in front of the pool may wait for a quota, which more connections do not cure.
struct InQueue {
    /// Acquires that have ended, one way or the other, as far as they wanted a connection.
    ended: u64,
    waited: Duration,
}

impl InQueue {
    fn of<D: Driver>(engine: &Engine<D>, stats: &Stats) -> Self {
        Self { ended: ends(stats).saturating_sub(engine.left_line()), waited: engine.waited_in_queue() }
    }
}

/// Where the connections were, at some moments.
#[derive(Default)]
struct Samples {
    count: usize,
    in_use: usize,
    peak: usize,
    waiting: usize,
    paused: bool,
}

impl Observer {
    pub(super) fn new<D: Driver>(engine: &Engine<D>) -> Self {
        let (before, since) = (engine.stats(), Instant::now());
        let waiting_before = before.state.waiting + engine.in_front();
        let queue_before = InQueue::of(engine, &before);
        Self { before, queue_before, waiting_before, since, samples: Samples::default() }
    }

    /// Sees where the connections are.
    pub(super) fn glance<D: Driver>(&mut self, engine: &Engine<D>) {
        self.see(&engine.state(), engine.in_front());
    }

    fn see(&mut self, state: &PoolState, in_front: usize) {
        // What is made ready is missed only if somebody waits: otherwise it may be a round of pings.
        let made_ready = if state.waiting + in_front > 0 { state.in_maintenance } else { 0 };
        let in_use = state.leased + made_ready;
        let samples = &mut self.samples;
        samples.count += 1;
        samples.in_use += in_use;
        samples.peak = samples.peak.max(in_use);
        samples.waiting += state.waiting + in_front;
        samples.paused |= state.paused || state.breaker.is_open();
    }

    /// What was seen since the last look.
    pub(super) fn look<D: Driver>(&mut self, engine: &Engine<D>) -> Look {
        let (seen, in_front, now) = (engine.stats(), engine.in_front(), Instant::now());
        let (state, waiting) = (seen.state, seen.state.waiting + in_front);
        self.see(&state, in_front);
        let samples = std::mem::take(&mut self.samples);
        let served = seen.acquired.saturating_sub(self.before.acquired);
        let queue = InQueue::of(engine, &seen);
        let ended = queue.ended.saturating_sub(self.queue_before.ended);
        let arrived = (ended + as_count(waiting)).saturating_sub(as_count(self.waiting_before));
        let elapsed = now.saturating_duration_since(self.since);
        let (executions, execution_time) = executions(&self.before, &seen);
        let look = Look {
            elapsed,
            size: state.max_size,
            reserved: state.reserved,
            in_use: mean(samples.in_use, samples.count),
            peak: samples.peak,
            arrived,
            served,
            wait: wait(&self.queue_before, &queue, arrived)
                .max(elapsed.mul_f64(mean(samples.waiting, per(arrived, samples.count)))),
            executions,
            execution_time,
            full: state.opening == 0 && (state.size >= state.max_size || in_front > 0 && !engine.is_scarce()),
            troubled: samples.paused || seen.open_failures != self.before.open_failures,
        };
        (self.before, self.queue_before, self.waiting_before, self.since) = (seen, queue, waiting, now);
        look
    }
}

/// Acquires that have ended, one way or the other, as far as they wanted a connection.
fn ends(stats: &Stats) -> u64 {
    stats.acquired + stats.timeouts + stats.cancelled + stats.shed + stats.failed
}

/// As it was noted by those whose wait has ended, for each who came.
fn wait(before: &InQueue, now: &InQueue, arrived: u64) -> Duration {
    let arrived = u32::try_from(arrived.max(1)).unwrap_or(u32::MAX);
    now.waited.saturating_sub(before.waited) / arrived
}

/// By Little's law, those who still wait: as many as wait on average, over as many as come.
fn per(arrived: u64, samples: usize) -> usize {
    usize::try_from(arrived.max(1)).unwrap_or(usize::MAX).saturating_mul(samples)
}

/// How many executions have ended, and how long they took together.
fn executions(before: &Stats, now: &Stats) -> (u64, Duration) {
    #[allow(clippy::cast_precision_loss)] // of counts beyond 2^52
    let total = |stats: &Stats| stats.execution.mean.as_secs_f64() * stats.execution.count as f64;
    let count = now.execution.count.saturating_sub(before.execution.count);
    (count, Duration::try_from_secs_f64(total(now) - total(before)).unwrap_or_default())
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss)] // of counts beyond 2^52
fn mean(sum: usize, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}
