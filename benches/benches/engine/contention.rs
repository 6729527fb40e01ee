//! Callers that get in each other's way.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, unconstrained, yield_now};

use super::groups::{CONNECTIONS, Group, one_thread, workers};
use super::turns::{at_once, over_a_yield, timed};
use crate::contenders::{Contender, lease_all, open};
use crate::polled_once::polled_once;

/// Threads with a runtime each share one pool, which lives on yet another one.
pub(crate) fn threads<C: Contender>(group: &mut Group<'_>, threads: usize) {
    let home = workers(1);
    let contender: C = home.block_on(open(CONNECTIONS));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|turns| together(&contender, threads, turns));
    });
}

/// The time until the last thread is done.
fn together<C: Contender>(contender: &C, threads: usize, turns: u64) -> Duration {
    let each = turns.div_ceil(threads as u64);
    let start = Barrier::new(threads + 1);
    let one = || {
        let runtime = one_thread();
        start.wait();
        runtime.block_on(at_once(contender, each));
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        start.wait();
        let started = Instant::now();
        for thread in running {
            thread.join().expect("it does not panic");
        }
        share(started.elapsed(), turns, each * threads as u64)
    })
}

/// Tasks on two threads share the connections, and each holds its own while others run.
pub(crate) fn tasks<C: Contender>(group: &mut Group<'_>, tasks: u64) {
    if !C::WAITS {
        return;
    }
    let runtime = workers(2);
    let contender: C = runtime.block_on(open(CONNECTIONS));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|turns| {
            let each = turns.div_ceil(tasks);
            let time = runtime.block_on(timed(async {
                let one = || {
                    let contender = contender.clone();
                    tokio::spawn(async move { over_a_yield(&contender, each).await })
                };
                all((0..tasks).map(|_| one()).collect()).await;
            }));
            share(time, turns, each * tasks)
        });
    });
}

/// All connections are out and a crowd waits: how long it takes, for each of them, until all have been served.
pub(crate) fn waiters<C: Contender>(group: &mut Group<'_>, waiters: u64) {
    if !C::WAITS {
        return;
    }
    let runtime = one_thread();
    let contender: C = runtime.block_on(open(CONNECTIONS));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|turns| {
            let crowds = turns.div_ceil(waiters);
            let time = (0..crowds).map(|_| runtime.block_on(serve_a_crowd(&contender, waiters))).sum();
            share(time, turns, crowds * waiters)
        });
    });
}

async fn serve_a_crowd<C: Contender>(contender: &C, waiters: u64) -> Duration {
    let leases = lease_all(contender, CONNECTIONS).await;
    let one = || {
        let contender = contender.clone();
        tokio::spawn(async move { at_once(&contender, 1).await })
    };
    let crowd = (0..waiters).map(|_| one()).collect();
    // More often than the runtime needs to poll each of them once.
    for _ in 0..waiters {
        yield_now().await;
    }
    let started = Instant::now();
    drop(leases);
    all(crowd).await;
    started.elapsed()
}

/// Somebody waits, and others behind begin to wait and give up.
pub(crate) fn cancel_storm<C: Contender>(group: &mut Group<'_>) {
    if !C::WAITS {
        return;
    }
    let runtime = one_thread();
    let contender: C = runtime.block_on(open(CONNECTIONS));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|turns| {
            // Tokio would have a task that does so much at once wait for no reason.
            runtime.block_on(unconstrained(give_up(&contender, turns)))
        });
    });
}

async fn give_up<C: Contender>(contender: &C, turns: u64) -> Duration {
    let leases = lease_all(contender, CONNECTIONS).await;
    let first = contender.clone();
    let first = tokio::spawn(async move { at_once(&first, 1).await });
    yield_now().await;
    let time = timed(async {
        for _ in 0..turns {
            assert!(polled_once(contender).await, "all connections are out");
        }
    });
    let time = time.await;
    drop(leases);
    all(vec![first]).await;
    time
}

async fn all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("it does not panic");
    }
}

/// The share of the time that `wanted` operations out of all those `done` took: there were a few more, to come out even.
fn share(time: Duration, wanted: u64, done: u64) -> Duration {
    #[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
    time.mul_f64(wanted as f64 / done as f64)
}
