//! The atomics of what has a model, which has others in the place of these.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The ordering of the place `name`, which `.ci/mutants` weakens in the models.
#[inline(always)]
pub(crate) const fn order(_name: &'static str, ordering: Ordering) -> Ordering {
    ordering
}
