//! What allocates, and what does not: taking an idle connection and giving it back never, waiting not once the pool is warm; and how much it takes to look.
//!
//! A binary of its own, because an allocator that counts is every test's allocator. It counts by thread.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "allocations/shown.rs"]
mod shown;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, Lease, Pool, SessionState};
use pool_testkit::fake::Numbers;
use tokio::runtime::{Builder, Runtime};
use tracing::subscriber::{Interest, set_default};
use tracing::{Event, Metadata, Subscriber, span};

/// A pool with all its connections open, and the runtime of its janitor.
fn warm_pool(size: usize) -> (Pool<Numbers>, Runtime) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let pool = runtime.block_on(async {
        let pool = Pool::builder(Numbers).max_size(size).min_size(size).build().unwrap();
        let mut leases = Vec::new();
        for _ in 0..size {
            leases.push(pool.acquire().await.unwrap());
        }
        drop(leases);
        pool
    });
    (pool, runtime)
}

/// Allocations of this thread meanwhile.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn an_idle_connection_is_taken_and_given_back_without_an_allocation() {
    let (pool, _runtime) = warm_pool(4);
    let every_way = || {
        for _ in 0..1000 {
            assert!(poll(pin!(pool.acquire())).is_ready());
            assert!(poll(pin!(pool.acquire_owned())).is_ready());
            drop(pool.try_acquire().unwrap());
            drop(pool.try_acquire_owned().unwrap());
        }
    };
    assert_eq!(allocations(every_way), 0);
}

#[test]
fn the_lowest_idle_connection_is_found_without_an_allocation() {
    let (pool, _runtime) = warm_pool(300);
    // Numbers but the last chunk of slots is left, and this thread's hint is one of those that are taken.
    let leases: Vec<_> = (0..299).map(|_| pool.try_acquire().unwrap()).collect();
    assert_eq!(allocations(|| drop(pool.try_acquire().unwrap())), 0);
    drop(leases);
}

/// Waiters, made and polled for the first time inside of `work`, in memory that was there before.
struct Crowd<'a, F>(Vec<Pin<Box<Option<F>>>>, &'a Pool<Numbers>);

impl<'a, F: Future<Output = Result<Lease<'a, Numbers>, AcquireError>>> Crowd<'a, F> {
    fn new(pool: &'a Pool<Numbers>, size: usize) -> Self {
        Self((0..size).map(|_| Box::pin(None)).collect(), pool)
    }

    fn join(&mut self, acquire: impl Fn(&'a Pool<Numbers>) -> F) {
        for place in &mut self.0 {
            place.set(Some(acquire(self.1)));
            assert!(poll(place.as_mut().as_pin_mut().unwrap()).is_pending());
        }
    }

    /// One after the other is served by the one before.
    fn be_served(&mut self) {
        for place in &mut self.0 {
            let outcome = poll(place.as_mut().as_pin_mut().unwrap());
            assert!(matches!(outcome, Poll::Ready(Ok(_))));
        }
    }

    fn give_up(&mut self) {
        self.0.iter_mut().for_each(|place| place.set(None));
    }
}

/// More than the cells of several segments of the queue.
const CROWD: usize = 100;

#[test]
fn a_wait_that_ends_with_a_connection_allocates_nothing_once_the_pool_is_warm() {
    let (pool, runtime) = warm_pool(1);
    let _inside = runtime.enter();
    let mut crowd = Crowd::new(&pool, CROWD);
    let mut round = || {
        let held = pool.try_acquire().unwrap();
        crowd.join(Pool::acquire);
        drop(held);
        crowd.be_served();
    };
    (0..3).for_each(|_| round());
    assert_eq!(allocations(|| (0..10).for_each(|_| round())), 0);
}

/// Connections that three may share.
struct Shared;

impl Driver for Shared {
    type Connection = u64;
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<u64, std::io::Error> {
        Ok(0)
    }
    fn inspect(&self, _: &mut u64) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
    fn shared_by(&self) -> usize {
        3
    }
}

