//! What each operation costs, one contender after the other, by criterion. For a change in one of them: criterion compares with its last
//! run. To compare contenders, take the report: a machine is faster in one minute than in the next, and there they take turns.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
mod contenders;
#[cfg(not(feature = "loom"))]
mod polled_once;
#[cfg(not(feature = "loom"))]
#[path = "engine"]
mod engine {
    mod contention;
    mod groups;
    mod primitives;
    mod reconfigure;
    mod turns;

    pub(crate) use self::groups::run;
}

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() {
    engine::run();
}
