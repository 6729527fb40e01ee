//! A given number of operations, for those who measure how long they take.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::contenders::Contender;

/// Acquires and releases, with nothing in between.
pub(crate) async fn at_once<C: Contender>(contender: &C, turns: u64) {
    for _ in 0..turns {
        drop(contender.acquire().await.expect("a connection"));
    }
}

/// Acquires, lets others run, and releases.
pub(crate) async fn over_a_yield<C: Contender>(contender: &C, turns: u64) {
    for _ in 0..turns {
        let lease = contender.acquire().await.expect("a connection");
        yield_now().await;
        drop(lease);
    }
}

pub(crate) async fn timed(work: impl Future<Output = ()>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}
