//! Random enough to spread things in time.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::counters::Counter;

/// A stream of numbers that look random; the same for the same seed. Not for secrets.
#[derive(Default)]
pub(super) struct Random {
    seed: u64,
    drawn: Counter,
}

impl Random {
    /// The stream of this seed, or one that no other pool has.
    pub(super) fn new(seed: Option<u64>) -> Self {
        // Each `RandomState` has keys of its own, seeded by the operating system.
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { seed, drawn: Counter::default() }
    }

    /// The next number: `SplitMix64` (Steele, Lea, Flood 2014), whose state is a count.
    pub(super) fn next(&self) -> u64 {
        let state = self.seed.wrapping_add(self.drawn.next().wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_a_pool_without_one_has_its_own() {
        let three = |seed| {
            let random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        // The first numbers of the published generator for the seed 0.
        assert_eq!(three(Some(0)), [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
        assert_ne!(three(None), three(None));
    }
}
