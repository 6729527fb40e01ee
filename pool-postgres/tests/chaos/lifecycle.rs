//! F116, F117, F118, F127: how a pool begins, and how it ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{join, poll};
use pool_core::{AcquireError, WarmUpError};
use pool_postgres::{PostgresOwnedLease, PostgresPool};
use pool_testkit::proxy::{Admission, Direction, Frame, Toxic};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_postgres::Error;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::Chaos;
use crate::invariants;
use crate::users::SHORT;

/// Long enough that a test fails if anybody waits for it.
const SLEEP: &str = "SELECT pg_sleep(600)";

/// A pool of three that is busy in every way: one connection is in use, one is being reset, and one is being opened, which nobody answers; and there are those who wait.
async fn busy(chaos: &Chaos) -> (PostgresOwnedLease, Vec<JoinHandle<Result<(), AcquireError>>>) {
    chaos.fill(2).await;
    let (held, left) = (chaos.pool.acquire_owned().await.unwrap(), chaos.pool.acquire_owned().await.unwrap());
    {
        let mut query = std::pin::pin!(left.batch_execute(SLEEP));
        assert!(poll!(&mut query).is_pending());
        eventually("the server is at it", async || chaos.watch.works_on(SLEEP).await).await;
    }
    chaos.proxy.admit(Admission::Ignore).await;
    // It cannot be reset before the server has heard of it.
    drop(left);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let pool = chaos.pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        })
        .collect();
    let is_busy = async || {
        let state = chaos.pool.state();
        (state.leased, state.in_maintenance, state.opening, state.waiting) == (1, 1, 1, 10)
    };
    eventually("the pool is busy in every way", is_busy).await;
    (held, waiting)
}

async fn all_are_sent_away(waiting: Vec<JoinHandle<Result<(), AcquireError>>>) {
    for waiter in in_time("all are sent away", join_all(waiting)).await {
        assert!(matches!(waiter.unwrap(), Err(AcquireError::Closed)));
    }
}

/// Whoever waits is sent away, whoever has a connection goes on, and what is being opened is closed when it is open.
#[tokio::test]
async fn f116_a_close_while_everything_is_under_way_ends_all_of_it() {
    let chaos = Chaos::start(3).await;
    let (held, waiting) = busy(&chaos).await;
    let mut closing = Box::pin(chaos.pool.close());
    assert!(poll!(&mut closing).is_pending());
    all_are_sent_away(waiting).await;
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    chaos.heal().await;
    eventually("nothing else is left", async || chaos.pool.state().size == 1).await;
    assert!(poll!(&mut closing).is_pending(), "somebody is at work");
    drop(held);
    in_time("the close ends", closing).await;
    assert_eq!(chaos.watch.sessions().await, 0, "at once: it has waited for the server");
    let stats = invariants::close(chaos).await;
    assert_eq!((stats.opened, stats.timeouts), (3, 0), "what was on its way has come: {stats:?}");
}

/// Nobody answers any more, and the one who has a connection sleeps: whatever is under way is cut off when the time is over.
#[tokio::test]
async fn f116_a_close_in_time_cuts_off_what_is_under_way() {
    let chaos = Chaos::start(3).await;
    let (held, waiting) = busy(&chaos).await;
    let sleeper = tokio::spawn(async move { join!(held.batch_execute(SLEEP), held.batch_execute(SLEEP)) });
    eventually("the server sleeps", async || chaos.watch.works_on(SLEEP).await).await;
    let pool = chaos.pool.clone();
    let closing = tokio::spawn(async move { pool.close_within(SHORT).await });
    all_are_sent_away(waiting).await;
    let (first, second): (Result<(), Error>, _) = in_time("its user wakes up", sleeper).await.unwrap();
    assert!(first.unwrap_err().is_closed() && second.unwrap_err().is_closed());
    in_time("nothing is left", chaos.pool.close()).await;
    let stats = chaos.pool.stats();
    assert_eq!((stats.opened, stats.errors.open_abandoned), (2, 1), "the attempt was dropped: {stats:?}");
    // The server can be asked to cancel, while that is waited for.
    chaos.heal().await;
    let in_use = in_time("it ends in time", closing).await.unwrap();
    assert!(in_use <= 1, "{in_use}");
    invariants::close(chaos).await;
}

