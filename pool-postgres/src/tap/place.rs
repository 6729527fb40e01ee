//! Which requests are whose.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where a request is among all, as far as that can be known by whoever gives it to the client, which has a queue: it is one of the first so many that are sent after these. If more than so many have been
/// sent, one of them is not of those who have a place, and nobody can tell which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) before: u64,
    pub(super) count: u64,
}

impl Place {
    const COUNT: u32 = 16;

    /// As one number, which is not zero.
    pub(super) fn pack(self) -> u64 {
        self.before << Self::COUNT | self.count.min((1 << Self::COUNT) - 1)
    }

    pub(super) fn unpack(packed: u64) -> Self {
        Self { before: packed >> Self::COUNT, count: packed & ((1 << Self::COUNT) - 1) }
    }

    /// The same, for one who has seen that none of the first so many is it.
    pub(crate) fn after(self, answered: u64) -> Self {
        if answered > self.before { Self { before: answered, count: 1 } } else { self }
    }
}

/// The place of what somebody has asked last, once he has.
#[derive(Debug, Default)]
pub(crate) struct Asked(AtomicU64);

impl Asked {
    /// Nothing has a place.
    const UNKNOWN: u64 = 0;
    /// Something will have.
    const NOTHING: u64 = 1;

    /// What is asked from now on has a place.
    pub(super) fn expect(&self) {
        self.0.store(Self::NOTHING, Ordering::Relaxed);
    }

    /// Whether what is asked has one.
    pub(super) fn is_expected(&self) -> bool {
        self.0.load(Ordering::Relaxed) != Self::UNKNOWN
    }

    pub(super) fn note(&self, place: Place) {
        self.0.store(place.pack(), Ordering::Relaxed);
    }

    pub(super) fn place(&self) -> Option<Place> {
        let packed = self.0.load(Ordering::Relaxed);
        (packed > Self::NOTHING).then(|| Place::unpack(packed))
    }
}

/// Whoever asks the same once more has asked nothing yet.
impl Clone for Asked {
    fn clone(&self) -> Self {
        Self::default()
    }
}
