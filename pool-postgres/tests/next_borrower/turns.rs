//! The task of a session that is taken off its processor in the middle of its turn: it has passed an answer on, and is not done yet. That costs nobody his session.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pool_core::{Attempt, ConnectionFacts, Driver, HandOut, HookError, HookPoint, Hooks};
use pool_postgres::{PostgresConfig, PostgresConnection, PostgresDriver, PostgresPool};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::common::{config, database};

/// The threads on which turns take long.
const SLOW: &str = "slow turns";
/// For how long: more than anybody spins for.
const TURN: Duration = Duration::from_millis(20);

thread_local! {
    /// How many turns have taken long on this thread.
    static SLOWED: Cell<u32> = const { Cell::new(0) };
}

/// The thread on which one turn ends by a panic, once it is to.
const WILD: &str = "wild turns";
static PANICS: AtomicBool = AtomicBool::new(false);

/// Hears every line that is logged, also by a client that holds the wire: it says that it waits for more when it has passed on what there was.
pub(crate) fn hear(line: &[u8]) {
    if !String::from_utf8_lossy(line).contains("poll_read: waiting on response") {
        return;
    }
    match thread::current().name() {
        Some(SLOW) => {
            SLOWED.set(SLOWED.get() + 1);
            thread::sleep(TURN);
        }
        Some(WILD) => assert!(!PANICS.swap(false, Ordering::SeqCst), "in the middle of a turn"),
        _ => {}
    }
}

fn runtime(name: &str) -> Runtime {
    pool_testkit::secrets::listen_too(crate::hear);
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

/// A session whose task is of this runtime.
fn session(runtime: &Runtime, config: PostgresConfig) -> (PostgresDriver, PostgresConnection) {
    let driver = PostgresDriver::new(config).unwrap();
    let connecting = runtime.spawn(async move {
        let connection = driver.connect(&Attempt::default()).await;
        (driver, connection.unwrap())
    });
    runtime.block_on(connecting).unwrap()
}

/// Asks something at these points.
struct Asking(Vec<HookPoint>);

impl Hooks<PostgresConnection> for Asking {
    fn points(&self) -> &[HookPoint] {
        &self.0
    }

    async fn before_hand_out(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> HandOut {
        connection.batch_execute("SELECT 1").await.map_or(HandOut::CloseAndTryAnother, |()| HandOut::Use)
    }

    async fn on_release(&self, connection: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        Ok(connection.batch_execute("SELECT 1").await?)
    }
}

/// A pool, in one runtime, with a session of the other one, from which it does not part.
fn borrow_again_and_again(hooks: Vec<HookPoint>, change: impl FnOnce(&mut PostgresConfig), work: &str) {
    let database = database();
    // Whoever waits for an answer is awake while the session's turn still lasts.
    let (slow, quick) = (runtime(SLOW), runtime("quick turns"));
    let mut config = config(database.url(), 1);
    change(&mut config);
    let (_, session) = session(&slow, config.clone());
    let stats = quick.block_on(async {
        let built = PostgresPool::builder(config).unwrap().hooks(Asking(hooks)).build();
        let pool = PostgresPool::from(built.unwrap());
        pool.adopt(session).unwrap();
        for _ in 0..10 {
            pool.acquire().await.unwrap().batch_execute(work).await.unwrap();
        }
        drop(pool.acquire().await.unwrap());
        pool.stats()
    });
    assert_eq!((stats.adopted, stats.opened, stats.broken), (1, 1, 0), "{stats:?}");
    // On its only thread. Else the client has another word for it by now, and nothing was tried.
    let slowed = slow.block_on(slow.spawn(async { SLOWED.get() })).unwrap();
    assert!(slowed > 10, "{slowed} turns took long");
    // It ends with its runtime.
    slow.shutdown_background();
}

#[test]
fn a_session_is_kept_that_has_been_reset() {
    borrow_again_and_again(Vec::new(), |_| {}, "BEGIN; SET work_mem = '5MB'");
}

/// Before a hand-over.
#[test]
fn a_session_is_kept_that_has_answered_a_ping() {
    let often = Some(Duration::from_millis(1));
    borrow_again_and_again(Vec::new(), |config| config.pool.check_after_idle = often, "SELECT pg_sleep(0.002)");
}

#[test]
fn a_session_is_kept_of_which_a_hook_has_asked_something() {
    borrow_again_and_again(vec![HookPoint::BeforeHandOut, HookPoint::OnRelease], |_| {}, "SELECT 1");
}

/// Nobody waits for a turn that has no end: the ping fails, since the session has ended.
fn a_ping_ends(of: Runtime, end: impl FnOnce(Runtime) -> Option<Runtime>) {
    let database = database();
    let (driver, mut connection) = session(&of, config(database.url(), 1));
    let left = end(of);
    let quick = runtime("quick turns");
    let pinged = quick.block_on(async { timeout(Duration::from_mins(1), driver.ping(&mut connection)).await });
    pinged.expect("it ends").expect_err("the session has ended");
    assert!(connection.is_closed());
    left.into_iter().for_each(Runtime::shutdown_background);
}

#[test]
fn a_ping_ends_if_the_runtime_of_the_session_is_gone() {
    a_ping_ends(runtime("quick turns"), |runtime| {
        drop(runtime);
        None
    });
    a_ping_ends(Builder::new_current_thread().enable_all().build().unwrap(), |runtime| {
        drop(runtime);
        None
    });
}

/// With the wire in its hands.
#[test]
fn a_ping_ends_if_the_task_of_the_session_panics() {
    a_ping_ends(runtime(WILD), |runtime| {
        PANICS.store(true, Ordering::SeqCst);
        Some(runtime)
    });
}
