//! What a driver, an error, a waker or a subscriber may do where nobody expects it.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use pool_core::{Aborter, AcquireError, Attempt, Driver, ErrorClass, OpenFailure, Pool, SessionState};
use pool_testkit::fake::FakeDriver;
use tokio::runtime::Builder;

use crate::common::{SECOND, is_pending, prove_nothing_lost, prove_whole, quiet, quiet_pool, ready};
use crate::log::Listener;
use crate::log::Log;

/// An error that panics when it is dropped or shown, as it is told.
#[derive(Debug, Default)]
struct Hostile {
    in_drop: bool,
    in_display: bool,
}

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.in_display, "told to panic in Display");
        f.write_str("a hostile error")
    }
}

impl std::error::Error for Hostile {}

impl Drop for Hostile {
    fn drop(&mut self) {
        assert!(!self.in_drop || std::thread::panicking(), "told to panic in Drop");
    }
}

/// Opens numbers, or fails.
struct Numbers {
    attempts: Arc<AtomicU64>,
    fail: Box<dyn Fn(u64) -> Option<Hostile> + Send + Sync>,
    broken: AtomicBool,
}

impl Numbers {
    fn new(fail: impl Fn(u64) -> Option<Hostile> + Send + Sync + 'static) -> Self {
        Self { attempts: Arc::default(), fail: Box::new(fail), broken: false.into() }
    }
}

impl Driver for Numbers {
    type Connection = u64;
    type Error = Hostile;

    async fn connect(&self, _: &Attempt) -> Result<u64, Hostile> {
        let number = self.attempts.fetch_add(1, SeqCst);
        (self.fail)(number).map_or(Ok(number), Err)
    }

    fn inspect(&self, _: &mut u64) -> SessionState {
        if self.broken.load(SeqCst) { SessionState::Broken } else { SessionState::Clean }
    }

    fn classify(&self, _: &Hostile) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn f107_an_error_that_cannot_be_dropped_costs_no_connection() {
    let driver = Numbers::new(|number| (number < 2).then(|| Hostile { in_drop: true, ..Hostile::default() }));
    let pool = Pool::builder(driver).config(quiet(1)).build().unwrap();
    assert_eq!(*pool.acquire().await.unwrap(), 2);
    assert_eq!(*pool.acquire().await.unwrap(), 2, "the slot is still there");
    prove_whole(&pool).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_shown_does_not_end_the_backoff() {
    // Formats every event, and keeps none.
    let formatting = Listener::new(|_, value| drop(format!("{value:?}")));
    let _formatting = tracing::subscriber::set_default(formatting);
    let driver = Numbers::new(|_| Some(Hostile { in_display: true, ..Hostile::default() }));
    let attempts = Arc::clone(&driver.attempts);
    let pool = Pool::builder(driver).config(quiet(4)).build().unwrap();
    let error = pool.acquire_timeout(2 * SECOND).await.unwrap_err();
    let AcquireError::Timeout { failure: Some(failure), .. } = &error else { panic!("not a timeout") };
    assert!(matches!(&**failure, OpenFailure::Driver { .. }));
    let attempts = attempts.load(SeqCst);
    assert!(attempts < 60, "{attempts} attempts in two seconds, with pauses of 25 ms and more, but for the first");
}

/// A waker that panics when it is woken.
struct Grumpy;

impl Wake for Grumpy {
    fn wake(self: Arc<Self>) {
        panic!("told to panic in wake");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_may_be_waited_for_with_a_waker_that_panics() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire_owned().await.unwrap();
    let grumpy: Waker = Arc::new(Grumpy).into();
    let mut closing = Box::pin(pool.close());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&grumpy)).is_pending());
    drop(lease);
    tokio::time::sleep(SECOND).await;
    closing.await;
    driver.ledger().settle(&pool.stats());
}

/// Begins to wait for a close with a waker that panics, and lets an ordinary task wait after it.
async fn close_twice(pool: &Pool<FakeDriver>) -> (impl Future<Output = ()>, tokio::task::JoinHandle<()>) {
    let grumpy: Waker = Arc::new(Grumpy).into();
    let mut closing = Box::pin(pool.close());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&grumpy)).is_pending());
    let pool = pool.clone();
    let other = tokio::spawn(async move { pool.close().await });
    tokio::task::yield_now().await;
    (closing, other)
}

