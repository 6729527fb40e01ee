//! Counts the bytes that are asked of the allocator and not given back. What differs between a few and many is divided by how many
//! there are more, so nothing that a pool needs once is in the figures.

use std::alloc::System;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::{Builder, Runtime};

use crate::contenders::{Contender, lease_all, open};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FEW_CONNECTIONS: usize = 1_024;
const MANY_CONNECTIONS: usize = 4_096;
const FEW_WAITERS: usize = 10_000;
const MANY_WAITERS: usize = 20_000;
/// What the waiters wait for.
const CONNECTIONS: usize = 16;

/// In bytes.
#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) future: usize,
    pub(crate) beside_it: f64,
}

/// Bytes for an idle connection, over the connection itself.
pub(crate) fn per_connection<C: Contender>() -> f64 {
    let runtime = single_threaded();
    let held_by = |connections| {
        runtime.block_on(async {
            let before = live();
            let contender = open::<C>(connections).await;
            settle().await;
            let bytes = live() - before;
            drop(contender);
            settle().await;
            bytes
        })
    };
    let (few, many) = (held_by(FEW_CONNECTIONS), held_by(MANY_CONNECTIONS));
    (many - few) / float(MANY_CONNECTIONS - FEW_CONNECTIONS) - float(size_of::<u64>())
}

/// Bytes for a waiter, on the runtime that drives the pool.
pub(crate) fn per_waiter<C: Contender>() -> Waiter {
    let runtime = single_threaded();
    waiter::<C>(&runtime, &runtime)
}

/// Bytes for a waiter on a runtime that does not drive the pool.
pub(crate) fn per_waiter_elsewhere<C: Contender>() -> Waiter {
    let home = Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    waiter::<C>(&home, &single_threaded())
}

/// In a pool of its own for each number, because a pool keeps what waiters needed for the next ones.
fn waiter<C: Contender>(home: &Runtime, here: &Runtime) -> Waiter {
    let parked = |waiters| {
        let contender = home.block_on(open::<C>(CONNECTIONS));
        here.block_on(park(&contender, waiters))
    };
    let ((few, _), (many, future)) = (parked(FEW_WAITERS), parked(MANY_WAITERS));
    Waiter { future, beside_it: (many - few) / float(MANY_WAITERS - FEW_WAITERS) - float(future) }
}

/// The bytes that so many waiters need, and the size of the future of one.
async fn park<C: Contender>(contender: &C, waiters: usize) -> (f64, usize) {
    let leases = lease_all(contender, CONNECTIONS).await;
    let mut futures = Vec::with_capacity(waiters);
    let before = live();
    for _ in 0..waiters {
        let mut acquire = Box::pin(contender.acquire());
        assert!(must_wait(acquire.as_mut()).await, "all connections are out");
        futures.push(acquire);
    }
    let bytes = live() - before;
    let size = futures.first().map_or(0, |future| size_of_val(&**future));
    drop((futures, leases));
    settle().await;
    (bytes, size)
}

async fn must_wait(mut future: Pin<&mut impl Future>) -> bool {
    // Tokio would have a task that does so much at once wait for no reason.
    tokio::task::unconstrained(poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending()))).await
}

/// Until the pools' background tasks have done what is left to do.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn single_threaded() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn live() -> f64 {
    let stats = ALLOCATOR.stats();
    float(stats.bytes_allocated) - float(stats.bytes_deallocated)
}

#[allow(clippy::cast_precision_loss)] // nobody has 2^52 bytes here
fn float(count: usize) -> f64 {
    count as f64
}
