//! The outage: the backend refuses everything for a while, and those who wait are not to wait for much longer than that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::backend::Backend;
use super::pool::{Pool, TASKS};

const OUTAGE: Duration = Duration::from_millis(700);

/// What came of one outage.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Recovery {
    pub(crate) served: usize,
    /// From the end of the outage until the last one was served.
    pub(crate) seconds: f64,
    /// Attempts to connect that were refused.
    pub(crate) refused: usize,
}

/// An outage under those who wait for the first connections of a pool, on two threads.
pub(crate) fn outage<P: Pool>() -> Recovery {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let backend = Arc::<Backend>::default();
        backend.set_down(true);
        let pool = P::new(Arc::clone(&backend)).await;
        let wait = |pool: P| async move {
            let lease = pool.acquire().await;
            let served = lease.is_some().then(Instant::now);
            yield_now().await;
            drop(lease);
            served
        };
        let waiting: Vec<_> = (0..TASKS).map(|_| tokio::spawn(wait(pool.clone()))).collect();
        sleep(OUTAGE).await;
        let healed = Instant::now();
        backend.set_down(false);
        let mut served = Vec::new();
        for one in waiting {
            served.extend(one.await.expect("it does not panic"));
        }
        let last = served.iter().max().map_or(Duration::ZERO, |last| last.saturating_duration_since(healed));
        Recovery { served: served.len(), seconds: last.as_secs_f64(), refused: backend.refused() }
    })
}