#[test]
fn a_connection_is_shared_without_an_allocation_once_the_pool_is_warm() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let pool = Pool::builder(Shared).max_size(1).min_size(0).build().unwrap();
    runtime.block_on(async { drop(pool.share().await) });
    let _inside = runtime.enter();
    let round = || {
        for _ in 0..100 {
            let (one, two, three) = (pool.try_share().unwrap(), pool.try_share().unwrap(), pool.try_share().unwrap());
            let (mut waiter, mut alone) = (pin!(pool.share()), pin!(pool.acquire()));
            assert!(poll(waiter.as_mut()).is_pending() && poll(alone.as_mut()).is_pending());
            drop(one);
            assert!(matches!(poll(waiter), Poll::Ready(Ok(_))));
            drop((two, three));
            assert!(matches!(poll(alone), Poll::Ready(Ok(_))));
        }
    };
    round();
    assert_eq!(allocations(round), 0);
}

#[test]
fn a_wait_that_is_given_up_allocates_nothing_once_the_pool_is_warm() {
    let (pool, runtime) = warm_pool(1);
    let _inside = runtime.enter();
    let _held = pool.try_acquire().unwrap();
    let mut crowd = Crowd::new(&pool, CROWD);
    let mut round = || {
        crowd.join(Pool::acquire);
        crowd.give_up();
    };
    (0..3).for_each(|_| round());
    assert_eq!(allocations(|| (0..10).for_each(|_| round())), 0);
}

#[test]
fn a_wait_that_is_given_up_after_the_connection_came_allocates_nothing_once_the_pool_is_warm() {
    let (pool, runtime) = warm_pool(1);
    let _inside = runtime.enter();
    let mut crowd = Crowd::new(&pool, CROWD);
    let mut round = || {
        let held = pool.try_acquire().unwrap();
        crowd.join(Pool::acquire);
        drop(held);
        crowd.give_up();
    };
    (0..3).for_each(|_| round());
    assert_eq!(allocations(|| (0..10).for_each(|_| round())), 0);
}

/// Hears of everything that could be told, and wants none of it. It is asked each time: nothing is settled before.
struct Deaf;

impl Subscriber for Deaf {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        unreachable!("it wants none")
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Everything above is without a subscriber; this is with one who wants to know of none of the spans.
#[test]
fn spans_that_nobody_wants_cost_no_allocation_at_once_or_after_a_wait() {
    let (pool, runtime) = warm_pool(1);
    let _inside = runtime.enter();
    // Who gets none is told why, which is a box.
    let refused = || {
        let held = pool.try_acquire().unwrap();
        assert!(pool.try_acquire().is_err());
        drop(held);
    };
    let unheard = allocations(refused);
    let _listening = set_default(Deaf);
    assert_eq!(allocations(refused), unheard, "refused");
    let at_once = || {
        for _ in 0..1000 {
            assert!(poll(pin!(pool.acquire())).is_ready());
            drop(pool.try_acquire().unwrap());
        }
    };
    at_once();
    assert_eq!(allocations(at_once), 0, "at once");
    let mut crowd = Crowd::new(&pool, CROWD);
    let mut round = || {
        let held = pool.try_acquire().unwrap();
        crowd.join(Pool::acquire);
        drop(held);
        crowd.be_served();
        let held = pool.try_acquire().unwrap();
        crowd.join(Pool::acquire);
        drop(held);
        crowd.give_up();
    };
    (0..3).for_each(|_| round());
    assert_eq!(allocations(|| (0..10).for_each(|_| round())), 0, "after a wait, or when it was given up");
}

/// As services do it: tasks that park and are woken, with the janitor beside them.
#[test]
fn more_waits_of_tasks_do_not_need_more_allocations() {
    let (pool, runtime) = warm_pool(2);
    let user = async |rounds: usize| {
        for _ in 0..rounds {
            let lease = pool.acquire().await.unwrap();
            tokio::task::yield_now().await;
            drop(lease);
        }
    };
    let contend = |rounds| {
        runtime.block_on(async { tokio::join!(user(rounds), user(rounds), user(rounds), user(rounds), user(rounds)) });
    };
    contend(100);
    let few = allocations(|| contend(10));
    let waited = pool.stats().waited;
    assert_eq!(allocations(|| contend(1000)), few);
    assert!(pool.stats().waited - waited > 2000, "{} waits", pool.stats().waited - waited);
}
