//! A deadline is one, whatever the pool is doing and whatever goes wrong.

use std::time::Duration;

use pool_core::AcquireError;
use pool_testkit::fake::{Call, Step};
use tokio::time::{Instant, timeout};

use crate::situations::{SITUATIONS, Situation};
use crate::world::{AGES, Label, SOON, World, runtime};

/// None at all, before and in the instant when things happen, after it, and after all budgets of the driver's calls.
const DEADLINES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(1),
    SOON,
    Duration::from_millis(25),
    Duration::from_secs(5),
    Duration::from_secs(17),
];

/// What became of one that had so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Served,
    TimedOut,
    Told,
}

/// Acquires with a deadline, on a clock that stands still until everybody waits, so that what is asserted is exact.
async fn play(situation: &Situation, (call, step): (Call, Step), deadline: Duration) -> Outcome {
    let world = World::new(situation.max_size, situation.config);
    let leases = (situation.arrange)(world.clone()).await;
    world.disturb(call, step);
    let meanwhile = tokio::spawn((situation.meanwhile)(world.clone(), leases));
    let came = Instant::now();
    let outcome = timeout(AGES, world.pool.acquire_timeout(deadline)).await.expect("it ends");
    let took = came.elapsed();
    assert!(took <= deadline, "{took:?} of {deadline:?}: {:?}", outcome.map(drop));
    let outcome = match outcome.map(drop) {
        Ok(()) => Outcome::Served,
        Err(AcquireError::Timeout { situation, .. }) => {
            assert_eq!((took, situation.waited), (deadline, deadline), "not before its time, and it says so");
            Outcome::TimedOut
        }
        Err(AcquireError::Closed | AcquireError::OpenFailed { .. } | AcquireError::BreakerOpen { .. }) => Outcome::Told,
        Err(error) => panic!("{error}"),
    };
    // Whatever still waits for the driver goes on.
    world.calm(call).await;
    meanwhile.await.unwrap();
    outcome
}

#[test]
fn no_acquire_outlives_its_deadline_whatever_goes_wrong() {
    let mut outcomes = Vec::new();
    for situation in &SITUATIONS {
        for (call, step) in Call::ALL.into_iter().flat_map(|call| Step::ALL.map(|step| (call, step))) {
            for deadline in DEADLINES {
                let _label = Label::new(format!("{deadline:?} while {}, {call:?} {step:?}", situation.name));
                outcomes.push(runtime().block_on(play(situation, (call, step), deadline)));
            }
        }
    }
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let counts = [Outcome::Served, Outcome::TimedOut, Outcome::Told].map(count);
    println!("served, timed out, told why not: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), SITUATIONS.len() * Call::ALL.len() * Step::ALL.len() * DEADLINES.len());
    assert!(counts.iter().all(|count| *count >= 20), "each of them happens: {counts:?}");
}
