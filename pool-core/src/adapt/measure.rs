//! What is measured, and what comes of it.

use std::time::Duration;

use super::AdaptConfig;

/// What was seen from one look to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) elapsed: Duration,
    /// The most connections that the pool may have.
    pub(crate) size: usize,
    /// Connections that are kept from callers.
    pub(crate) reserved: usize,
    /// Connections in use, those included that are made ready while somebody waits: on average, and at most as far as was seen.
    pub(crate) in_use: f64,
    pub(crate) peak: usize,
    /// Callers that came, and that were served.
    pub(crate) arrived: u64,
    pub(crate) served: u64,
    /// How long those who came waited, on average.
    pub(crate) wait: Duration,
    /// How many executions have ended, and how long they took, all together.
    pub(crate) executions: u64,
    pub(crate) execution_time: Duration,
    /// Whether there are as many connections as there may be: nobody waits for one that is being opened.
    pub(crate) full: bool,
    /// Whether the pool is paused, its breaker open, or an attempt to open a connection has failed.
    pub(crate) troubled: bool,
}

/// Sums over the last looks: each look counts half of the next one. So one look without a lease that ends says nothing by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    time: f64,
    in_use: f64,
    arrived: f64,
    served: f64,
    executions: f64,
    execution_time: f64,
}

impl Recent {
    #[allow(clippy::cast_precision_loss)] // of counts beyond 2^52
    fn add(&mut self, look: &Look) {
        let add = |sum: &mut f64, value: f64| *sum = *sum / 2.0 + value;
        add(&mut self.time, look.elapsed.as_secs_f64());
        add(&mut self.in_use, look.in_use * look.elapsed.as_secs_f64());
        add(&mut self.arrived, look.arrived as f64);
        add(&mut self.served, look.served as f64);
        add(&mut self.executions, look.executions as f64);
        add(&mut self.execution_time, look.execution_time.as_secs_f64());
    }

    /// How long a connection is held: Little's law. What is in use is counted at every look, while only some of the times of leases are noted.
    fn hold(&self) -> f64 {
        self.in_use / self.served.max(1.0)
    }

    /// How many connections those who come need on average, if they are all served: Little's law, the other way round.
    fn load(&self) -> f64 {
        if self.time > 0.0 { self.arrived / self.time * self.hold() } else { 0.0 }
    }

    fn execution(&self) -> Option<f64> {
        (self.executions >= ENOUGH).then(|| self.execution_time / self.executions)
    }
}

/// So many leases or executions say as much as any number of them.
const ENOUGH: f64 = 10.0;
/// What is usual is known after so many looks with as many.
const KNOWN_AFTER: f64 = 5.0;

/// Whoever takes more than so many times the usual time is slow.
fn limit(config: &AdaptConfig) -> f64 {
    1.0 + f64::from(config.tolerance) / 100.0
}

/// How long something usually takes: an average over long, in which a time without use is left out.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    time: f64,
    looks: f64,
}

impl Usual {
    fn hear(&mut self, time: f64, count: f64, elapsed: f64, config: &AdaptConfig) {
        let weight = (count / ENOUGH).min(1.0);
        if weight <= 0.0 {
            return;
        }
        let lasting = elapsed / config.memory.as_secs_f64();
        // At first the mean of all; from then on what is older counts less and less. What is slow is not usual before it has lasted, however little is known of better times.
        let slow = self.ratio(time).is_some_and(|ratio| ratio > limit(config));
        let share = if slow { lasting } else { lasting.max(1.0 / (self.looks + 1.0)) };
        let share = if self.looks > 0.0 { weight * share.min(1.0) } else { 1.0 };
        self.time += share * (time - self.time);
        self.looks += weight;
    }

    /// How much longer than usual.
    fn ratio(&self, time: f64) -> Option<f64> {
        (self.looks >= KNOWN_AFTER && self.time > 0.0).then(|| time / self.time)
    }
}

/// All that is known of demand and backend.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    recent: Recent,
    hold: Usual,
    execution: Usual,
    reserved: usize,
}

impl Figures {
    pub(super) fn hear(&mut self, look: &Look, config: &AdaptConfig) {
        self.recent.add(look);
        self.reserved = look.reserved;
        let elapsed = look.elapsed.as_secs_f64();
        self.hold.hear(self.recent.hold(), self.recent.served, elapsed, config);
        if let Some(execution) = self.recent.execution() {
            self.execution.hear(execution, ENOUGH, elapsed, config);
        }
    }

    /// How many connections the demand needs: those in use on average, and some for demand that varies, by the rule of the square root.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is finite, not negative, and a size that is too large has its limit
    pub(crate) fn wanted(&self, config: &AdaptConfig) -> usize {
        let load = self.recent.load();
        let headroom = f64::from(config.headroom) / 100.0 * load.sqrt();
        ((load + headroom).ceil() as usize).saturating_add(self.reserved)
    }

    /// How much longer the backend takes than usual, if that is known. Whoever holds connections for longer without using them does not make it slow; but where
    /// nobody notes executions, that cannot be told apart.
    pub(crate) fn slowness(&self) -> Option<f64> {
        let by_execution = self.recent.execution().and_then(|time| self.execution.ratio(time));
        by_execution.or_else(|| self.hold.ratio(self.recent.hold()))
    }

    /// Whether it takes too long for more connections to be of use, if that is known.
    pub(super) fn is_slow(&self, config: &AdaptConfig) -> Option<bool> {
        self.slowness().map(|slowness| slowness > limit(config))
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::try_from_secs_f64(self.recent.hold()).unwrap_or(Duration::MAX)
    }

    pub(crate) fn arrivals(&self) -> f64 {
        if self.recent.time > 0.0 { self.recent.arrived / self.recent.time } else { 0.0 }
    }
}
