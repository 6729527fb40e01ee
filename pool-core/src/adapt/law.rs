//! The law: when a pool grows, and when it shrinks.

use super::{AdaptConfig, AdaptReason, Figures, Look};

/// Between which sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Limits {
    pub(crate) fn fit(self, size: usize) -> usize {
        // An operator's limit may be below the minimum, and counts for more.
        size.max(self.min).min(self.max)
    }
}

/// What is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) size: usize,
    pub(crate) reason: AdaptReason,
}

/// Looks in a row in which callers waited.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    looks: u32,
    time: f64,
    served: u64,
}

impl Waiting {
    fn add(&mut self, look: &Look) {
        self.looks = self.looks.saturating_add(1);
        self.time += look.elapsed.as_secs_f64();
        self.served = self.served.saturating_add(look.served);
    }

    #[allow(clippy::cast_precision_loss)] // of counts beyond 2^52
    fn rate(&self) -> f64 {
        if self.time > 0.0 { self.served as f64 / self.time } else { 0.0 }
    }
}

/// Looks in a row in which nobody did.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    looks: u32,
    needed: usize,
}

/// Growth of which it is not known yet whether it is of use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) from: usize,
    pub(super) to: usize,
    /// How many were served in a second before.
    rate: f64,
    age: u32,
    /// Whether the connections are there that the pool has grown by.
    settled: bool,
    /// Since then.
    since: Waiting,
    in_use: f64,
}

/// What comes of a trial.
enum Verdict {
    Open,
    OfUse,
    InVain,
}

impl Trial {
    fn new(from: usize, to: usize, rate: f64) -> Self {
        Self { from, to, rate, age: 0, settled: false, since: Waiting::default(), in_use: 0.0 }
    }

    fn hear(&mut self, look: &Look, waits: bool) -> Verdict {
        self.age += 1;
        if !self.settled && self.age < PATIENCE {
            // The look in which the last one was opened says little, too.
            self.settled = look.full;
            return Verdict::Open;
        }
        if look.full && !waits {
            return Verdict::OfUse;
        }
        self.since.add(look);
        self.in_use += look.in_use * look.elapsed.as_secs_f64();
        let enough = self.since.looks >= 2 && self.since.served >= 100;
        if enough || self.age >= PATIENCE { self.judge(look) } else { Verdict::Open }
    }

    /// Whether at least half of the connections that came do as much as those before. If they are not in use all the time, callers come in bursts, and more
    /// connections let them wait for less time without serving more of them.
    #[allow(clippy::cast_precision_loss)] // of sizes
    fn judge(&self, look: &Look) -> Verdict {
        let has_spare =
            self.in_use / self.since.time.max(f64::MIN_POSITIVE) < 0.9 * look.size as f64 - look.reserved as f64;
        let growth = self.to as f64 / self.from.max(1) as f64;
        let needed = self.rate * (1.0 + (growth - 1.0) / 2.0);
        if has_spare || self.since.rate() >= needed { Verdict::OfUse } else { Verdict::InVain }
    }
}

/// So many looks decide on growth, at the latest.
const PATIENCE: u32 = 10;
/// For so many looks after the last trouble nothing is decided.
const CALM: u32 = 5;

/// Decides, from look to look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Law {
    figures: Figures,
    waiting: Waiting,
    quiet: Quiet,
    pub(super) trial: Option<Trial>,
    /// Looks until something may be decided, and until the pool may grow.
    calm: u32,
    pause: u32,
    /// How often in a row growth was in vain.
    in_vain: u32,
}

impl Law {
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Hears what was seen, and says what size is to be.
    pub(crate) fn look(&mut self, look: &Look, limits: Limits, config: &AdaptConfig) -> Decision {
        self.pause = self.pause.saturating_sub(1);
        if self.is_troubled(look) {
            (self.waiting, self.quiet) = (Waiting::default(), Quiet::default());
            return Decision { size: look.size, reason: AdaptReason::Trouble };
        }
        self.figures.hear(look, config);
        let size = limits.fit(look.size);
        if size != look.size {
            (self.waiting, self.quiet, self.trial) = (Waiting::default(), Quiet::default(), None);
            return Decision { size, reason: AdaptReason::Limits };
        }
        let waits = look.full && look.wait > config.target_wait;
        self.count(look, waits, config);
        let decided = self.try_on(look, waits, config).or_else(|| self.grow(look, limits, config));
        let decided = decided.or_else(|| self.shrink(look, limits, config));
        decided.unwrap_or(Decision { size, reason: AdaptReason::Enough })
    }

