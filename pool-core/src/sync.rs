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

/// Lets other threads run before a retry. Under loom this is what keeps a retry loop finite.
pub fn yield_now() {
    #[cfg(feature = "loom")]
    loom::thread::yield_now();
    #[cfg(not(feature = "loom"))]
    std::hint::spin_loop();
}
