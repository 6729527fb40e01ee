//! What the threads of a history are to do.

use proptest::prelude::*;

/// What a thread does next. One that has nothing to do it to is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    TryAcquire,
    Join,
    /// The waiter of this thread at this place is polled.
    Look(usize),
    /// It is dropped.
    Cancel(usize),
    /// The lease of this thread at this place.
    Release(usize),
    Discard(usize),
    Resize(usize),
    Replace,
    Close,
}

/// A step, and for how many turns of an empty loop the thread pauses before it, so that calls meet in many ways.
pub(crate) type Paused = (u8, Step);

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) connections: usize,
    /// How many of them are leased when the threads begin, each to the next thread.
    pub(crate) leased: usize,
    pub(crate) threads: Vec<Vec<Paused>>,
}

fn step() -> impl Strategy<Value = Paused> {
    let place = 0..3_usize;
    let step = prop_oneof![
        9 => Just(Step::TryAcquire),
        16 => Just(Step::Join),
        12 => place.clone().prop_map(Step::Look),
        10 => place.clone().prop_map(Step::Cancel),
        18 => place.clone().prop_map(Step::Release),
        3 => place.prop_map(Step::Discard),
        4 => (1..=4_usize).prop_map(Step::Resize),
        2 => Just(Step::Replace),
        1 => Just(Step::Close),
    ];
    let pause = prop_oneof![2 => Just(0), 1 => 0..40_u8];
    (pause, step)
}

/// Two or three threads with three to five steps each, on up to three connections.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let threads = prop::collection::vec(prop::collection::vec(step(), 3..=5), 2..=3);
    let connections = (1..=3_usize).prop_flat_map(|connections| (Just(connections), 0..=connections));
    (connections, threads).prop_map(|((connections, leased), threads)| Program { connections, leased, threads })
}
