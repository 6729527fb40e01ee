//! Connections that a waiter does not come for, and that are taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use pool_core::Config;

use super::super::clock::{interval_of, millis};
use super::super::ensure;
use super::super::model::Checked;
use super::Policy;
use super::stage::Stage;
use crate::random::Random;

#[derive(Default)]
struct Uncollected {
    /// Since when those who were woken have not looked, by when they came.
    aside: BTreeMap<u64, u64>,
    /// Whether anything has ever been taken back by the settings.
    was_set: bool,
}

pub(super) fn draw(_: &mut Random) -> Box<dyn Policy> {
    Box::<Uncollected>::default()
}

impl Uncollected {
    /// Notes who has just been woken and does not look.
    fn follow(&mut self, stage: &Stage) {
        let now = stage.clock.now();
        let woken = |waiter: &&super::users::Waiter| waiter.acquire.woken().is_some();
        let there: Vec<_> = stage.waiters.iter().filter(woken).map(|waiter| waiter.joined).collect();
        self.aside.retain(|joined, _| there.contains(joined));
        for joined in there {
            self.aside.entry(joined).or_insert(now);
        }
    }

    /// How many may have something by now that has not been taken back.
    fn may_have(&self, stage: &Stage, limit: u64) -> usize {
        let latest = stage.clock.now().saturating_sub(limit + 2 * interval_of(&stage.config) + 100);
        // Seen first in a round, of which there was none while the clock jumped.
        let seen = |since: u64| since.max(stage.jumped_at.unwrap_or(0));
        let may_have = |since: &&u64| seen(**since) >= latest || **since < stage.configured_at;
        self.aside.values().filter(may_have).count()
    }
}

impl Policy for Uncollected {
    fn settings(&self, config: &mut Config, random: &mut Random) {
        config.collect_within = random.maybe(2, &[50, 300, 2000]).map(Duration::from_millis);
    }

    /// Other limits, or somebody who takes his time.
    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        if random.once_in(2) {
            return stage.acquire(random.below(4000) + 1, true);
        }
        let mut config = stage.config.clone();
        config.max_size = stage.pool.config().max_size;
        self.settings(&mut config, random);
        stage.reconfigure(config)
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        self.follow(stage);
        self.was_set |= stage.config.collect_within.is_some();
        let (taken, leased) = (stage.pool.stats().uncollected, stage.pool.state().leased);
        ensure!(self.was_set || taken == 0, "{taken} were taken back from nobody");
        let Some(limit) = stage.config.collect_within.map(millis) else { return Ok(()) };
        if stage.paused || stage.closed || stage.is_prepared || !stage.is_steady() {
            return Ok(());
        }
        let most = stage.in_use() + self.may_have(stage, limit) + stage.partial;
        ensure!(
            leased <= most,
            "{most} may have a connection, {leased} are leased: what others left is not taken back"
        );
        Ok(())
    }
}
