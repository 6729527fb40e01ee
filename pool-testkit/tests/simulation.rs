//! Some scenarios of the simulation; `cargo run --release -p pool-testkit --bin simulate` plays any number of them.
#![cfg(not(feature = "loom"))]

use pool_testkit::simulation::{run, smallest};

#[test]
fn the_first_scenarios_pass() {
    for seed in 0..200 {
        run(seed).unwrap_or_else(|problem| panic!("seed {seed} failed {problem}\n{}", smallest(seed)));
    }
}

/// The same seed does the same, or nobody could look at what it did.
#[test]
fn a_scenario_repeats_itself() {
    let told = |seed| {
        let mut lines = Vec::new();
        pool_testkit::simulation::replay(seed, |line| lines.push(line.to_owned())).unwrap();
        lines
    };
    for seed in 0..20 {
        assert_eq!(told(seed), told(seed));
    }
}
