//! Scenarios with policies: any combination of them on one pool, with everything else that may happen to it.
//!
//! A policy is one file, and one line in [`POLICIES`]. It draws its settings, does something when it is its turn, hears what the backend, hooks and users saw, and says what has to be so when
//! nothing is left to be done. The [stage] has the pool, its users, and what has to be so whatever policies there are.

mod adapt;
mod budget;
mod check;
mod hooks;
mod leaks;
mod schedule;
mod sharing;
mod stage;
mod tags;
mod uncollected;
mod users;
mod world;

use pool_core::{Config, PoolBuilder};

use super::model::Checked;
use super::scenario::{Scenario, Step};
use crate::fake::{Entry, FakeDriver, Ledger};
use crate::random::Random;
use stage::Stage;

pub(super) use world::World;

/// A policy, in one scenario.
trait Policy {
    /// Adds its own to settings that have been drawn: those of the pool at first, and others later.
    fn settings(&self, config: &mut Config, random: &mut Random) {
        let _ = (config, random);
    }

    /// The driver is there, and no pool yet.
    fn prepare(&mut self, driver: &FakeDriver) {
        let _ = driver;
    }

    /// The pool is about to be built.
    fn build(&mut self, builder: PoolBuilder<FakeDriver>, ledger: &Ledger) -> PoolBuilder<FakeDriver> {
        let _ = ledger;
        builder
    }

    /// The pool has been built.
    fn begin(&mut self, stage: &mut Stage) -> Checked {
        let _ = stage;
        Ok(())
    }

    /// A step of its own.
    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked;

    /// Something has happened.
    fn hear(&mut self, stage: &mut Stage, entry: &Entry) -> Checked {
        let _ = (stage, entry);
        Ok(())
    }

    /// Its own users take what has come, if they were woken. `true` if any were.
    fn look(&mut self, stage: &mut Stage) -> Result<bool, String> {
        let _ = stage;
        Ok(false)
    }

    /// Nothing is left to be done, and so many milliseconds have passed without a step.
    fn check(&mut self, stage: &mut Stage, time: u64) -> Checked;

    /// The end is near: nothing fails from now on, and nobody is held up.
    fn calm(&mut self, stage: &mut Stage) {
        let _ = stage;
    }

    /// How many of its own users still wait.
    fn waiting(&self, stage: &Stage) -> usize {
        let _ = stage;
        0
    }
}

/// How a policy is made, from what it draws its settings from.
type Draw = fn(&mut Random) -> Box<dyn Policy>;

/// All of them.
const POLICIES: [Draw; 8] =
    [hooks::draw, schedule::draw, tags::draw, leaks::draw, adapt::draw, budget::draw, uncollected::draw, sharing::draw];

/// Puts some policies in force, one at least, and lets them do something in between.
pub(super) fn add_to(mut scenario: Scenario, seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let all = POLICIES.len();
    while scenario.policies.is_empty() {
        let drawn = (0..all).filter_map(|place| Some((place, random.number())).filter(|(_, number)| number % 2 == 0));
        scenario.policies = drawn.collect();
    }
    for step in std::mem::take(&mut scenario.steps) {
        while random.once_in(2) {
            let (place, _) = scenario.policies[random.size(scenario.policies.len() as u64)];
            scenario.steps.push(Step::Policy(place, random.number()));
        }
        scenario.steps.push(step);
    }
    scenario
}

impl Random {
    /// One of these.
    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64);
        choices[usize::try_from(place).unwrap_or(0)]
    }

    /// A number below `limit`.
    fn size(&mut self, limit: u64) -> usize {
        usize::try_from(self.below(limit)).unwrap_or(0)
    }

    /// `true` once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, once in so many times.
    fn maybe<T: Copy>(&mut self, times: u64, choices: &[T]) -> Option<T> {
        let choice = self.pick(choices);
        self.once_in(times).then_some(choice)
    }
}
