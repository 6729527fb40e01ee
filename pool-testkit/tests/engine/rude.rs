//! Wakers and subscribers that do as they like around policies: ask back, panic, or give a lease back in the middle.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use pool_core::{OwnedLease, Request, ScheduleConfig, Scheduler};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet_pool};
use crate::log::Listener;

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_when_a_lease_is_noted_costs_no_connection() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.leak_after = Some(5 * SECOND);
    let pool = pool_with(&driver, config);
    drop(pool.acquire().await.unwrap());
    {
        let _logging = tracing::subscriber::set_default(Listener::rude());
        let lease = pool.acquire().await.unwrap();
        assert_eq!(pool.holders()[0].span, None);
        drop(lease);
    }
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_it_next_is_not_cut_off_though_reporting_takes_long() {
    let (driver, kept) = (FakeDriver::new(), Arc::new(Mutex::new(None::<OwnedLease<FakeDriver>>)));
    let gives_back = {
        let kept = Arc::clone(&kept);
        // The lease comes back while its report is written.
        move |_: &str, value: &dyn Debug| {
            let lease =
                format!("{value:?}").contains("held for very long").then(|| kept.lock().unwrap().take()).flatten();
            drop(lease);
        }
    };
    let _logging = tracing::subscriber::set_default(Listener::new(gives_back));
    let mut config = quiet(1);
    (config.leak_after, config.reclaim_after) = (Some(5 * SECOND), Some(5 * SECOND));
    let pool = pool_with(&driver, config);
    *kept.lock().unwrap() = Some(pool.acquire_owned().await.unwrap());
    let next = pool.acquire_timeout(20 * SECOND).await.unwrap();
    assert!(!next.is_broken(), "it was another's that was held for too long");
    assert_eq!((pool.stats().leaks, pool.stats().reclaimed), (1, 1));
    drop(next);
    prove_nothing_lost(&pool, &driver).await;
}

/// A scheduler for one connection, which somebody has.
async fn taken(size: usize) -> (Scheduler<FakeDriver>, pool_core::ScheduledLease<FakeDriver>) {
    let pool = quiet_pool(&FakeDriver::new(), size);
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let held = scheduler.acquire(Request::new()).await.unwrap();
    (scheduler, held)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Asks the scheduler when it is woken.
struct Asks(Scheduler<FakeDriver>);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        assert_eq!(self.0.stats().waiting, 0, "it has left the line");
    }
}

#[test]
fn a_waker_may_ask_the_scheduler_when_its_request_is_dropped() {
    let (done, ended) = mpsc::channel();
    // In a thread of its own, as this could stand still for ever.
    thread::spawn(move || {
        runtime().block_on(async {
            let (scheduler, held) = taken(1).await;
            let waker = Waker::from(Arc::new(Asks(scheduler.clone())));
            let mut waiting = Box::pin(scheduler.acquire(Request::new()));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop((waiting, held));
            done.send(scheduler.stats().cancelled).unwrap();
        });
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(1));
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker was told to panic");
    }

    fn wake_by_ref(self: &Arc<Self>) {
        panic!("a waker was told to panic");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_in_the_line() {
    runtime().block_on(async {
        let (scheduler, held) = taken(4).await;
        let waker = Waker::from(Arc::new(Panics));
        let mut batch = Box::pin(scheduler.acquire_many(Request::new().within(600 * SECOND), 4));
        assert!(batch.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Behind the batch, whose turn it is.
        let mut next = Box::pin(scheduler.acquire(Request::new().within(60 * SECOND)));
        assert!(is_pending(&mut next));
        let begun = Instant::now();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(batch))).is_ok());
        drop(next.await.unwrap());
        assert!(begun.elapsed() < SECOND);
        drop(held);
    });
}
