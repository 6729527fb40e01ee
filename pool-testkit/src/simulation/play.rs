//! Plays scenarios, and makes those that fail smaller.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Builder;

use super::demand;
use super::model::Checked;
use super::policies;
use super::scenario::{Scenario, Step, scenarios, step};
use super::settings::settings;
use super::world::World;

/// What these bytes are the seed of, 32 of them at most.
fn drawn<T: std::fmt::Debug>(from: &[u8], strategy: &impl Strategy<Value = T>) -> T {
    let mut seed = [0; 32];
    seed[..from.len()].copy_from_slice(from);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    match strategy.new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)) {
        Ok(tree) => tree.current(),
        Err(reason) => unreachable!("nothing is filtered out: {reason}"),
    }
}

/// One in so many has policies.
const WITH_POLICIES: u64 = 3;
/// One in so many is of a demand that changes, or of a backend that gets slow.
const OF_DEMAND: u64 = 200;

fn is_of_demand(seed: u64) -> bool {
    seed % OF_DEMAND == 150
}

fn scenario_of(seed: u64) -> Scenario {
    let plain = drawn(&seed.to_le_bytes(), &scenarios());
    if seed % WITH_POLICIES == 1 { policies::add_to(plain, seed) } else { plain }
}

/// Plays the scenario that these bytes stand for, a few for each step, with failures where it has panics: for a fuzzer, which leaves steps out and puts others in, and
/// takes every panic for a finding.
///
/// # Errors
///
/// What was wrong, and in which scenario.
pub fn run_bytes(bytes: &[u8]) -> Result<(), String> {
    let mut pieces = bytes.chunks(3);
    let (settings, seed) = drawn(pieces.next().unwrap_or_default(), &(settings(), any::<u64>()));
    let steps = step();
    let mut steps: Vec<_> = pieces.take(LONGEST).map(|piece| drawn(piece, &steps)).collect();
    steps.iter_mut().for_each(Step::take_panics_out);
    let scenario = Scenario { settings, seed, policies: Vec::new(), steps };
    play(&scenario, &mut |_| {}).map_err(|problem| format!("{scenario}{problem}"))
}

/// The most steps that bytes stand for.
const LONGEST: usize = 200;

/// Plays the scenario of a seed.
///
/// # Errors
///
/// What was wrong.
pub fn run(seed: u64) -> Result<(), String> {
    replay(seed, |_| {})
}

/// The scenario of a seed that fails, without the steps that can be left out, and what is wrong then.
pub fn smallest(seed: u64) -> String {
    if is_of_demand(seed) {
        return format!("{:#?}", demand::draw(seed));
    }
    let mut scenario = scenario_of(seed);
    let Err(mut problem) = play(&scenario, &mut |_| {}) else { return "nothing is wrong".to_owned() };
    let mut length = scenario.steps.len();
    while length > 0 {
        let mut from = 0;
        while from < scenario.steps.len() {
            let shorter = scenario.without(from, length);
            match play(&shorter, &mut |_| {}) {
                Ok(()) => from += length,
                Err(found) => (scenario, problem) = (shorter, found),
            }
        }
        length /= 2;
    }
    format!("{scenario}{problem}")
}

/// Plays the scenario of a seed, and tells `say` of every step: what is done, what the backend saw, and how the pool is afterwards.
///
/// # Errors
///
/// What was wrong.
pub fn replay(seed: u64, mut say: impl FnMut(&str)) -> Result<(), String> {
    if is_of_demand(seed) {
        let case = demand::draw(seed);
        return watch(|| on_a_clock(demand::play(&case, &mut say)));
    }
    play(&scenario_of(seed), &mut say)
}

/// A panic is a failure like any other.
fn play(scenario: &Scenario, say: &mut dyn FnMut(&str)) -> Checked {
    watch(|| on_a_clock(play_steps(scenario, say)))
}

/// On one that stands still until everybody waits.
fn on_a_clock(scenario: impl Future<Output = Checked>) -> Checked {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(scenario)
}

fn watch(scenario: impl FnOnce() -> Checked) -> Checked {
    let whole = catch_unwind(AssertUnwindSafe(scenario));
    whole.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// A pool in whose world scenarios are played.
pub(super) trait Played: Sized {
    async fn begin(scenario: &Scenario) -> Result<Self, String>;
    /// Does a step, lets everything come to rest, and checks it.
    async fn step(&mut self, step: &Step) -> Checked;
    /// Everything ends, and nothing may be missing.
    async fn end(&mut self) -> Checked;
    /// Tells of the last step.
    fn describe(&self, say: &mut dyn FnMut(&str));
}

async fn play_steps(scenario: &Scenario, say: &mut dyn FnMut(&str)) -> Checked {
    say(&format!("{:#?}\npolicies: {:?}", scenario.settings, scenario.policies));
    if scenario.policies.is_empty() {
        play_in::<World>(scenario, say).await
    } else {
        play_in::<policies::World>(scenario, say).await
    }
}

async fn play_in<W: Played>(scenario: &Scenario, say: &mut dyn FnMut(&str)) -> Checked {
    let mut world = W::begin(scenario).await?;
    for (number, step) in scenario.steps.iter().enumerate() {
        say(&format!("\n{number}: {step:?}"));
        let outcome = world.step(step).await;
        world.describe(say);
        outcome.map_err(|problem| format!("after step {number}, {step:?}: {problem}"))?;
    }
    say("\nthe end");
    let outcome = world.end().await;
    world.describe(say);
    outcome.map_err(|problem| format!("at the end: {problem}"))
}

impl Played for World {
    async fn begin(scenario: &Scenario) -> Result<Self, String> {
        Self::new(scenario).await
    }

    async fn step(&mut self, step: &Step) -> Checked {
        Self::step(self, step).await
    }

    async fn end(&mut self) -> Checked {
        Self::end(self).await
    }

    fn describe(&self, say: &mut dyn FnMut(&str)) {
        for entry in &self.journal {
            say(&format!("    {} ms: {:?}", self.model.clock.at(entry.at), entry.event));
        }
        say(&format!("  {} ms: {}", self.model.clock.now(), self.pool.state()));
    }
}

impl Scenario {
    /// The same without so many steps.
    fn without(&self, from: usize, length: usize) -> Self {
        let to = (from + length).min(self.steps.len());
        let steps = [&self.steps[..from], &self.steps[to..]].concat();
        Self { steps, ..self.clone() }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}\npolicies: {:?}", self.settings, self.policies)?;
        self.steps.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{number}: {step:?}"))
    }
}
