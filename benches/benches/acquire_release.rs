//! What it costs to acquire and release a connection, beside what it would cost otherwise.
//!
//! * `array_queue`: `ArrayQueue` pop and push, the floor for any pool that keeps its connections in a queue. It cannot wait.
//! * `semaphore_queue`: tokio's semaphore in front of an `ArrayQueue`, the pool that one writes in an afternoon.
//! * `deadpool`: a pool that many services use.
//!
//! Criterion measures one after the other, and a machine is faster in one minute than in the next: the subjects take turns for
//! a few rounds. Compare within a round, and trust a difference that shows in all of them.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
#[path = "acquire_release/subjects.rs"]
mod subjects;

#[cfg(not(feature = "loom"))]
mod runner {
    use std::future::Future;
    use std::time::{Duration, Instant};

    use criterion::{Criterion, SamplingMode, Throughput};
    use tokio::runtime::{Builder, Runtime};

    use super::subjects::{ArrayQueueOnly, Deadpool, PoolCore, SemaphoreQueue, Subject};

    /// How often the subjects take turns.
    const ROUNDS: usize = 3;
    /// In every pool.
    const CONNECTIONS: usize = 16;
    const TASKS: u64 = 64;

    pub(super) fn run() {
        let mut criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args();
        uncontended(&mut criterion);
        contended(&mut criterion);
        criterion.final_summary();
    }

    /// One task, which finds an idle connection every time.
    fn uncontended(criterion: &mut Criterion) {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        for round in 1..=ROUNDS {
            let mut group = Group { criterion, runtime: &runtime, name: "uncontended", round };
            group.measure::<PoolCore>(one_task);
            group.measure::<ArrayQueueOnly>(one_task);
            group.measure::<SemaphoreQueue>(one_task);
            group.measure::<Deadpool>(one_task);
        }
    }

    /// 64 tasks on two threads share 16 connections, and each holds its connection while others run.
    fn contended(criterion: &mut Criterion) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
        for round in 1..=ROUNDS {
            let mut group = Group { criterion, runtime: &runtime, name: "contended", round };
            group.measure::<PoolCore>(many_tasks);
            group.measure::<SemaphoreQueue>(many_tasks);
            group.measure::<Deadpool>(many_tasks);
        }
    }

    struct Group<'a> {
        criterion: &'a mut Criterion,
        runtime: &'a Runtime,
        name: &'a str,
        round: usize,
    }

    impl Group<'_> {
        fn measure<S: Subject>(&mut self, run: impl AsyncFn(&S, u64) -> Duration) {
            let subject = self.runtime.block_on(S::new(CONNECTIONS));
            let mut group = self.criterion.benchmark_group(self.name);
            group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
            group.bench_function(format!("{}/{}", S::NAME, self.round), |bencher| {
                bencher.iter_custom(|turns| self.runtime.block_on(run(&subject, turns)));
            });
            group.finish();
        }
    }

    async fn one_task<S: Subject>(subject: &S, turns: u64) -> Duration {
        timed(subject.turns::<false>(turns)).await
    }

    /// The time that `turns` turns take, spread over all tasks.
    async fn many_tasks<S: Subject>(subject: &S, turns: u64) -> Duration {
        let each = turns.div_ceil(TASKS);
        let spread = async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let subject = subject.clone();
                    tokio::spawn(async move { subject.turns::<true>(each).await })
                })
                .collect();
            for task in tasks {
                task.await.expect("a task ends");
            }
        };
        let time = timed(spread).await;
        // Rounding up made a few turns too many.
        time.mul_f64(ratio(turns, each * TASKS))
    }

    async fn timed(work: impl Future<Output = ()>) -> Duration {
        let start = Instant::now();
        work.await;
        start.elapsed()
    }

    #[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
    fn ratio(a: u64, b: u64) -> f64 {
        a as f64 / b as f64
    }
}

/// The models take the engine apart, so there is nothing to measure.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() {
    runner::run();
}
