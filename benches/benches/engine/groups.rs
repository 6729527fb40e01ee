//! What is measured, and with which settings.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use tokio::runtime::{Builder, Runtime};

use super::contention::{cancel_storm, tasks, threads, waiters};
use super::primitives::primitives;
use super::reconfigure::reconfigure;
use super::turns::{at_once, timed};
use crate::contenders::{Bb8, Contender, Deadpool, DeadpoolTimeouts, Mobc, Ours, QueueOnly, SemaphoreQueue, open};

/// In every pool whose size is not what the group is about.
pub(crate) const CONNECTIONS: usize = 16;
const SIZES: [usize; 5] = [1, 16, 256, 1_024, 4_096];

pub(crate) type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Calls a function for each contender.
macro_rules! each {
    ($function:ident($($argument:expr),*)) => {
        $function::<Ours>($($argument),*);
        $function::<QueueOnly>($($argument),*);
        $function::<SemaphoreQueue>($($argument),*);
        $function::<Deadpool>($($argument),*);
        $function::<DeadpoolTimeouts>($($argument),*);
        $function::<Bb8>($($argument),*);
        $function::<Mobc>($($argument),*);
    };
}

pub(crate) fn run() {
    let mut criterion = Criterion::default()
        .sample_size(15)
        .nresamples(2_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(900))
        .configure_from_args();
    primitives(&mut group(&mut criterion, "primitives"));
    each!(uncontended(&mut group(&mut criterion, "uncontended")));
    each!(threads(&mut group(&mut criterion, "threads_2"), 2));
    each!(tasks(&mut group(&mut criterion, "tasks_64"), 64));
    each!(tasks(&mut group(&mut criterion, "tasks_1024"), 1_024));
    each!(waiters(&mut group(&mut criterion, "waiters_10000"), 10_000));
    each!(cancel_storm(&mut group(&mut criterion, "cancel_storm")));
    reconfigure(&mut group(&mut criterion, "reconfigure"));
    each!(sizes(&mut group(&mut criterion, "pool_size")));
    criterion.final_summary();
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
    group
}

/// One task, which finds an idle connection every time.
fn uncontended<C: Contender>(group: &mut Group<'_>) {
    let runtime = one_thread();
    let contender: C = runtime.block_on(open(CONNECTIONS));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|turns| runtime.block_on(timed(at_once(&contender, turns))));
    });
}

/// The same, in pools of several sizes.
fn sizes<C: Contender>(group: &mut Group<'_>) {
    for size in SIZES {
        let runtime = one_thread();
        let contender: C = runtime.block_on(open(size));
        group.bench_function(BenchmarkId::new(C::NAME, size), |bencher| {
            bencher.iter_custom(|turns| runtime.block_on(timed(at_once(&contender, turns))));
        });
    }
}

pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

pub(crate) fn workers(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_time().build().expect("a runtime")
}
