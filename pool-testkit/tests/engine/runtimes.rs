//! Pools that outlive runtimes, and leases dropped where there is none.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::thread::ThreadId;
use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, Pool, SessionState};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::runtime::{Builder, Runtime};

use crate::common::{pool_with, prove_nothing_lost, quiet, quiet_pool};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn a_pool_can_be_built_and_leases_dropped_outside_of_a_runtime() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })));
    let runtime = runtime();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    let dirty = runtime.block_on(pool.acquire_owned()).unwrap();
    dirty.make_dirty();
    drop(lease);
    drop(dirty);
    assert_eq!(pool.try_acquire().unwrap().id(), 0);
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn waiting_outside_of_a_runtime_is_an_error_not_a_panic() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let mut acquire = Box::pin(pool.acquire());
    assert!(matches!(crate::common::ready(&mut acquire), Err(AcquireError::NoRuntime { .. })));
}

#[test]
fn the_next_runtime_takes_over_from_one_that_ended() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Hang]);
    let pool = quiet_pool(&driver, 3);
    let first = runtime();
    let lease = first.block_on(pool.acquire_owned()).unwrap();
    first.block_on(async {
        // Leaves an opener behind that never ends.
        let _ = pool.acquire_timeout(Duration::from_secs(1)).await;
    });
    drop(first);
    lease.make_dirty();
    drop(lease);
    let second = runtime();
    second.block_on(async {
        assert_eq!(pool.acquire().await.unwrap().id(), 0, "reset by the second janitor");
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn those_who_wait_on_another_runtime_start_the_next_janitor() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Hang]);
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    first.block_on(async {
        let _ = pool.acquire_timeout(Duration::from_secs(1)).await;
    });
    let second = runtime();
    second.block_on(async {
        let waiter = tokio::spawn({
            let pool = pool.clone();
            async move { pool.acquire_owned().await.map(drop) }
        });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        waiter.await.unwrap().unwrap();
        prove_nothing_lost(&pool, &driver).await;
    });
}

/// The task of an executor that polls where it is woken, as some do. It is polled a thousand times at most, or a fault would show as a test that never ends.
struct AtOnce {
    runtime: tokio::runtime::Handle,
    future: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
    polls: AtomicUsize,
}

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        // ORDERING: Relaxed: a count.
        if self.polls.fetch_add(1, Ordering::Relaxed) < 1_000 {
            let _runtime = self.runtime.enter();
            let waker = Arc::clone(&self).into();
            let _ = self.future.lock().unwrap().as_mut().poll(&mut Context::from_waker(&waker));
        }
    }
}

#[test]
fn waiters_that_join_again_at_once_do_not_keep_a_runtime_from_ending() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let (first, second) = (runtime(), runtime());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    let waiting = pool.clone();
    let task = Arc::new(AtOnce {
        runtime: second.handle().clone(),
        future: Mutex::new(Box::pin(async move { waiting.acquire().await.map(drop).unwrap() })),
        polls: AtomicUsize::new(0),
    });
    Arc::clone(&task).wake();
    drop(first);
    // ORDERING: Relaxed: there is one thread.
    assert_eq!(task.polls.load(Ordering::Relaxed), 2, "it is woken once, and joins again");
    drop(held);
    // ORDERING: Relaxed, as above.
    assert_eq!(task.polls.load(Ordering::Relaxed), 3, "and is served");
    second.block_on(prove_nothing_lost(&pool, &driver));
}

/// The janitor's runtime is alive, and nobody drives it.
#[test]
fn a_close_in_time_ends_in_time_though_the_runtime_of_the_janitor_stands_still() {
    let (standing, other, driver) = (runtime(), runtime(), FakeDriver::new());
    driver.script(Call::Connect, [Step::Ok, Step::Ok, Step::Hang]);
    let pool = quiet_pool(&driver, 3);
    let [idle, broken] = standing.block_on(async { [pool.acquire_owned().await, pool.acquire_owned().await] });
    standing.block_on(async {
        let _ = pool.acquire_timeout(Duration::from_millis(1)).await;
    });
    drop(idle.unwrap());
    let broken = broken.unwrap();
    broken.break_it();
    drop(broken);
    other.block_on(async {
        let started = tokio::time::Instant::now();
        let limit = Duration::from_secs(5);
        assert_eq!((pool.close_within(limit).await, started.elapsed()), (1, limit + Duration::from_secs(1)));
        assert_eq!((pool.state().opening, pool.state().size, driver.ledger().live()), (1, 1, 0), "that is over there");
    });
    drop(standing);
    other.block_on(pool.close());
    driver.ledger().settle(&pool.stats());
}

/// As above, and nothing is in the hands of that runtime: others who wait for the end hear of it, too.
#[test]
fn a_pool_that_is_closed_without_its_janitor_is_closed() {
    let (standing, other, driver) = (runtime(), runtime(), FakeDriver::new());
    let pool = quiet_pool(&driver, 1);
    drop(standing.block_on(pool.acquire()).unwrap());
    other.block_on(async {
        let closing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.close().await }
        });
        assert_eq!(pool.close_within(Duration::from_secs(1)).await, 0);
        closing.await.unwrap();
    });
    driver.ledger().settle(&pool.stats());
}

