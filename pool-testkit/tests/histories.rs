//! Threads use a pool at the same time, and whatever they are told has to be explained by calls that come one after the other.
//!
//! `POOL_HISTORIES=N` runs N programs (default 400), `POOL_SEED=S` those of a failed run; a failure prints both and the history.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "histories/checker.rs"]
mod checker;
#[path = "histories/history.rs"]
mod history;
#[path = "histories/known.rs"]
mod known;
#[path = "histories/oracle.rs"]
mod oracle;
#[path = "histories/person.rs"]
mod person;
#[path = "histories/program.rs"]
mod program;
#[path = "histories/run.rs"]
mod run;

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// How often each program runs: threads never meet twice in the same way.
const ROUNDS: usize = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn threads_see_a_pool_that_serves_one_call_after_the_other() {
    let seed = number("POOL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let programs = u32::try_from(number("POOL_HISTORIES").unwrap_or(400)).unwrap();
    let config =
        Config { cases: programs, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&program::programs(), |program| {
        for history in run::run(&program, ROUNDS) {
            let history = history.in_steps();
            checker::check(&history).map_err(|order| TestCaseError::fail(complaint(&history, &order)))?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("POOL_SEED={seed} POOL_HISTORIES={programs}\n{error}");
    }
}

fn complaint(history: &history::History, order: &[usize]) -> String {
    let order: Vec<_> = order.iter().map(|event| history.events[*event].call).collect();
    format!("no order of these calls explains their answers:\n{history}as far as it goes: {order:#?}")
}
