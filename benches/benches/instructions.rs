//! How many instructions the fast path takes, counted by callgrind: the same on every machine, quiet or not. More than the limit is a failure.
//!
//! `.ci/run instructions` fetches what this needs, valgrind and the runner of gungraun, and runs it. Without the runner's path in
//! `GUNGRAUN_RUNNER` it says so and does nothing, so that `cargo bench` works on any machine.
#![allow(clippy::expect_used)] // a benchmark fails by panicking

#[cfg(not(feature = "loom"))]
#[allow(missing_docs, unreachable_pub, clippy::pedantic)] // what the macros of gungraun make
mod counted {
    use std::convert::Infallible;
    use std::future::Future;
    use std::hint::black_box;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use gungraun::prelude::*;
    use gungraun::{Callgrind, EventKind};
    use pool_core::{Attempt, Driver, ErrorClass, Pool, SessionState};
    use tokio::runtime::{Builder, Runtime};

    /// Turns of each benchmark; what surrounds them does not show in as many.
    const TURNS: u64 = 1000;
    /// Per turn, with the settings that services have: timeouts, lifetimes, statistics. 156 were counted with Rust 1.95, and a few are for
    /// compilers to come. An allocation or a look at a clock is more than that.
    const AT_ONCE: u64 = 165;
    /// The same for a wait: claim the connection, queue for it, release it to the waiter, look, release it. 1884 were counted, of
    /// which some 40 are what a span and the age of the oldest waiter take when nobody asks for either.
    const WAIT: u64 = 1950;

    pub(super) struct Nothing;

    impl Driver for Nothing {
        type Connection = u64;
        type Error = Infallible;

        async fn connect(&self, _: &Attempt) -> Result<u64, Infallible> {
            Ok(0)
        }
        #[inline]
        fn inspect(&self, connection: &mut u64) -> SessionState {
            if black_box(*connection) == 0 { SessionState::Clean } else { SessionState::Broken }
        }
        fn classify(&self, error: &Infallible) -> ErrorClass {
            match *error {}
        }
    }

    /// The same with a connection each of whose leases is timed, as the first 256 are; later it is one of 256 unless they are long. 1105
    /// were counted: two looks at the clock, and a count in a histogram.
    const TIMED: u64 = 1_160;
    /// Fewer than are timed.
    const TIMED_TURNS: u64 = 200;

    /// A pool with an idle connection that has been used before, and its runtime, which stands still from now on.
    fn warm_pool(size: usize) -> (Pool<Nothing>, Runtime) {
        let (pool, runtime) = new_pool(size);
        wait(&pool, &runtime);
        (pool, runtime)
    }

    /// The same with one that has been used once.
    fn new_pool(size: usize) -> (Pool<Nothing>, Runtime) {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let pool = runtime.block_on(async {
            let pool = Pool::builder(Nothing).max_size(size).min_size(size).build().expect("the settings are valid");
            drop(pool.acquire().await);
            pool
        });
        (pool, runtime)
    }

    /// In place, so that what is counted does not depend on what the compiler thinks of this.
    #[inline(always)]
    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[inline(always)]
    fn acquire_and_release(pool: &Pool<Nothing>, turns: u64) {
        for _ in 0..turns {
            // Taken out, as `?` does, and dropped by itself.
            let Poll::Ready(Ok(lease)) = poll(pin!(pool.acquire())) else { panic!("it was not idle") };
            drop(lease);
        }
    }

    fn wait(pool: &Pool<Nothing>, runtime: &Runtime) {
        let _inside = runtime.enter();
        for _ in 0..TURNS {
            let held = pool.try_acquire();
            let mut waiting = pin!(pool.acquire());
            assert!(poll(waiting.as_mut()).is_pending());
            drop(held);
            assert!(matches!(poll(waiting), Poll::Ready(Ok(_))));
        }
    }

    #[library_benchmark(config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, AT_ONCE * TURNS)])))]
    #[bench::of_one(args = (1), setup = warm_pool)]
    fn acquire_and_release_at_once((pool, runtime): (Pool<Nothing>, Runtime)) -> (Pool<Nothing>, Runtime) {
        acquire_and_release(&pool, TURNS);
        (pool, runtime)
    }

    #[library_benchmark(config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, TIMED * TIMED_TURNS)])))]
    #[bench::of_one(args = (1), setup = new_pool)]
    fn acquire_and_release_timed((pool, runtime): (Pool<Nothing>, Runtime)) -> (Pool<Nothing>, Runtime) {
        acquire_and_release(&pool, TIMED_TURNS);
        (pool, runtime)
    }

    #[library_benchmark(config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, WAIT * TURNS)])))]
    #[bench::of_one(args = (1), setup = warm_pool)]
    fn wait_and_be_served((pool, runtime): (Pool<Nothing>, Runtime)) -> (Pool<Nothing>, Runtime) {
        wait(&pool, &runtime);
        (pool, runtime)
    }

    library_benchmark_group!(
        name = fast_path,
        benchmarks = [acquire_and_release_at_once, acquire_and_release_timed, wait_and_be_served]
    );
    gungraun::main!(library_benchmark_groups = fast_path);

    pub(super) fn run() {
        main();
    }
}

#[cfg(not(feature = "loom"))]
fn main() {
    // Under callgrind this runs again, without the environment.
    let inside = std::env::args().any(|argument| argument == "--gungraun-run");
    if inside || std::env::var_os("GUNGRAUN_RUNNER").is_some() {
        counted::run();
    } else {
        println!("instructions are not counted: `.ci/run instructions` does that, with the tools that it needs");
    }
}

#[cfg(feature = "loom")]
fn main() {}
