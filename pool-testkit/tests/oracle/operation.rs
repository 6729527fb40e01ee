//! What happens to a pool.

use pool_core::IdleOrder;
use pool_testkit::fake::Call;
use proptest::prelude::*;

/// How a lease ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Clean,
    Dirty,
    Broken,
    Discarded,
}

/// The settings that change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) max: usize,
    pub(crate) min: usize,
    pub(crate) openers: usize,
    pub(crate) order: IdleOrder,
}

/// One step. Places are taken modulo what there is; a step that has nothing to do it to does nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// `true`: the first idle connection it comes to turns out to be broken.
    TryAcquire(bool),
    /// An acquire with a limit of so many units of time is polled for the first time; `true`: as above.
    Join(u64, bool),
    /// The waiter at this place is polled.
    Look(usize),
    /// It is dropped.
    Cancel(usize),
    /// The lease at this place is dropped.
    Release(usize, End),
    Resize(Sizes),
    /// All connections are to be replaced.
    Replace,
    /// Calls of this kind stand still from now on.
    Hold(Call),
    /// The one that has stood still for longest goes on.
    LetOne(Call),
    /// All go on, and later ones do not stand still.
    LetAll(Call),
    /// So many units of time pass.
    Sleep(u64),
    Close,
}

fn held() -> impl Strategy<Value = Call> {
    prop_oneof![3 => Just(Call::Connect), 1 => Just(Call::Reset), 2 => Just(Call::Close)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![5 => Just(End::Clean), 2 => Just(End::Dirty), 1 => Just(End::Broken), 1 => Just(End::Discarded)]
}

pub(crate) fn sizes() -> impl Strategy<Value = Sizes> {
    let order = prop_oneof![Just(IdleOrder::Recent), Just(IdleOrder::Fifo), Just(IdleOrder::LeastRecentlyUsed)];
    (1..=5_usize, order)
        .prop_flat_map(|(max, order)| (Just(max), 0..=max.min(2), 1..=max, Just(order)))
        .prop_map(|(max, min, openers, order)| Sizes { max, min, openers, order })
}

fn operation() -> impl Strategy<Value = Operation> {
    let rarely = || prop::bool::weighted(0.1);
    prop_oneof![
        4 => rarely().prop_map(Operation::TryAcquire),
        14 => (1..20_u64, rarely()).prop_map(|(limit, broken)| Operation::Join(limit, broken)),
        8 => any::<usize>().prop_map(Operation::Look),
        5 => any::<usize>().prop_map(Operation::Cancel),
        14 => (any::<usize>(), end()).prop_map(|(place, end)| Operation::Release(place, end)),
        3 => sizes().prop_map(Operation::Resize),
        1 => Just(Operation::Replace),
        2 => held().prop_map(Operation::Hold),
        3 => held().prop_map(Operation::LetOne),
        2 => held().prop_map(Operation::LetAll),
        4 => (0..10_u64).prop_map(Operation::Sleep),
    ]
}

/// Many steps, some of them after a close.
pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let some = |most| prop::collection::vec(operation(), 0..most);
    let close = prop::option::weighted(0.3, some(20));
    (some(80), close).prop_map(|(mut operations, close)| {
        if let Some(after) = close {
            operations.push(Operation::Close);
            operations.extend(after);
        }
        operations
    })
}