#[tokio::test]
async fn f117_a_pool_is_closed_once_however_many_close_it_from_wherever() {
    let chaos = Chaos::start(3).await;
    chaos.fill(3).await;
    let held = chaos.pool.acquire_owned().await.unwrap();
    assert!(poll!(Box::pin(chaos.pool.close())).is_pending(), "and is given up");
    assert!(chaos.pool.is_closed() && chaos.pool.acquire().await.is_err(), "it stays closed");
    let pool = || chaos.pool.clone();
    let mut closing: Vec<_> =
        (0..5).map(|_| pool()).map(|pool| tokio::spawn(async move { pool.close().await })).collect();
    let elsewhere = pool();
    closing.push(tokio::task::spawn_blocking(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(elsewhere.close());
    }));
    eventually("what nobody uses is closed", async || chaos.pool.state().size == 1).await;
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    assert!(closing.iter().all(|closing| !closing.is_finished()), "somebody is at work");
    // One who has a connection does not wait for itself longer than it says.
    assert_eq!(in_time("it ends in time", chaos.pool.close_within(SHORT)).await, 1);
    eventually("it is cut off", async || held.is_closed()).await;
    drop(held);
    for outcome in in_time("all of them end", join_all(closing)).await {
        outcome.unwrap();
    }
    let both = async { join!(chaos.pool.close(), chaos.pool.close_within(Duration::ZERO)) };
    assert_eq!(in_time("once more, at once", both).await, ((), 0));
    let stats = invariants::close(chaos).await;
    assert_eq!(stats.opened, 3, "{stats:?}");
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A pool that is dropped in the middle of its work, as nobody has it any more, and a lease of it. Its sessions have the name of the other pool's, so that they are watched.
async fn dropped_at_work(chaos: &Chaos) -> PostgresOwnedLease {
    let mut config = chaos.pool.driver().config().clone();
    config.pool.min_size = 3;
    config.pool.health_check_interval = Some(Duration::from_millis(10));
    let pool = PostgresPool::connect(config).await.unwrap();
    let held = pool.acquire_owned().await.unwrap();
    eventually("the minimum is there", async || pool.state().idle == 2).await;
    chaos.proxy.admit(Admission::Ignore).await;
    let more = join_all((0..3).map(|_| pool.acquire_owned()));
    tokio::select! {
        _ = more => panic!("there are two"),
        () = eventually("one is being opened", async || pool.state().opening == 1) => {}
    }
    held
}

/// Nobody has closed it. It ends with all that it does by itself, but for the lease.
async fn lives_and_is_dropped(chaos: &Chaos) {
    let before = tasks();
    let held = dropped_at_work(chaos).await;
    assert!(tasks() > before);
    chaos.heal().await;
    eventually("only the lease is left", async || chaos.watch.sessions().await == 1).await;
    assert_eq!(answer(&held, 1).await.unwrap(), 2, "it outlives its pool");
    drop(held);
    eventually("no session is left", async || chaos.watch.sessions().await == 0).await;
    eventually("no task is left", async || tasks() <= before).await;
}

#[tokio::test]
async fn f118_a_pool_whose_last_handle_is_dropped_ends_with_all_its_tasks_and_sessions() {
    let chaos = Chaos::start(4).await;
    // Something else may end after the start; a task that was left would be one more the second time.
    lives_and_is_dropped(&chaos).await;
    let after_one = tasks();
    lives_and_is_dropped(&chaos).await;
    assert!(tasks() <= after_one);
    invariants::hold(chaos).await;
}

/// A pool that is to be warmed up, of whose connections the third and all others begin with this instead of what they say.
async fn only_two(startup: &'static [u8]) -> Chaos {
    let chaos = Chaos::with(4, |config| config.pool.max_openers = 1).await;
    let begun = AtomicU64::new(0);
    chaos.proxy.set(
        Direction::ToServer,
        Toxic::edit(move |frame| match frame.kind() {
            Frame::STARTUP if begun.fetch_add(1, Ordering::Relaxed) >= 2 => startup.to_vec(),
            _ => frame.bytes().to_vec(),
        }),
    );
    chaos
}

/// How far a warm-up comes in a short time, and why no further. On a busy machine the time may be over before an
/// attempt has failed.
async fn comes_no_further(chaos: &Chaos) -> WarmUpError {
    let warming = async {
        loop {
            let error = chaos.pool.warm_up(4, Duration::ZERO, 4 * SHORT).await.unwrap_err();
            if !matches!(error, WarmUpError::Late { failure: None, .. }) {
                return error;
            }
        }
    };
    in_time("an end", warming).await
}

/// What there is serves, and the rest comes when nothing is in the way any more.
async fn halfway(chaos: Chaos) {
    assert_eq!(chaos.pool.state().size - chaos.pool.state().opening, 2);
    let both = [chaos.working().await, chaos.working().await];
    drop(both);
    chaos.heal().await;
    chaos.fill(4).await;
    let stats = invariants::hold(chaos).await;
    assert!(stats.open_failures > 0 && (stats.opened, stats.broken) == (4, 0), "{stats:?}");
}

#[tokio::test]
async fn f127_a_warm_up_that_comes_no_further_says_how_far_it_came() {
    let mut chaos = only_two(b"").await;
    // The first two have to be let in by then, on a busy machine, too.
    chaos.hurry(Duration::from_secs(4), LIMIT);
    let late = comes_no_further(&chaos).await;
    assert!(matches!(late, WarmUpError::Late { open: 2, wanted: 4, failure: Some(_), .. }), "{late}");
    chaos.note(&late);
    chaos.hurry(LIMIT, LIMIT);
    halfway(chaos).await;
}

/// With another name, that nobody has.
#[tokio::test]
async fn f127_a_warm_up_that_is_refused_halfway_does_not_harm_what_is_there() {
    let mut chaos = only_two(b"\0\0\0\x15\0\x03\0\0user\0nobody\0\0").await;
    let refused = comes_no_further(&chaos).await;
    assert!(matches!(refused, WarmUpError::Late { open: 2, wanted: 4, failure: Some(_), .. }), "{refused}");
    assert!(refused.to_string().contains("\"nobody\""), "{refused}");
    chaos.note(&refused);
    halfway(chaos).await;
}
