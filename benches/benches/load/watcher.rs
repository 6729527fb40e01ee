//! Looks at the pool and the process every ten milliseconds, and says now and then how it goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::callers::Callers;
use super::memory::resident;
use super::phase::Phase;
use super::site::CONNECTIONS;

const EVERY: Duration = Duration::from_millis(10);
const PROGRESS: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    samples: usize,
    leased: usize,
    pub(crate) most_waiting: usize,
    /// When the first tenth of the time was over, in MiB.
    pub(crate) resident_early: f64,
    pub(crate) resident_most: f64,
}

impl Watched {
    /// The share of the connections that were in use, on the average.
    pub(crate) fn utilisation(&self) -> f64 {
        ratio(self.leased, self.samples * CONNECTIONS)
    }

    /// Watches from `started` until `until`.
    pub(crate) async fn over(callers: Arc<Callers>, phase: Phase, started: Instant, until: Instant) -> Self {
        let (mut seen, mut tick) = (Self::default(), interval(EVERY));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let early = started + (until - started) / 10;
        let mut said = started;
        while Instant::now() < until {
            tick.tick().await;
            seen.look(&callers, Instant::now() < early);
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                seen.say(&callers, phase, started.elapsed(), until - started);
            }
        }
        seen
    }

    fn look(&mut self, callers: &Callers, is_early: bool) {
        let (state, resident) = (callers.site.pool.state(), resident());
        self.samples += 1;
        self.leased += state.leased;
        self.most_waiting = self.most_waiting.max(state.waiting);
        self.resident_most = self.resident_most.max(resident);
        if is_early {
            self.resident_early = self.resident_most;
        }
    }

    fn say(&self, callers: &Callers, phase: Phase, passed: Duration, of: Duration) {
        let stats = callers.site.retrier.stats();
        let given_up: u64 = stats.given_up().map(|(_, count)| count).sum();
        eprintln!(
            "{}: {} of {} s, {} operations, {given_up} failed, {} attempts, {:.0} MiB",
            phase.name,
            passed.as_secs(),
            of.as_secs(),
            callers.begun(),
            stats.attempts,
            self.resident_most
        );
    }
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
