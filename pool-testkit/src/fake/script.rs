//! What happens next: written down, or drawn with a seed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::random::Random;

/// A call of the pool to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// `Driver::connect`.
    Connect,
    /// `Driver::inspect`.
    Inspect,
    /// `Driver::reset`.
    Reset,
    /// `Driver::ping`.
    Ping,
    /// `Driver::convert`.
    Convert,
    /// `Driver::close`.
    Close,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Connect, Self::Inspect, Self::Reset, Self::Ping, Self::Convert, Self::Close];
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Succeeds; an inspection tells the truth about the connection.
    Ok,
    /// Fails with an error that may pass; an inspection says `Broken`.
    Fail,
    /// Fails with an error that stays; an inspection says `Broken`.
    FailForGood,
    /// Succeeds after a while of tokio's time; an inspection does not wait.
    Delay(Duration),
    /// Succeeds once [`FakeDriver::let_go`](super::FakeDriver::let_go) allows it; an inspection does not wait.
    Hold,
    /// Never ends; an inspection says `Broken`.
    Hang,
    /// Panics.
    Panic,
}

impl Step {
    /// One of each kind; the delay is of 20 ms.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Fail,
        Self::FailForGood,
        Self::Delay(Duration::from_millis(20)),
        Self::Hold,
        Self::Hang,
        Self::Panic,
    ];
}

/// How often a seeded driver does what, in thousandths; what is left is `Ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    /// [`Step::Fail`].
    pub fail: u16,
    /// [`Step::Delay`] of up to 20 ms.
    pub delay: u16,
    /// [`Step::Hang`].
    pub hang: u16,
    /// [`Step::Panic`].
    pub panic: u16,
}

/// The steps of one kind of call.
#[derive(Debug)]
pub(super) struct Script {
    next: VecDeque<Step>,
    after: Step,
}

impl Default for Script {
    fn default() -> Self {
        Self { next: VecDeque::new(), after: Step::Ok }
    }
}

impl Script {
    pub(super) fn append(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.next.extend(steps);
    }

    pub(super) fn replace(&mut self, after: Step) {
        self.next.clear();
        self.after = after;
    }

    pub(super) fn step(&mut self) -> Step {
        self.next.pop_front().unwrap_or(self.after)
    }
}

/// A seeded source of faults. The same seed and the same order of calls give the same faults.
#[derive(Debug)]
pub(super) struct Dice {
    random: Random,
    odds: Odds,
}

impl Dice {
    pub(super) fn new(seed: u64, odds: Odds) -> Self {
        Self { random: Random::new(seed), odds }
    }

    pub(super) fn step(&mut self) -> Step {
        let delay = Duration::from_millis(self.random.below(20) + 1);
        let mut left = self.random.below(1000);
        let Odds { fail, delay: slow, hang, panic } = self.odds;
        for (odds, step) in [(fail, Step::Fail), (slow, Step::Delay(delay)), (hang, Step::Hang), (panic, Step::Panic)] {
            let odds = u64::from(odds);
            if left < odds {
                return step;
            }
            left -= odds;
        }
        Step::Ok
    }
}
