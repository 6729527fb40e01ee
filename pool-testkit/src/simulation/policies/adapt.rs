//! An adapter that moves the size: within its bounds and an operator's.

use std::time::Duration;

use pool_core::{AdaptConfig, Adapter};
use tokio::time::Instant;

use super::super::ensure;
use super::super::model::Checked;
use super::Policy;
use super::stage::Stage;
use crate::fake::FakeDriver;
use crate::random::Random;

struct Adapt {
    config: AdaptConfig,
    adapter: Option<Adapter<FakeDriver>>,
    /// The size when nothing was left to be done, and when the adapter looked last.
    size: usize,
    own: usize,
    /// What an operator allows, as far as the adapter has heard of it; and what it will hear of at its next look.
    ceiling: Option<usize>,
    unheard: Option<usize>,
    looked: Option<Instant>,
    changes: u64,
}

fn config(random: &mut Random) -> AdaptConfig {
    let mut config = AdaptConfig::default();
    (config.min_size, config.max_size) = (1 + random.size(3), 3 + random.size(6));
    config.interval = Duration::from_millis(random.pick(&[20, 100, 500]));
    config.target_wait = Duration::from_millis(random.pick(&[1, 10, 50]));
    config.grow_after = random.pick(&[1, 2, 4]);
    config.shrink_after = random.pick(&[1, 3, 10]);
    config.retry_after = random.pick(&[1, 5, 30]);
    config.tolerance = random.pick(&[5, 25, 1000]);
    config
}

pub(super) fn draw(random: &mut Random) -> Box<dyn Policy> {
    let config = config(random);
    Box::new(Adapt { config, adapter: None, size: 0, own: 0, ceiling: None, unheard: None, looked: None, changes: 0 })
}

impl Adapt {
    fn reconfigure(&mut self, stage: &mut Stage, config: AdaptConfig) -> Checked {
        let Some(adapter) = &self.adapter else { return Ok(()) };
        adapter.reconfigure(config.clone()).map_err(|error| error.to_string())?;
        stage.most = stage.most.max(config.max_size);
        (self.config, self.ceiling, self.unheard) = (config, None, None);
        Ok(())
    }

    /// An operator has set these sizes in this step, one after the other.
    fn hear_operator(&mut self, sizes: &[usize]) {
        for size in sizes {
            self.unheard = Some(*size).filter(|size| *size != self.own);
        }
    }

    /// Any size but an operator's is within all bounds, or on its way there.
    fn is_within_bounds(&self, stage: &Stage, size: usize) -> Checked {
        let pool = stage.pool.config();
        let least = self.config.min_size.max(pool.min_size).max(pool.min_idle);
        let most = self.config.max_size.min(self.unheard.or(self.ceiling).unwrap_or(usize::MAX));
        let within = (least.min(most)..=most).contains(&size);
        ensure!(within, "the size was set to {size}, which is not within {least} and {most}");
        Ok(())
    }
}

impl Policy for Adapt {
    fn begin(&mut self, stage: &mut Stage) -> Checked {
        self.adapter = Some(stage.pool.adapt(self.config.clone()).map_err(|error| error.to_string())?);
        (stage.is_adapted, stage.most, self.size) = (true, self.config.max_size, stage.config.max_size);
        self.own = self.size;
        Ok(())
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        match random.below(6) {
            0 => self.reconfigure(stage, config(random)),
            _ => stage.acquire(1 + random.below(2000), false),
        }
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        let Some(adapter) = &self.adapter else { return Ok(()) };
        let (report, size) = (adapter.report(), stage.pool.config().max_size);
        let sizes = std::mem::take(&mut stage.sizes);
        let before = sizes.last().copied().unwrap_or(self.size);
        self.hear_operator(&sizes);
        if size != before {
            ensure!(report.changes > self.changes, "the size is {size} instead of {before}, and nobody has set it");
            self.is_within_bounds(stage, size)?;
        }
        if self.looked.replace(report.at).is_some_and(|looked| looked != report.at) {
            (self.ceiling, self.unheard, self.own) = (self.unheard.or(self.ceiling), None, size);
        }
        (self.size, self.changes) = (size, report.changes);
        Ok(())
    }

    /// The pool keeps the size that it has.
    fn calm(&mut self, stage: &mut Stage) {
        self.adapter = None;
        stage.config.max_size = stage.pool.config().max_size;
    }
}