#[tokio::test(start_paused = true)]
async fn f109_a_waker_that_panics_keeps_nobody_else_waiting_for_a_close() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire_owned().await.unwrap();
    let (_closing, other) = close_twice(&pool).await;
    drop(lease);
    tokio::time::timeout(10 * SECOND, other).await.expect("the other one is woken").unwrap();
    driver.ledger().settle(&pool.stats());
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_starting_the_next_janitor() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let [first, second] =
        [0; 2].map(|_| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());
    let lease = first.block_on(pool.acquire_owned()).unwrap();
    second.block_on(async {
        let (_closing, other) = close_twice(&pool).await;
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        drop(lease);
        tokio::time::timeout(10 * SECOND, other).await.expect("the other one is woken").unwrap();
    });
}

/// In the context of a runtime that has ended, nobody can start a janitor.
#[test]
fn a_close_that_cannot_go_on_does_not_spin() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let lease = runtime.block_on(pool.acquire_owned()).unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let (done, is_done) = std::sync::mpsc::channel();
    let closing = pool.clone();
    std::thread::spawn(move || {
        let _inside = handle.enter();
        assert!(is_pending(&mut Box::pin(closing.close())));
        done.send(()).unwrap();
    });
    is_done.recv_timeout(10 * SECOND).expect("one poll ends");
    drop(lease);
}

#[test]
fn a_wait_whose_timer_has_gone_says_so_outside_of_a_runtime() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let [first, second] =
        [0; 2].map(|_| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    let mut waiting = Box::pin(pool.acquire_timeout(SECOND));
    second.block_on(async { assert!(is_pending(&mut waiting)) });
    assert!(is_pending(&mut waiting), "its timer is still there");
    drop(second);
    assert!(matches!(ready(&mut waiting), Err(AcquireError::NoRuntime { .. })));
    assert_eq!(pool.state().waiting, 0);
    drop(held);
    first.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn a_wait_takes_its_timer_along() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let [first, second, third] =
        [0; 3].map(|_| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    let mut waiting = Box::pin(pool.acquire_timeout(SECOND));
    second.block_on(async { assert!(is_pending(&mut waiting)) });
    third.block_on(async {
        let waited = tokio::time::timeout(2 * SECOND, waiting).await;
        assert!(matches!(waited, Ok(Err(AcquireError::Timeout { .. }))));
    });
    drop(held);
    first.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn a_runtime_without_a_timer_is_refused_at_once() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let timeless = Builder::new_current_thread().build().unwrap();
    let acquire = std::panic::AssertUnwindSafe(|| timeless.block_on(pool.acquire_timeout(SECOND)).is_ok());
    assert!(std::panic::catch_unwind(acquire).is_err(), "it cannot wait");
    assert_eq!(pool.state().waiting, 0);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

#[test]
fn a_closed_pool_says_so_without_a_runtime() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    assert!(is_pending(&mut Box::pin(pool.close())));
    assert!(matches!(ready(&mut Box::pin(pool.acquire())), Err(AcquireError::Closed)));
}

#[test]
fn a_wait_that_goes_on_elsewhere_ends_in_time() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let [first, second] =
        [0; 2].map(|_| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());
    let held = first.block_on(pool.acquire_owned()).unwrap();
    let mut waiting = Box::pin(pool.acquire_timeout(SECOND));
    first.block_on(async { assert!(is_pending(&mut waiting)) });
    // The janitor keeps its time, on a runtime that nobody drives from here on.
    second.block_on(async {
        let waited = tokio::time::timeout(2 * SECOND, waiting).await;
        assert!(matches!(waited, Ok(Err(AcquireError::Timeout { .. }))));
    });
    drop(held);
    first.block_on(prove_nothing_lost(&pool, &driver));
}

/// As after a restart of the server. On a small stack, so that a search that calls itself for each of them would not end well.
#[test]
fn thousands_of_dead_connections_are_passed_over() {
    const MANY: usize = 5_000;
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut config = quiet(MANY);
    (config.min_size, config.max_openers) = (MANY, MANY);
    let pool = runtime.block_on(async {
        let pool = Pool::builder(Numbers::new(|_| None)).config(config).build().unwrap();
        while pool.state().idle < MANY {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pool
    });
    pool.driver().broken.store(true, SeqCst);
    let search = || assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, search).unwrap();
        thread.join().unwrap();
    });
    assert_eq!(pool.stats().broken, MANY as u64);
}

