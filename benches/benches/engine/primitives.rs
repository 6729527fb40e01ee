//! The parts: what the floor and this project's pool are made of, as far as it is public.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Semaphore;

use super::groups::{CONNECTIONS, Group, one_thread};
use super::turns::timed;
use crate::contenders::{Ours, open};

pub(crate) fn primitives(group: &mut Group<'_>) {
    let queue = ArrayQueue::new(CONNECTIONS);
    queue.push(0_u64).expect("room");
    group.bench_function("array_queue_pop_push", |bencher| {
        bencher.iter(|| queue.push(black_box(queue.pop().expect("a connection"))).expect("room"));
    });
    let semaphore = Arc::new(Semaphore::new(CONNECTIONS));
    group.bench_function("semaphore_try_acquire", |bencher| {
        bencher.iter(|| drop(semaphore.try_acquire().expect("a permit")));
    });
    group.bench_function("clock", |bencher| bencher.iter(Instant::now));
    of_ours(group);
}

fn of_ours(group: &mut Group<'_>) {
    let runtime = one_thread();
    let Ours(pool) = runtime.block_on(open(CONNECTIONS));
    group.bench_function("ours_try_acquire", |bencher| {
        bencher.iter(|| drop(pool.try_acquire().expect("a connection")));
    });
    group.bench_function("ours_acquire_owned", |bencher| {
        bencher.iter_custom(|turns| {
            runtime.block_on(timed(async {
                for _ in 0..turns {
                    drop(pool.acquire_owned().await.expect("a connection"));
                }
            }))
        });
    });
    group.bench_function("ours_stats", |bencher| bencher.iter(|| pool.stats()));
    group.bench_function("ours_config", |bencher| bencher.iter(|| pool.config()));
}
