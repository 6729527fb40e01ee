//! What is measured. A connection is a number: none of them does anything with it.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use deadpool::managed::{self, Metrics, RecycleResult};
use pool_core::{Driver, ErrorClass, Pool, SessionState};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Something to acquire connections from. Clones share them.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// In the report.
    const NAME: &'static str;

    /// With all its connections open.
    fn new(connections: usize) -> impl Future<Output = Self>;

    /// Acquires and releases so many times in a row; with `HOLD`, others run in between.
    fn turns<const HOLD: bool>(&self, turns: u64) -> impl Future<Output = ()> + Send;
}

async fn hold<const HOLD: bool>() {
    if HOLD {
        yield_now().await;
    }
}

/// The pool of this project.
#[derive(Clone)]
pub(crate) struct PoolCore(Pool<Numbers>);

impl Subject for PoolCore {
    const NAME: &'static str = "pool_core";

    async fn new(connections: usize) -> Self {
        let pool = Pool::builder(Numbers).max_size(connections).min_size(connections).build().expect("settings");
        let mut leases = Vec::new();
        for _ in 0..connections {
            leases.push(pool.acquire().await.expect("a connection"));
        }
        drop(leases);
        Self(pool)
    }

    async fn turns<const HOLD: bool>(&self, turns: u64) {
        for _ in 0..turns {
            let lease = self.0.acquire().await.expect("a connection");
            black_box(*lease);
            hold::<HOLD>().await;
        }
    }
}

/// Neither of the two managers of connections does anything.
struct Numbers;

impl Driver for Numbers {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn inspect(&self, _: &mut u64) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, error: &Infallible) -> ErrorClass {
        match *error {}
    }
}

/// A queue alone.
#[derive(Clone)]
pub(crate) struct ArrayQueueOnly(Arc<ArrayQueue<u64>>);

impl Subject for ArrayQueueOnly {
    const NAME: &'static str = "array_queue";

    async fn new(connections: usize) -> Self {
        Self(filled(connections))
    }

    async fn turns<const HOLD: bool>(&self, turns: u64) {
        for _ in 0..turns {
            let connection = self.0.pop().expect("a connection");
            hold::<HOLD>().await;
            self.0.push(black_box(connection)).expect("room");
        }
    }
}

fn filled(connections: usize) -> Arc<ArrayQueue<u64>> {
    let queue = ArrayQueue::new(connections);
    (0..connections).for_each(|_| queue.push(0).expect("room"));
    Arc::new(queue)
}

/// A semaphore that lets in as many as there are connections in the queue.
#[derive(Clone)]
pub(crate) struct SemaphoreQueue(Arc<Semaphore>, Arc<ArrayQueue<u64>>);

impl Subject for SemaphoreQueue {
    const NAME: &'static str = "semaphore_queue";

    async fn new(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections)), filled(connections))
    }

    async fn turns<const HOLD: bool>(&self, turns: u64) {
        for _ in 0..turns {
            let permit = self.0.acquire().await.expect("it is never closed");
            let connection = self.1.pop().expect("a connection for each permit");
            hold::<HOLD>().await;
            self.1.push(black_box(connection)).expect("room");
            drop(permit);
        }
    }
}

/// deadpool, as a service configures it.
#[derive(Clone)]
pub(crate) struct Deadpool(managed::Pool<Numbers>);

impl Subject for Deadpool {
    const NAME: &'static str = "deadpool";

    async fn new(connections: usize) -> Self {
        let pool = managed::Pool::builder(Numbers).max_size(connections).build().expect("settings");
        let mut objects = Vec::new();
        for _ in 0..connections {
            objects.push(pool.get().await.expect("a connection"));
        }
        drop(objects);
        Self(pool)
    }

    async fn turns<const HOLD: bool>(&self, turns: u64) {
        for _ in 0..turns {
            let object = self.0.get().await.expect("a connection");
            black_box(*object);
            hold::<HOLD>().await;
        }
    }
}

impl managed::Manager for Numbers {
    type Type = u64;
    type Error = Infallible;

    async fn create(&self) -> Result<u64, Infallible> {
        Ok(0)
    }

    async fn recycle(&self, _: &mut u64, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}
