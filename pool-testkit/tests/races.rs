//! Threads change plain data behind leases. Every change has to be there in the end; and the thread sanitizer, under which `.ci/races` runs this, has to find
//! that each was made after the one before, by the orderings of the pool alone.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::thread;

use pool_core::Pool;
use pool_testkit::fake::Numbers;
use tokio::runtime::Builder;

/// By its name `.ci/races` knows what concerns the pool: the sanitizer also takes what the standard library does for races.
#[inline(never)]
fn touch_what_is_leased(number: &mut u64) {
    *number += 1;
}

const THREADS: u64 = 3;
const TASKS: u64 = 3;
const TURNS: u64 = 300;
const CONNECTIONS: usize = 2;

async fn use_it(pool: Pool<Numbers>) {
    for turn in 0..TURNS {
        let mut lease = pool.acquire().await.unwrap();
        touch_what_is_leased(&mut lease);
        if turn % 3 == 0 {
            tokio::task::yield_now().await;
            touch_what_is_leased(&mut lease);
        }
    }
}

fn run_tasks(pool: &Pool<Numbers>) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(use_it(pool.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn what_is_leased_is_changed_by_one_after_the_other() {
    let pool = Pool::builder(Numbers).max_size(CONNECTIONS).min_size(0).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| run_tasks(&pool));
        }
    });
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let sum = runtime.block_on(async {
        let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        leases.iter().map(|lease| **lease).sum::<u64>()
    });
    assert_eq!(sum, THREADS * TASKS * (TURNS + TURNS / 3));
    assert!(pool.stats().waited > 0, "some were handed over");
}
