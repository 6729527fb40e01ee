//! The task of a session that is taken off its processor in the middle of its turn: it has passed an answer on, and is not done yet. That costs nobody his session.

use std::thread;
use std::time::Duration;

use pool_core::{Attempt, ConnectionFacts, Driver, HandOut, HookError, HookPoint, Hooks};
use pool_postgres::{PostgresConfig, PostgresConnection, PostgresDriver, PostgresPool};
use tokio::runtime::Runtime;

use crate::common::{config, database};

/// The threads on which turns take long.
const SLOW: &str = "slow turns";
/// For how long: more than anybody spins for.
const TURN: Duration = Duration::from_millis(20);

/// Hears every line that is logged, also by a client that holds the wire: it says that it waits for more when it has passed on what there was.
pub(crate) fn hear(line: &[u8]) {
    let is_slow = thread::current().name() == Some(SLOW);
    if is_slow && String::from_utf8_lossy(line).contains("poll_read: waiting on response") {
        thread::sleep(TURN);
    }
}

/// A runtime for a session, and one for everything else: whoever waits for an answer is awake while the session's turn still lasts.
fn runtimes() -> (Runtime, Runtime) {
    pool_testkit::secrets::listen_too(crate::hear);
    let builder = |name: &str| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name(name).enable_all().build().unwrap()
    };
    (builder(SLOW), builder("quick turns"))
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
    let (slow, quick) = runtimes();
    let mut config = config(database.url(), 1);
    change(&mut config);
    let driver = PostgresDriver::new(config.clone()).unwrap();
    let session = slow.block_on(slow.spawn(async move { driver.connect(&Attempt::default()).await })).unwrap().unwrap();
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
