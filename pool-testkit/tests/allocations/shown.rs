//! What it costs to look at a pool, by the bytes that are allocated.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use pool_core::http::Status;
use pool_core::{ObserveConfig, Pool};
use pool_testkit::fake::Numbers;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use tower::ServiceExt;

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_secs(2);

struct Stage {
    runtime: Runtime,
    status: Status,
    _pool: Pool<Numbers>,
}

/// Bytes that this thread allocates until the future is ready, and what it gives.
fn bytes<T>(runtime: &Runtime, work: impl Future<Output = T>) -> (u64, T) {
    let mut found = None;
    let allocated = allocation_counter::measure(|| found = Some(runtime.block_on(work)));
    (allocated.bytes_total, found.unwrap())
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (pool, status) = runtime.block_on(async {
            let pool = Pool::builder(Numbers).max_size(2).min_size(1).build().unwrap();
            let mut config = ObserveConfig::default();
            (config.interval, config.history) = (INTERVAL, 10_000);
            let status = Status::new().pool(pool.observe(config).unwrap());
            (pool, status)
        });
        Self { runtime, status, _pool: pool }
    }

    fn take_samples(&self, count: u32) {
        self.runtime.block_on(async { sleep(count * INTERVAL).await });
    }

    /// Of an event of the stream that is not the first: the least of some, since in others a sample is taken meanwhile.
    fn of_an_event(&self) -> u64 {
        let request = Request::get("/pool/events").body(Body::empty()).unwrap();
        let mut body = self.runtime.block_on(self.status.router().oneshot(request)).unwrap().into_body();
        self.runtime.block_on(body.frame()).unwrap().unwrap();
        let each = (0..5).map(|_| {
            let (bytes, frame) = bytes(&self.runtime, body.frame());
            assert!(frame.unwrap().unwrap().into_data().unwrap().len() > 1000, "it is an event");
            bytes
        });
        each.min().unwrap()
    }
}

/// A probe asks each second, of many pools perhaps.
#[test]
fn readiness_takes_the_counts_alone() {
    let stage = Stage::new();
    stage.take_samples(3);
    let (bytes, ready) = bytes(&stage.runtime, async { stage.status.is_ready() });
    assert!(ready && bytes < 4096, "{bytes} bytes");
}

/// The event has what is new of it.
#[test]
fn an_event_costs_no_more_when_the_history_is_long() {
    let stage = Stage::new();
    stage.take_samples(10);
    let short = stage.of_an_event();
    stage.take_samples(2000);
    let long = stage.of_an_event();
    assert!(long < short + 16 * 1024, "{long} bytes, and {short} when it was short");
}
