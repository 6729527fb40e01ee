//! What is left to chance.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Any number. Each `RandomState` has keys of its own, seeded by the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
