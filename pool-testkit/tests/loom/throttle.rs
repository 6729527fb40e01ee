//! What lets some pass of those that come at once: one does in each interval, and each of the others is counted once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pool_core::internals::Throttle;

use crate::common::race;

const INTERVAL: Duration = Duration::from_secs(10);

/// A throttle, and what those have come to know who have asked it, out of sight of the model.
struct Gatekeeper {
    throttle: Throttle,
    asked: AtomicU64,
    passed: AtomicU64,
    told: AtomicU64,
}

impl Gatekeeper {
    fn letting_pass(at_once: u32) -> Self {
        let throttle = Throttle::new(INTERVAL, at_once);
        Self { throttle, asked: 0.into(), passed: 0.into(), told: 0.into() }
    }

    fn ask(&self, now: Duration) {
        self.asked.fetch_add(1, Relaxed);
        if let Some(left_out) = self.throttle.ask(now) {
            self.passed.fetch_add(1, Relaxed);
            self.told.fetch_add(left_out, Relaxed);
        }
    }

    /// How many have passed. The next one that does has been told of all the others.
    fn settle(self) -> u64 {
        let passed = self.passed.load(Relaxed);
        self.ask(100 * INTERVAL);
        let (asked, told) = (self.asked.load(Relaxed), self.told.load(Relaxed));
        assert_eq!(passed + 1 + told, asked, "each has passed, or was counted once");
        passed
    }
}

fn now(gatekeeper: &Gatekeeper) {
    gatekeeper.ask(Duration::ZERO);
}

/// When the next one may pass.
fn later(gatekeeper: &Gatekeeper) {
    gatekeeper.ask(INTERVAL);
}

#[test]
fn of_those_that_come_at_once_one_passes_and_none_is_forgotten() {
    race(3, || Gatekeeper::letting_pass(1), [now, now, now], |gatekeeper| assert_eq!(gatekeeper.settle(), 1));
}

#[test]
fn no_more_pass_at_once_than_may() {
    race(3, || Gatekeeper::letting_pass(2), [now, now, now], |gatekeeper| assert_eq!(gatekeeper.settle(), 2));
}

/// One who passes takes the count while others are added to it. Who has looked at the clock long ago does not pass after one who has looked since.
#[test]
fn who_is_counted_while_one_passes_is_told_of_later() {
    race(
        3,
        || {
            let gatekeeper = Gatekeeper::letting_pass(1);
            now(&gatekeeper);
            now(&gatekeeper);
            gatekeeper
        },
        [later, later, now],
        |gatekeeper| assert_eq!(gatekeeper.settle(), 2),
    );
}
