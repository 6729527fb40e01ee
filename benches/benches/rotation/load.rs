//! The loads: how many callers there are, and what they do.

use std::time::{Duration, Instant};

use pool_core::Pool;
use tokio::time::sleep;

use super::figures::Tally;
use super::pools::Slow;
use crate::args::Choice;
use crate::window::Window;

/// So many tasks that acquire, hold for 1 to 3 ms, and release.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) tasks: usize,
    /// Whether each does something else between two acquires, for as long as it holds a connection.
    pauses: bool,
    /// Of the pool that rotates.
    pub(crate) headroom: usize,
}

pub(crate) const LOADS: [Load; 4] = [
    // 80 % of the connections are out, and nobody ever waits.
    Load { name: "steady", tasks: 16, pauses: false, headroom: 0 },
    // 80 % on the average, and more than all in some moments.
    Load { name: "varying", tasks: 32, pauses: true, headroom: 0 },
    // All of them, always.
    Load { name: "too_many", tasks: 40, pauses: false, headroom: 0 },
    // A connection for each task and none to spare: one that is closed first is missed, so that its replacement has to come first.
    Load { name: "headroom", tasks: 20, pauses: false, headroom: 1 },
];

/// What the command line can pick.
pub(crate) fn choices() -> [Choice; 1] {
    [("only", LOADS.iter().map(|load| load.name).collect())]
}

impl Load {
    /// What one task does until the window is over.
    pub(crate) async fn work(self, pool: &Pool<Slow>, window: &Window, number: usize) -> Tally {
        let (mut tally, mut lengths) = (Tally::default(), Lengths(number as u64 + 1));
        while !window.is_over() {
            let begun = Instant::now();
            let lease = pool.acquire().await;
            let latency = begun.elapsed();
            if window.is_open() {
                tally.note(latency, lease.is_ok());
            }
            sleep(lengths.next()).await;
            drop(lease);
            if self.pauses {
                sleep(lengths.next()).await;
            }
        }
        tally
    }
}

/// Lengths of 1, 2 and 3 ms in no order that shows, the same in every run.
struct Lengths(u64);

impl Lengths {
    fn next(&mut self) -> Duration {
        // Knuth's generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(1 + (self.0 >> 33) % 3)
    }
}
