//! What is measured.

use std::time::Duration;

/// How callers ask, and over which connections. They ask again as soon as they have their answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) callers: usize,
    pub(crate) place: Place,
    /// Whether one of a hundred queries is slow.
    pub(crate) mixed: bool,
}

/// The connections of a contender; workloads of the same place have the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) connections: usize,
    /// How much later everything arrives, each way.
    pub(crate) delay: Duration,
}

const EIGHT: Place = Place { connections: 8, delay: Duration::ZERO };
const TWO: Place = Place { connections: 2, delay: Duration::ZERO };
const FAR: Place = Place { connections: 8, delay: Duration::from_millis(5) };

/// All of them.
pub(crate) const WORKLOADS: [Workload; 7] = [
    on("callers_1", 1, EIGHT),
    on("callers_8", 8, EIGHT),
    on("callers_64", 64, EIGHT),
    on("callers_256", 256, EIGHT),
    Workload { mixed: true, ..on("mixed_slow", 256, EIGHT) },
    on("callers_256_conns_2", 256, TWO),
    on("delay_5ms_256", 256, FAR),
];

const fn on(name: &'static str, callers: usize, place: Place) -> Workload {
    Workload { name, callers, place, mixed: false }
}

impl Workload {
    /// For how long a turn does not count, and for how long it does, if that is so long where nothing is in the way.
    pub(crate) fn times(&self, counted: Duration) -> [Duration; 2] {
        if self.is_far() {
            // Callers wait for up to a second where each has a connection to himself.
            return [counted * 5 / 2, counted * 5];
        }
        // Later most callers wait for slow answers, and few of them ask anything fast: what is hard is how it begins.
        [if self.mixed { Duration::ZERO } else { counted / 4 }, counted]
    }

    /// Where turns are longer there are fewer of them: in one round of three.
    pub(crate) fn takes_part(&self, round: usize) -> bool {
        !self.is_far() || round.is_multiple_of(3)
    }

    fn is_far(&self) -> bool {
        !self.place.delay.is_zero()
    }
}