/// What a connection finds when it is dropped.
#[derive(Clone, Default)]
struct Witness {
    pool: Arc<Mutex<Option<Pool<Witness>>>>,
    sizes: Arc<Mutex<Vec<usize>>>,
}

struct Watched(Witness);

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(pool) = self.0.pool.lock().unwrap().clone() else { return };
        self.0.sizes.lock().unwrap().push(pool.state().size);
    }
}

impl Driver for Witness {
    type Connection = Watched;
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<Watched, std::io::Error> {
        Ok(Watched(self.clone()))
    }

    fn inspect(&self, _: &mut Watched) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// A runtime ends after its janitor has handed out a close, and before that has begun.
#[test]
fn a_slot_is_not_free_before_its_connection_is_gone() {
    for turns in 0..8 {
        let runtime = Builder::new_current_thread().enable_time().event_interval(1).build().unwrap();
        let witness = Witness::default();
        runtime.block_on(async {
            let pool = Pool::builder(witness.clone()).config(quiet(1)).build().unwrap();
            let lease = pool.acquire_owned().await.unwrap();
            witness.pool.lock().unwrap().replace(pool);
            lease.discard();
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
        drop(runtime);
        let pool = witness.pool.lock().unwrap().take();
        let sizes = witness.sizes.lock().unwrap().clone();
        assert!(sizes.iter().all(|size| *size == 1), "{sizes:?} after {turns} turns");
        drop(pool);
    }
}

/// A driver of which whatever is asked panics, and a connection whose aborter cannot be dropped.
struct Panicky;

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "told to panic in Drop");
    }
}

impl Driver for Panicky {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Err(std::io::Error::other("told to fail"))
    }

    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }

    fn host<'a>(&'a self, (): &'a ()) -> Option<&'a str> {
        panic!("told to panic in host")
    }

    fn session_id(&self, (): &()) -> Option<u64> {
        panic!("told to panic in session_id")
    }

    fn aborter(&self, (): &()) -> Option<Aborter> {
        let bomb = Bomb;
        Some(Box::new(move || drop(bomb)))
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        panic!("told to panic in classify")
    }
}

#[test]
fn a_pool_is_dropped_though_what_it_holds_cannot_be() {
    let pool = Pool::builder(Panicky).config(quiet(2)).build().unwrap();
    pool.adopt(()).unwrap();
    pool.adopt(()).unwrap();
    drop(pool);
}

/// The pool is all that still has the errors when it is dropped, after its runtime.
#[test]
fn a_pool_is_dropped_though_its_last_failure_cannot_be() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let driver = Numbers::new(|_| Some(Hostile { in_drop: true, ..Hostile::default() }));
    let pool = Pool::builder(driver).config(quiet(1)).build().unwrap();
    runtime.block_on(async {
        let late = pool.acquire_timeout(SECOND).await.unwrap_err();
        let failure = if let AcquireError::Timeout { failure, .. } = late { failure } else { None };
        // One of those that the pool has had has been let go by now; this is the last.
        let last = Arc::into_inner(failure.unwrap());
        assert!(last.is_none(), "the pool has it, too");
    });
    drop(runtime);
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_instead_of_answering_is_reported() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.listener());
    let pool = Pool::builder(Panicky).config(quiet(2)).build().unwrap();
    pool.adopt(()).unwrap();
    pool.retire_host("a");
    assert_eq!(pool.state().idle, 1, "it is to no host");
    let held = pool.acquire().await.unwrap();
    assert_eq!(pool.holders()[0].session, None);
    let late = pool.acquire_timeout(SECOND).await.unwrap_err();
    assert!(matches!(late, AcquireError::Timeout { failure: Some(_), .. }), "such an error may pass: {late}");
    drop(held);
    let text = log.text();
    for what in ["told to panic in host", "told to panic in session_id", "told to panic in classify"] {
        assert!(text.contains(what), "{what}: {text}");
    }
    assert_eq!(pool.close_within(SECOND).await, 0);
}
