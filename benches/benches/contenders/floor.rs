//! What a pool costs if it is nothing but a queue, and what the pool that one writes in an afternoon costs.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::Contender;

/// A queue alone: the floor for every pool that keeps its connections in one. Nobody can wait for it.
#[derive(Clone)]
pub(crate) struct QueueOnly(Arc<ArrayQueue<u64>>);

/// A connection out of a queue.
pub(crate) struct Popped<'a> {
    queue: &'a ArrayQueue<u64>,
    connection: u64,
}

impl<'a> Popped<'a> {
    #[inline]
    fn from(queue: &'a ArrayQueue<u64>) -> Self {
        Self { queue, connection: queue.pop().expect("a connection") }
    }
}

impl Drop for Popped<'_> {
    #[inline]
    fn drop(&mut self) {
        self.queue.push(black_box(self.connection)).expect("room");
    }
}

impl Contender for QueueOnly {
    const NAME: &'static str = "array_queue";
    const WAITS: bool = false;
    type Lease<'a> = Popped<'a>;
    type Error = Infallible;

    async fn new(connections: usize) -> Self {
        Self(filled(connections))
    }

    #[inline]
    async fn acquire(&self) -> Result<Popped<'_>, Infallible> {
        Ok(Popped::from(&self.0))
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

/// The connection goes back before the permit: whoever gets the permit finds it.
pub(crate) struct Permitted<'a> {
    _popped: Popped<'a>,
    _permit: SemaphorePermit<'a>,
}

impl Contender for SemaphoreQueue {
    const NAME: &'static str = "tokio_semaphore";
    type Lease<'a> = Permitted<'a>;
    type Error = AcquireError;

    async fn new(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections)), filled(connections))
    }

    #[inline]
    async fn acquire(&self) -> Result<Permitted<'_>, AcquireError> {
        let permit = self.0.acquire().await?;
        Ok(Permitted { _popped: Popped::from(&self.1), _permit: permit })
    }
}
