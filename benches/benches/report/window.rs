//! When to count. Every worker warms up first, then counts for a while, and all stop together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// It begins with 0: not open yet.
const OPEN: u8 = 1;
const OVER: u8 = 2;

/// How long a slice warms up and counts.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) warm_up: Duration,
    pub(crate) counting: Duration,
}

/// A stretch of time, opened and closed by a thread that sleeps meanwhile: the workers read one word and no clock.
#[derive(Default)]
pub(crate) struct Window(AtomicU8);

impl Window {
    /// Runs `work`, which has to go on until the window is over, and says for how long it was open.
    pub(crate) fn around<R>(lengths: Lengths, work: impl FnOnce(&Arc<Self>) -> R) -> (R, Duration) {
        let window = Arc::new(Self::default());
        thread::scope(|scope| {
            let keeper = scope.spawn(|| window.keep(lengths));
            let result = work(&window);
            (result, keeper.join().expect("it sleeps and writes"))
        })
    }

    fn keep(&self, lengths: Lengths) -> Duration {
        thread::sleep(lengths.warm_up);
        let opened = Instant::now();
        self.0.store(OPEN, Ordering::Relaxed);
        thread::sleep(lengths.counting);
        self.0.store(OVER, Ordering::Relaxed);
        opened.elapsed()
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OPEN
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OVER
    }
}
