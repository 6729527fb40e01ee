//! The task that samples.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::window::{HistoryPoint, Window};
use super::{Memory, ObserveConfig, locked};
use crate::brief::Brief;
use crate::counters::Throttle;
use crate::driver::Driver;
use crate::engine::{Engine, report};

/// So often the pool is glanced at within an interval, and once a second at most.
const GLANCES: u32 = 10;
/// A warning of the same kind is not repeated before.
const QUIET: Duration = Duration::from_mins(1);

/// Samples until the pool is closed, or the task is aborted.
pub(super) fn spawn<D: Driver>(
    engine: &Arc<Engine<D>>,
    memory: &Arc<Mutex<Memory>>,
    config: &ObserveConfig,
) -> AbortHandle {
    let sampler = Sampler {
        engine: Arc::clone(engine),
        memory: Arc::clone(memory),
        window: Window::new(engine),
        config: config.clone(),
        warnings: Throttle::new(QUIET, 1),
    };
    tokio::spawn(sampler.run()).abort_handle()
}

/// From one glance to the next: a whole number of them make an interval.
fn pace(interval: Duration) -> Duration {
    let glances = u32::try_from(interval.as_secs()).map_or(GLANCES, |seconds| seconds.clamp(1, GLANCES));
    interval / glances
}

struct Sampler<D: Driver> {
    engine: Arc<Engine<D>>,
    memory: Arc<Mutex<Memory>>,
    window: Window<D>,
    config: ObserveConfig,
    /// Of how much is in use.
    warnings: Throttle,
}

impl<D: Driver> Sampler<D> {
    async fn run(mut self) {
        let pace = pace(self.config.interval);
        let (mut glances, mut last) = (interval(pace), Instant::now());
        // One that comes late does not put off the others, or samples would come ever later.
        glances.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.engine.is_closed() {
            // Owned across the await: nothing but what the task has anyway.
            glances.tick().await;
            // One that comes a moment too early since the last one was late is the one that is due.
            if last.elapsed() + pace / 2 >= self.config.interval {
                last = Instant::now();
                self.sample();
            } else {
                self.window.glance();
            }
            locked(&self.memory).read(&self.engine);
        }
        self.sample();
    }

    fn sample(&mut self) {
        let mut point = self.window.step();
        self.tell_of_timeouts(&point);
        self.warn(&point);
        let mut memory = locked(&self.memory);
        point.health = memory.health.as_ref().map(|health| health());
        memory.remember(point, self.config.history);
        memory.read(&self.engine);
    }

    /// One line for all of a sample, and one entry for all samples: who asks in vain may ask often.
    fn tell_of_timeouts(&self, point: &HistoryPoint) {
        if point.timeouts > 0 {
            let HistoryPoint { timeouts, over, waiting, .. } = point;
            let acquires = if *timeouts == 1 { "acquire has" } else { "acquires have" };
            let (over, callers) = (Brief(*over), if *waiting == 1 { "caller waits" } else { "callers wait" });
            let what = format_args!("{timeouts} {acquires} timed out in the last {over}; {waiting} {callers} now");
            self.engine.write_down_about("acquire", "timeouts".to_owned(), &what);
        }
    }

    fn warn(&self, point: &HistoryPoint) {
        if point.peak * 100.0 <= f64::from(self.config.utilisation) {
            return;
        }
        let Some(left_out) = self.warnings.ask(self.engine.uptime()) else { return };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to some hundred
        let (percent, pool) = ((point.peak * 100.0).round() as u32, self.config.name.as_str());
        report(|| {
            tracing::warn!(
                pool,
                percent,
                waiting = point.waiting,
                suppressed = (left_out > 0).then_some(left_out),
                "most connections of a pool are in use"
            );
        });
    }
}
