//! The one place that knows whether the code runs for real or under the model checker.
//!
//! Everything below layer 2 takes its atomics, cells and locks from here. With the feature `loom` they are loom's, so the models
//! explore every interleaving and every reordering the memory model allows; without it they are the standard library's.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
