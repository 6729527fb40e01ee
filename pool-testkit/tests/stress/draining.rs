//! Pauses that are drained while threads acquire at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pool_core::Pool;
use pool_testkit::fake::{FakeDriver, prove_nothing_lost, quiet};
use tokio::time::timeout;

use crate::{number, one_thread};

const THREADS: usize = 3;
const CONNECTIONS: usize = 4;

/// What operator and callers know of each other.
#[derive(Default)]
struct Watch {
    /// The pool is drained: nobody has a connection now.
    drained: AtomicBool,
    done: AtomicBool,
    leases: AtomicU64,
    /// How many had one nevertheless.
    late: AtomicU64,
}

fn call(pool: &Pool<FakeDriver>, watch: &Watch) {
    while !watch.done.load(Ordering::SeqCst) {
        if let Ok(lease) = pool.try_acquire() {
            // Before it is given back: so it was there when the drain said that none was.
            watch.late.fetch_add(watch.drained.load(Ordering::SeqCst).into(), Ordering::SeqCst);
            watch.leases.fetch_add(1, Ordering::SeqCst);
            drop(lease);
        }
    }
}

/// Pauses, drains, and leaves the callers time to be late.
async fn drain(pool: &Pool<FakeDriver>, watch: &Watch) {
    pool.pause();
    let drained = timeout(Duration::from_secs(30), pool.drained()).await;
    assert_eq!(drained, Ok(true), "nobody told that the last one has come back: {:?}", pool.state());
    watch.drained.store(true, Ordering::SeqCst);
    (0..500).for_each(|_| std::hint::spin_loop());
    watch.drained.store(false, Ordering::SeqCst);
    pool.resume();
}

#[test]
fn nobody_has_a_connection_of_a_pool_that_is_drained() {
    let time = Duration::from_secs(number("POOL_STRESS_SECONDS").unwrap_or(3));
    let (driver, runtime, watch) = (FakeDriver::new(), one_thread(), Watch::default());
    let pool = runtime.block_on(async {
        let pool = Pool::builder(driver.clone()).config(quiet(CONNECTIONS)).build().unwrap();
        pool.warm_up(CONNECTIONS, Duration::ZERO, Duration::from_secs(30)).await.unwrap();
        pool
    });
    let mut drains = 0;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| call(&pool, &watch));
        }
        let began = Instant::now();
        while began.elapsed() < time {
            runtime.block_on(drain(&pool, &watch));
            drains += 1;
        }
        watch.done.store(true, Ordering::SeqCst);
    });
    eprintln!("{drains} drains, {} leases", watch.leases.load(Ordering::SeqCst));
    assert_eq!(watch.late.load(Ordering::SeqCst), 0, "somebody had a connection of a pool that was drained");
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}
