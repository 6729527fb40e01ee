//! Random enough to spread things in time.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that differs from call to call and from process to process. Not for secrets.
pub(super) fn random() -> u64 {
    // Each `RandomState` has keys of its own, seeded by the operating system.
    RandomState::new().build_hasher().finish()
}
