//! The rounds: both pools are open all the time, and take turns at the load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::Pool;
use tokio::runtime::{Builder, Runtime};

use super::figures::{Figures, Tally};
use super::load::Load;
use super::pools::{LIFETIME, Slow, open};
use crate::args::Args;
use crate::window::{Lengths, Window};

/// What came of a load.
pub(crate) struct Outcome {
    /// Of the pool whose connections are replaced.
    pub(crate) rotating: Figures,
    /// Of the one whose connections live on.
    pub(crate) lasting: Figures,
}

/// Both pools under a load, on two threads.
pub(crate) fn measure(load: Load, args: &Args) -> Outcome {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    let mut rotating = Side::new(&runtime, load, Some(LIFETIME));
    let mut lasting = Side::new(&runtime, load, None);
    let rounds = args.number("rounds", if args.check { 10 } else { 1 });
    for round in 0..rounds {
        eprintln!("{}: round {} of {rounds}", load.name, round + 1);
        let (first, second) =
            if round % 2 == 0 { (&mut rotating, &mut lasting) } else { (&mut lasting, &mut rotating) };
        first.turn(&runtime, load, args.quick);
        second.turn(&runtime, load, args.quick);
    }
    Outcome { rotating: rotating.figures(), lasting: lasting.figures() }
}

/// A pool, and what was seen of it so far.
struct Side {
    pool: Pool<Slow>,
    tally: Tally,
}

impl Side {
    fn new(runtime: &Runtime, load: Load, max_lifetime: Option<Duration>) -> Self {
        Self { pool: runtime.block_on(open(max_lifetime, load.headroom)), tally: Tally::default() }
    }

    fn turn(&mut self, runtime: &Runtime, load: Load, quick: bool) {
        let counting = Duration::from_millis(if quick { 500 } else { 3_000 });
        let lengths = Lengths { warm_up: Duration::from_millis(100), counting };
        let (begun, expired) = (Instant::now(), self.pool.stats().expired);
        let one = |window: &Arc<Window>, number| {
            let (pool, window) = (self.pool.clone(), Arc::clone(window));
            async move { load.work(&pool, &window, number).await }
        };
        let ((), _) = Window::around(lengths, |window| {
            let running: Vec<_> = (0..load.tasks).map(|number| runtime.spawn(one(window, number))).collect();
            for task in running {
                let tally = runtime.block_on(task).expect("it does not panic");
                self.tally.add(&tally);
            }
        });
        self.tally.rotated += self.pool.stats().expired - expired;
        self.tally.time += begun.elapsed();
    }

    fn figures(&self) -> Figures {
        Figures::new(&self.tally, self.pool.driver().oldest())
    }
}
