//! The workloads: who does what, on which runtime.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use super::latency;
use super::window::{Lengths, Window};
use super::work::{at_once, giving_up, in_bursts, over_a_yield};
use crate::contenders::{Contender, lease_all, open};

/// In every pool whose size is not what the workload is about.
const CONNECTIONS: usize = 16;
/// Those who are served while others give up: more than there are connections, so that somebody always waits.
const SERVED: usize = 32;
const GIVING_UP: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    Uncontended,
    Threads(usize),
    Tasks(usize),
    CancelStorm,
    /// In bursts, beside so many leased connections.
    Size {
        connections: usize,
        leased: usize,
    },
    /// The same in bursts of 64, more than any thread remembers.
    LongBursts {
        connections: usize,
        leased: usize,
    },
    /// The same, one at a time.
    OneByOne {
        connections: usize,
        leased: usize,
    },
}

/// All of them, by name, in the order of the report.
pub(crate) const WORKLOADS: [(&str, Workload); 12] = [
    ("uncontended", Workload::Uncontended),
    ("threads_1", Workload::Threads(1)),
    ("threads_2", Workload::Threads(2)),
    ("tasks_64", Workload::Tasks(64)),
    ("tasks_1024", Workload::Tasks(1_024)),
    ("cancel_storm", Workload::CancelStorm),
    ("size_16", Workload::Size { connections: 16, leased: 0 }),
    ("size_1024", Workload::Size { connections: 1_024, leased: 0 }),
    ("size_1024_900_leased", Workload::Size { connections: 1_024, leased: 900 }),
    ("one_by_one_1024", Workload::OneByOne { connections: 1_024, leased: 0 }),
    ("one_by_one_1024_900_leased", Workload::OneByOne { connections: 1_024, leased: 900 }),
    ("bursts_of_64_1024_900_leased", Workload::LongBursts { connections: 1_024, leased: 900 }),
];

impl Workload {
    /// Whether callers wait for each other's connections.
    pub(crate) fn has_waiters(self) -> bool {
        matches!(self, Self::Tasks(_) | Self::CancelStorm)
    }
}

/// What came of one contender's turn.
pub(crate) struct Slice {
    /// Operations of each worker.
    pub(crate) done: Vec<u64>,
    pub(crate) time: Duration,
    pub(crate) latencies: Histogram<u64>,
}

/// One contender's turn, with a pool of its own.
pub(crate) fn run<C: Contender, const TIMED: bool>(workload: Workload, lengths: Lengths) -> Slice {
    let (done, time) = match workload {
        Workload::Uncontended => alone(lengths, CONNECTIONS, 0, at_once::<C, TIMED>),
        Workload::Threads(threads) => on_threads::<C, TIMED>(lengths, threads),
        Workload::Tasks(tasks) => in_tasks::<C, TIMED>(lengths, tasks),
        Workload::CancelStorm => cancel_storm::<C, TIMED>(lengths),
        Workload::Size { connections, leased } => alone(lengths, connections, leased, in_bursts::<C, TIMED, 8>),
        Workload::LongBursts { connections, leased } => alone(lengths, connections, leased, in_bursts::<C, TIMED, 64>),
        Workload::OneByOne { connections, leased } => alone(lengths, connections, leased, at_once::<C, TIMED>),
    };
    latency::hand_in();
    Slice { done, time, latencies: latency::collect() }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn workers(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_time().on_thread_stop(latency::hand_in).build().expect("a runtime")
}

/// One task, with nobody beside it but those who keep some connections.
fn alone<C: Contender>(
    lengths: Lengths,
    connections: usize,
    leased: usize,
    work: impl AsyncFnOnce(&C, &Window) -> u64,
) -> (Vec<u64>, Duration) {
    let runtime = one_thread();
    let contender = runtime.block_on(open::<C>(connections));
    // mobc cannot take a connection back outside of a runtime.
    let _inside = runtime.enter();
    let _leased = runtime.block_on(lease_all(&contender, leased));
    let (done, time) = Window::around(lengths, |window| runtime.block_on(work(&contender, window)));
    (vec![done], time)
}

/// Threads with a runtime each share one pool, which lives on yet another one: no thread drives what the pool does in the background.
fn on_threads<C: Contender, const TIMED: bool>(lengths: Lengths, threads: usize) -> (Vec<u64>, Duration) {
    let home = workers(1);
    let contender = home.block_on(open::<C>(CONNECTIONS));
    let start = Barrier::new(threads);
    let one = |window: &Window| {
        let runtime = one_thread();
        start.wait();
        let done = runtime.block_on(at_once::<C, TIMED>(&contender, window));
        latency::hand_in();
        done
    };
    Window::around(lengths, |window| {
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| one(window))).collect();
            running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        })
    })
}

/// Tasks on two threads share the connections, and each holds its own while others run.
fn in_tasks<C: Contender, const TIMED: bool>(lengths: Lengths, tasks: usize) -> (Vec<u64>, Duration) {
    let runtime = workers(2);
    let contender = runtime.block_on(open::<C>(CONNECTIONS));
    let one = |window: &Arc<Window>| {
        let (contender, window) = (contender.clone(), Arc::clone(window));
        async move { over_a_yield::<C, TIMED>(&contender, &window).await }
    };
    Window::around(lengths, |window| {
        let running: Vec<_> = (0..tasks).map(|_| runtime.spawn(one(window))).collect();
        runtime.block_on(all(running))
    })
}

/// Some tasks keep all connections out and somebody waiting; the others begin to acquire, and give up at once. Only that is counted.
fn cancel_storm<C: Contender, const TIMED: bool>(lengths: Lengths) -> (Vec<u64>, Duration) {
    let runtime = workers(2);
    let contender = runtime.block_on(open::<C>(CONNECTIONS));
    let served = |window: &Arc<Window>| {
        let (contender, window) = (contender.clone(), Arc::clone(window));
        async move { over_a_yield::<C, false>(&contender, &window).await }
    };
    let given_up = |window: &Arc<Window>| {
        let (contender, window) = (contender.clone(), Arc::clone(window));
        async move { giving_up::<C, TIMED>(&contender, &window).await }
    };
    Window::around(lengths, |window| {
        (0..SERVED).for_each(|_| drop(runtime.spawn(served(window))));
        let running: Vec<_> = (0..GIVING_UP).map(|_| runtime.spawn(given_up(window))).collect();
        runtime.block_on(all(running))
    })
}

async fn all(tasks: Vec<tokio::task::JoinHandle<u64>>) -> Vec<u64> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.expect("it does not panic"));
    }
    done
}
