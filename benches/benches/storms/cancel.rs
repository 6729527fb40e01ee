//! The storm of those who give up: each caller has a few milliseconds, and opening a connection takes as long.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::backend::Backend;
use super::pool::{CONNECTIONS, Pool, TASKS, all_can_be_had};

/// Of each task.
const ACQUIRES: usize = 300;
/// Each has up to so much time, in microseconds.
const LONGEST: u64 = 8_000;

/// For how long a connection is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One turn for others: there would be enough for all, if opening took no time.
    Turn,
    /// 1 ms of tokio's time: most callers cannot be served.
    Millisecond,
}

/// What came of one storm.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Storm {
    pub(crate) acquires: usize,
    pub(crate) served: usize,
    pub(crate) created: usize,
    /// Connections at once.
    pub(crate) peak: usize,
    /// Whether all connections could be had afterwards.
    pub(crate) whole: bool,
}

impl Storm {
    pub(crate) fn is_above_the_maximum(&self) -> bool {
        self.peak > CONNECTIONS
    }
}

/// A storm over a pool of its own, on two threads. The same seed has the same deadlines.
pub(crate) fn storm<P: Pool>(seed: u64, usage: Use) -> Storm {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let backend = Arc::<Backend>::default();
        let pool = P::new(Arc::clone(&backend)).await;
        let work = |number| {
            let pool = pool.clone();
            async move { hurry(&pool, Deadlines::new(seed, number), usage).await }
        };
        let tasks: Vec<_> = (0..TASKS).map(|number| tokio::spawn(work(number))).collect();
        let mut served = 0;
        for task in tasks {
            served += task.await.expect("it does not panic");
        }
        let created = backend.created();
        let whole = timeout(Duration::from_secs(10), all_can_be_had(&pool)).await.unwrap_or(false);
        Storm { acquires: TASKS * ACQUIRES, served, created, peak: backend.peak(), whole }
    })
}

/// How often one task is served.
async fn hurry<P: Pool>(pool: &P, mut deadlines: Deadlines, usage: Use) -> usize {
    let mut served = 0;
    for _ in 0..ACQUIRES {
        if let Ok(Some(lease)) = timeout(deadlines.next(), pool.acquire()).await {
            match usage {
                Use::Turn => yield_now().await,
                Use::Millisecond => sleep(Duration::from_millis(1)).await,
            }
            drop(lease);
            served += 1;
        }
    }
    served
}

/// How long each acquire may take.
struct Deadlines(u64);

impl Deadlines {
    fn new(seed: u64, number: usize) -> Self {
        Self((seed << 32) + number as u64)
    }

    fn next(&mut self) -> Duration {
        // Knuth's generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((self.0 >> 33) % (LONGEST + 1))
    }
}