#[test]
fn a_runtime_that_stands_still_stops_no_clock_but_its_own() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    let held = first.block_on(pool.acquire_owned()).unwrap();
    // The janitor is on the first runtime, which nobody drives from here on.
    runtime().block_on(async {
        let error = pool.acquire_timeout(Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { situation, .. } if situation.waited == Duration::from_secs(2)));
    });
    drop(held);
    first.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn a_waiter_whose_janitor_goes_away_keeps_its_deadline() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let (first, second) = (runtime(), runtime());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    // Joins where the janitor keeps the time for it, and waits on elsewhere.
    let mut waiting = Box::pin(pool.acquire_timeout(Duration::from_mins(1)));
    first.block_on(async { assert!(crate::common::is_pending(&mut waiting)) });
    second.block_on(async {
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        let before = tokio::time::Instant::now();
        assert!(matches!(waiting.await, Err(AcquireError::Timeout { .. })));
        // The clocks stand where they were made, which may have been some seconds apart.
        assert!(before.elapsed() > Duration::from_secs(4), "not at once: {:?}", before.elapsed());
        drop(held);
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn the_epoch_does_not_start_again_with_the_next_runtime() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.idle_timeout = Some(Duration::from_mins(5));
    let pool = pool_with(&driver, config);
    let first = runtime();
    first.block_on(async {
        drop(pool.acquire().await.unwrap());
        tokio::time::sleep(Duration::from_mins(4)).await;
        let held = pool.acquire().await.unwrap();
        tokio::time::sleep(Duration::from_hours(1)).await;
        drop(held);
    });
    drop(first);
    runtime().block_on(async {
        drop([pool.acquire().await.unwrap(), pool.acquire().await.unwrap()]);
        tokio::time::sleep(Duration::from_mins(6)).await;
        assert_eq!((pool.state().size, pool.stats().idle_timed_out), (0, 2));
        prove_nothing_lost(&pool, &driver).await;
    });
}

#[test]
fn close_moves_to_another_runtime_when_the_first_ends() {
    let driver = FakeDriver::new();
    driver.always(Call::Close, Step::Hang);
    let pool = quiet_pool(&driver, 1);
    let first = runtime();
    drop(first.block_on(pool.acquire()).unwrap());
    let second = runtime();
    second.block_on(async {
        let mut closing = Box::pin(pool.close());
        assert!(crate::common::is_pending(&mut closing));
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        closing.await;
    });
    driver.ledger().settle(&pool.stats());
}

#[test]
fn a_pool_dropped_outside_of_a_runtime_closes_its_connections() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let runtime = runtime();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    drop(runtime.block_on(pool.acquire()).unwrap());
    drop(runtime);
    drop(pool);
    drop(lease);
    assert_eq!((driver.ledger().opened(), driver.ledger().live()), (2, 0));
    driver.ledger().check();
}

#[test]
fn a_lease_dropped_by_a_panic_comes_back() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let runtime = runtime();
    runtime.block_on(async {
        let task = tokio::spawn({
            let pool = pool.clone();
            async move {
                let _lease = pool.acquire_owned().await.unwrap();
                panic!("on purpose");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(pool.try_acquire().unwrap().id(), 0);
        prove_nothing_lost(&pool, &driver).await;
    });
}

/// Threads on a real clock: the only test here that is not on virtual time, and it waits for nothing.
#[test]
fn many_threads_share_a_few_connections() {
    let driver = FakeDriver::new();
    driver.limit(3);
    let pool = Pool::builder(driver.clone()).config(quiet(3)).build().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let users: Vec<_> = (0..16)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for round in 0..500 {
                        let lease = pool.acquire().await.unwrap();
                        let in_hand = lease.take_in_hand();
                        if round % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        drop(in_hand);
                        if round % 50 == 0 {
                            lease.discard();
                        }
                    }
                })
            })
            .collect();
        for user in users {
            user.await.unwrap();
        }
        assert_eq!(pool.stats().acquired, 16 * 500);
        prove_nothing_lost(&pool, &driver).await;
    });
}

/// Takes an instant to look at a connection, and counts how often the janitor does.
#[derive(Clone)]
struct Slow {
    caller: ThreadId,
    inspected: Arc<AtomicUsize>,
}

impl Driver for Slow {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Ok(())
    }

    fn inspect(&self, (): &mut ()) -> SessionState {
        if std::thread::current().id() != self.caller {
            (0..64).for_each(|_| std::hint::spin_loop());
            // ORDERING: Relaxed: a count.
            self.inspected.fetch_add(1, Ordering::Relaxed);
        }
        SessionState::Clean
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// The only connection is idle all the while, but for the instants in which the janitor looks at it.
#[test]
fn whoever_does_not_wait_gets_what_the_janitor_looks_at() {
    let driver = Slow { caller: std::thread::current().id(), inspected: Arc::default() };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let mut config = quiet(1);
    config.min_size = 1;
    config.idle_timeout = Some(Duration::from_millis(1));
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    drop(runtime.block_on(pool.acquire()).unwrap());
    // By the looks: it is missed again and again while the janitor's thread is stopped in the middle of one.
    let mut missed = BTreeSet::new();
    // ORDERING: Relaxed: a count.
    let looks = || driver.inspected.load(Ordering::Relaxed);
    while looks() < 40 {
        if pool.try_acquire().is_err() {
            missed.insert(looks());
        }
        if crate::common::ready(&mut Box::pin(pool.acquire())).is_err() {
            missed.insert(looks());
        }
    }
    assert!(missed.len() < 10, "missed in {missed:?}, more often than the janitor's thread can have been stopped");
}