    fn is_troubled(&mut self, look: &Look) -> bool {
        self.calm = if look.troubled { CALM } else { self.calm.saturating_sub(1) };
        self.calm > 0
    }

    fn count(&mut self, look: &Look, waits: bool, config: &AdaptConfig) {
        if waits {
            self.waiting.add(look);
        } else {
            self.waiting = Waiting::default();
        }
        if look.wait <= config.target_wait / 2 {
            let needed = self.figures.wanted(config).max(look.peak.saturating_add(look.reserved));
            self.quiet = Quiet { looks: self.quiet.looks.saturating_add(1), needed: self.quiet.needed.max(needed) };
        } else {
            self.quiet = Quiet::default();
        }
    }

    /// Sees whether the last growth was of use, and takes it back if not.
    fn try_on(&mut self, look: &Look, waits: bool, config: &AdaptConfig) -> Option<Decision> {
        // Somebody else may have set another size meanwhile.
        let mut trial = self.trial.take().filter(|trial| trial.to == look.size)?;
        match trial.hear(look, waits) {
            Verdict::Open => {
                self.trial = Some(trial);
                Some(Decision { size: look.size, reason: AdaptReason::Trying })
            }
            Verdict::OfUse => {
                self.in_vain = 0;
                None
            }
            Verdict::InVain => {
                self.pause = config.retry_after.saturating_mul(1 << self.in_vain.min(5));
                self.in_vain = self.in_vain.saturating_add(1);
                self.waiting = Waiting::default();
                Some(Decision { size: trial.from, reason: AdaptReason::InVain })
            }
        }
    }

    fn grow(&mut self, look: &Look, limits: Limits, config: &AdaptConfig) -> Option<Decision> {
        if self.waiting.looks < config.grow_after {
            return None;
        }
        let Some(reason) = self.objection(look, limits, config) else {
            // By half at once, at most: each step has to prove itself.
            let (least, most) = (look.size + 1, look.size + (look.size / 2).max(1));
            let size = self.figures.wanted(config).clamp(least, most).min(limits.max);
            self.trial = Some(Trial::new(look.size, size, self.waiting.rate()));
            self.waiting = Waiting::default();
            return Some(Decision { size, reason: AdaptReason::Waits });
        };
        if reason == AdaptReason::Slow {
            // What was counted while it was slow does not count once it is not.
            self.waiting = Waiting::default();
        }
        Some(Decision { size: look.size, reason })
    }

    /// What speaks against growth, though callers wait.
    fn objection(&self, look: &Look, limits: Limits, config: &AdaptConfig) -> Option<AdaptReason> {
        // A twentieth may be chance.
        let drains = look.arrived < look.served - look.served / 20;
        match self.figures.is_slow(config) {
            None => Some(AdaptReason::Learning),
            Some(true) => Some(AdaptReason::Slow),
            Some(false) if look.size >= limits.max => Some(AdaptReason::AtMaximum),
            Some(false) if self.pause > 0 => Some(AdaptReason::NotAgain),
            Some(false) => drains.then_some(AdaptReason::Draining),
        }
    }

    fn shrink(&mut self, look: &Look, limits: Limits, config: &AdaptConfig) -> Option<Decision> {
        if self.quiet.looks < config.shrink_after {
            return None;
        }
        let spare = look.size.saturating_sub(self.quiet.needed);
        self.quiet = Quiet::default();
        // By half of what is spare; and a little of it is kept, so that it does not grow again at once.
        let size = limits.fit(look.size - spare.div_ceil(2));
        let shrinks = size < look.size && spare > (look.size / 8).max(1);
        shrinks.then_some(Decision { size, reason: AdaptReason::Quiet })
    }
}
