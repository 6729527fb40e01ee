//! What happens to a pool, drawn at random.

use proptest::prelude::*;

use super::settings::settings;
use crate::fake::{Call, Odds, Step as Fault};
use pool_core::Config;

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Clean,
    Dirty,
    Broken,
    Discarded,
    /// Out of the pool.
    Detached,
    /// Out of the pool, and back into it.
    Moved,
}

/// One step; times are in milliseconds. Places are taken modulo what there is; a step that finds nothing to do does nothing.
#[derive(Clone, Debug)]
pub(super) enum Step {
    TryAcquire,
    /// An acquire with this limit. One that is slow does not take what it has been woken for until it looks.
    Acquire {
        limit: u64,
        slow: bool,
    },
    /// The slow waiter at this place takes what it has been woken for.
    Look(usize),
    /// The waiter at this place is dropped, or the one who watches if nobody waits.
    Cancel(usize),
    /// The lease at this place ends.
    Release(usize, End),
    /// A connection comes from elsewhere.
    Adopt,
    /// The connection at this place is to go.
    Evict(usize),
    RetireAll,
    RetireAllOver(u64),
    RetireHost(usize),
    Pause,
    Resume,
    /// Somebody waits until the minimum is there.
    Ready(u64),
    WarmUp {
        size: usize,
        interval: u64,
        limit: u64,
    },
    /// Somebody waits until nothing is leased.
    Drain,
    Reconfigure(Box<Config>),
    /// The next call of this kind goes like this.
    Fault(Call, Fault),
    /// All calls of this kind go like this.
    Outage(Call, Fault),
    /// All calls fail at random.
    Storm(u64, Odds),
    /// All calls succeed.
    Calm,
    /// Time passes, and everything that happens then happens at its moment.
    Sleep(u64),
    /// The clock jumps, as after a suspension of the machine.
    Jump(u64),
    Close,
    CloseWithin(u64),
    /// The policy at this place in the [table](super::policies::POLICIES) does something: what, it draws from this.
    Policy(usize, u64),
}

impl Step {
    pub(super) fn take_panics_out(&mut self) {
        match self {
            Self::Fault(_, fault) | Self::Outage(_, fault) if *fault == Fault::Panic => *fault = Fault::Fail,
            Self::Storm(_, odds) => odds.panic = 0,
            _ => {}
        }
    }
}

/// A pool and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) settings: Config,
    /// Of what the pool leaves to chance.
    pub(super) seed: u64,
    /// The policies in force, by their places in the [table](super::policies::POLICIES), and what each draws its settings from.
    pub(super) policies: Vec<(usize, u64)>,
    pub(super) steps: Vec<Step>,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        12 => Just(End::Clean),
        4 => Just(End::Dirty),
        2 => Just(End::Broken),
        1 => Just(End::Discarded),
        1 => Just(End::Detached),
        1 => Just(End::Moved),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        5 => Just(Call::Connect),
        1 => Just(Call::Inspect),
        2 => Just(Call::Reset),
        2 => Just(Call::Ping),
        2 => Just(Call::Close),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::Fail),
        1 => Just(Fault::FailForGood),
        3 => (1..200_u64).prop_map(|time| Fault::Delay(std::time::Duration::from_millis(time))),
        2 => Just(Fault::Hang),
        1 => Just(Fault::Panic),
    ]
}

fn odds() -> impl Strategy<Value = Odds> {
    (0..100_u16, 0..200_u16, 0..30_u16, 0..30_u16).prop_map(|(fail, delay, hang, panic)| Odds {
        fail,
        delay,
        hang,
        panic,
    })
}

fn limit() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..100_u64, 2 => 100..3000_u64, 1 => 3000..100_000_u64]
}

fn callers() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::TryAcquire),
        15 => (limit(), prop::bool::weighted(0.2)).prop_map(|(limit, slow)| Step::Acquire { limit, slow }),
        4 => any::<usize>().prop_map(Step::Look),
        4 => any::<usize>().prop_map(Step::Cancel),
        14 => (any::<usize>(), end()).prop_map(|(place, end)| Step::Release(place, end)),
    ]
}

fn operators() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Adopt),
        4 => any::<usize>().prop_map(Step::Evict),
        2 => Just(Step::RetireAll),
        2 => (1..5000_u64).prop_map(Step::RetireAllOver),
        2 => (0..2_usize).prop_map(Step::RetireHost),
        2 => Just(Step::Pause),
        4 => Just(Step::Resume),
        2 => limit().prop_map(Step::Ready),
        2 => (0..9_usize, 0..200_u64, limit()).prop_map(|(size, interval, limit)| Step::WarmUp { size, interval, limit }),
        2 => Just(Step::Drain),
        7 => settings().prop_map(|settings| Step::Reconfigure(Box::new(settings))),
    ]
}

fn surroundings() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (call(), fault()).prop_map(|(call, fault)| Step::Fault(call, fault)),
        1 => (call(), fault()).prop_map(|(call, fault)| Step::Outage(call, fault)),
        1 => (any::<u64>(), odds()).prop_map(|(seed, odds)| Step::Storm(seed, odds)),
        3 => Just(Step::Calm),
        5 => (1..100_u64).prop_map(Step::Sleep),
        4 => (100..5000_u64).prop_map(Step::Sleep),
        1 => (5000..20_000_u64).prop_map(Step::Sleep),
        1 => prop_oneof![1..1000_u64, 1000..10_000_000_u64].prop_map(Step::Jump),
    ]
}

fn of_an_open_pool() -> impl Strategy<Value = Step> {
    prop_oneof![10 => callers(), 3 => operators(), 3 => surroundings()]
}

fn close() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Close), (1..2000_u64).prop_map(Step::CloseWithin)]
}

/// Any step.
pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![99 => of_an_open_pool(), 1 => close()]
}

/// A pool and some steps; with a third of them the pool is closed in between.
pub(super) fn scenarios() -> impl Strategy<Value = Scenario> {
    let steps = |most| prop::collection::vec(of_an_open_pool(), 0..most);
    let close = prop::option::weighted(0.33, (close(), steps(15)));
    (settings(), any::<u64>(), steps(70), close).prop_map(|(settings, seed, mut steps, close)| {
        if let Some((close, after)) = close {
            steps.push(close);
            steps.extend(after);
        }
        Scenario { settings, seed, policies: Vec::new(), steps }
    })
}
