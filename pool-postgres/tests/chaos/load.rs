//! F078, F082 to F086, F126: more users than connections, users who keep what they have or want more, and users who have no time.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pool_core::{AcquireError, IdleOrder};
use pool_postgres::PostgresOwnedLease;
use tokio::sync::Barrier;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::Chaos;
use crate::invariants;
use crate::users::SHORT;

/// How many wait, with patience and without.
const CROWD: usize = 50_000;

/// Whoever has patience is served in the order in which they came, by two connections; whoever has none is told in time, and is in nobody's way.
#[tokio::test]
async fn f078_of_a_hundred_thousand_who_wait_half_are_told_in_time_and_half_are_served() {
    let chaos = Chaos::with(2, |config| config.pool.acquire_timeout = 2 * LIMIT).await;
    let held = [chaos.working().await, chaos.working().await];
    let served = RefCell::new(Vec::new());
    let patient = join_all((0..CROWD).map(async |number| {
        let lease = chaos.pool.acquire().await.expect("it is served");
        served.borrow_mut().push(number);
        if number.is_multiple_of(1_000) {
            assert_eq!(answer(&lease, 1).await.unwrap(), 2);
        }
    }));
    let hasty = async {
        eventually("the patient ones wait", async || chaos.pool.state().waiting == CROWD).await;
        let hasty = join_all((0..CROWD).map(|_| chaos.pool.acquire_timeout(SHORT))).await;
        assert!(hasty.iter().all(|outcome| matches!(outcome, Err(AcquireError::Timeout { failure: None, .. }))));
        assert_eq!(chaos.pool.state().waiting, CROWD, "they have left the queue");
        drop(held);
    };
    let all = async { tokio::join!(patient, hasty) };
    tokio::time::timeout(2 * LIMIT, all).await.expect("all are served");
    assert!(served.take().into_iter().eq(0..CROWD), "in order, and each once");
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.opened), (CROWD as u64, 2), "{stats:?}");
}

#[tokio::test]
async fn f082_after_each_crowd_the_pool_returns_to_its_minimum() {
    const SIZE: usize = 8;
    let chaos = Chaos::with(SIZE, |config| {
        (config.pool.min_size, config.pool.idle_timeout) = (2, Some(SHORT));
    })
    .await;
    let at_its_minimum = async || {
        let state = chaos.pool.state();
        (state.idle, state.size) == (2, 2) && chaos.watch.sessions().await == 2
    };
    for (round, order) in (1..).zip([IdleOrder::Recent, IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed]) {
        chaos.reconfigure(|config| config.idle_order = order);
        eventually("nobody is there", at_its_minimum).await;
        // The first keep theirs until there are as many as may be: however long it takes to open them, they are needed.
        let users = (0..400).map(async |user| {
            let _lease = chaos.working().await;
            if user < SIZE {
                eventually("whoever looks sees them all", async || chaos.watch.most() == SIZE).await;
            }
        });
        in_time("all are served", join_all(users)).await;
        assert_eq!(chaos.watch.most(), SIZE, "it was needed, and no more");
        eventually("nobody is there any more", at_its_minimum).await;
        let stats = chaos.pool.stats();
        assert_eq!((stats.idle_timed_out, stats.broken), (stats.opened - 2, 0), "{stats:?}");
        assert!(stats.opened <= (2 + round * (SIZE - 2)) as u64, "each was opened for a crowd: {stats:?}");
    }
    invariants::hold(chaos).await;
}

/// The error of somebody who has waited in vain because all connections are in use.
fn assert_blames_users(error: &AcquireError, leased: usize) {
    let AcquireError::Timeout { failure: None, situation } = error else { panic!("not a full pool: {error}") };
    assert_eq!((situation.state.leased, situation.state.max_size), (leased, leased), "{error}");
}

#[tokio::test]
async fn f083_whoever_waits_is_told_who_keeps_a_connection() {
    let mut chaos = Chaos::with(2, |config| config.pool.acquire_timeout = SHORT).await;
    chaos.fill(2).await;
    let keeper = chaos.pool.acquire_owned().await.unwrap();
    assert_eq!(answer(&keeper, 1).await.unwrap(), 2);
    let other = chaos.pool.acquire_owned().await.unwrap();
    let error = chaos.refused().await;
    assert_blames_users(&error, 2);
    let oldest = error.situation().unwrap().oldest_lease.unwrap();
    assert_eq!(oldest.connection, keeper.connection_id());
    assert!(error.to_string().contains(&format!("connection {} has been leased for ", oldest.connection)), "{error}");
    drop(other);
    drop(chaos.working().await);
    assert_eq!(answer(&keeper, 1).await.unwrap(), 2, "nothing is taken away from anybody");
    drop(keeper);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.opened, stats.broken), (1, 2, 0), "{stats:?}");
}

/// Takes a first connection and, when everybody has one, a second one; says what became of that. The first one answers all the while.
async fn takes_two(first: &Chaos, second: &Chaos, all: &Barrier) -> Result<PostgresOwnedLease, AcquireError> {
    let held = first.pool.acquire_owned().await.unwrap();
    all.wait().await;
    let started = Instant::now();
    let outcome = second.pool.acquire_owned().await;
    assert!(started.elapsed() < LIMIT, "it ends in time");
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    all.wait().await;
    outcome
}

#[tokio::test]
async fn f084_whoever_has_the_only_connection_and_wants_another_waits_for_a_limited_time() {
    let mut chaos = Chaos::with(1, |config| config.pool.acquire_timeout = SHORT).await;
    chaos.fill(1).await;
    let held = chaos.pool.acquire_owned().await.unwrap();
    let error = chaos.refused().await;
    assert_blames_users(&error, 1);
    let oldest = error.situation().unwrap().oldest_lease.unwrap();
    assert_eq!(oldest.connection, held.connection_id(), "the very one");
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    drop(held);
    drop(chaos.working().await);
    invariants::hold(chaos).await;
}

/// Not one has too many: all have the same, and want one more.
#[tokio::test]
async fn f084_users_who_all_want_one_more_wait_for_a_limited_time() {
    const SIZE: usize = 4;
    let chaos = Chaos::with(SIZE, |config| config.pool.acquire_timeout = SHORT).await;
    chaos.fill(SIZE).await;
    let all = Barrier::new(SIZE);
    let outcomes = in_time("an end", join_all((0..SIZE).map(|_| takes_two(&chaos, &chaos, &all)))).await;
    for outcome in outcomes {
        assert_blames_users(&outcome.map(drop).unwrap_err(), SIZE);
    }
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.opened, stats.broken), (SIZE as u64, SIZE as u64, 0), "{stats:?}");
}

#[tokio::test]
async fn f085_two_pools_whose_users_wait_for_each_other_do_so_for_a_limited_time() {
    let hasty = async || Chaos::with(1, |config| config.pool.acquire_timeout = SHORT).await;
    let (one, other) = (hasty().await, hasty().await);
    one.fill(1).await;
    other.fill(1).await;
    let both = Barrier::new(2);
    let crossed = async { tokio::join!(takes_two(&one, &other, &both), takes_two(&other, &one, &both)) };
    let outcomes = in_time("an end", crossed).await;
    for outcome in [outcomes.0, outcomes.1] {
        assert_blames_users(&outcome.map(drop).unwrap_err(), 1);
    }
    for chaos in [one, other] {
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.timeouts, stats.opened, stats.broken), (1, 1, 0), "{stats:?}");
    }
}

/// Computes for a while, and keeps the thread.
fn block(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Users who block the thread on which everything else is done as well, with a connection and without.
async fn busy_users(chaos: Chaos) {
    let users = (0..12).map(|user| {
        let pool = chaos.pool.clone();
        tokio::spawn(async move {
            for round in 0..4 {
                let lease = pool.acquire_owned().await.expect("a connection, however late");
                block(Duration::from_millis(5));
                assert_eq!(answer(&lease, user).await.unwrap(), user + 1);
                block(Duration::from_millis(5));
                drop(lease);
                block(Duration::from_millis(round));
            }
        })
    });
    for user in in_time("all are served", join_all(users)).await {
        user.unwrap();
    }
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.open_failures, stats.broken), (0, 0, 0), "{stats:?}");
    assert!(stats.errors.pings + stats.errors.resets == 0 && stats.opened == 2, "{stats:?}");
}

/// Everything is done between two computations.
#[tokio::test]
async fn f086_users_who_block_the_only_thread_are_all_served() {
    busy_users(Chaos::start(2).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f086_users_who_block_the_only_worker_are_all_served() {
    busy_users(Chaos::start(2).await).await;
}

/// A connection comes back to those whose time is over by then, which nobody has had the time to tell them.
#[tokio::test]
async fn f086_a_thread_that_was_blocked_beyond_all_deadlines_loses_nothing() {
    let chaos = Chaos::start(1).await;
    let lease = chaos.working().await;
    let waiting = join_all((0..20).map(|_| chaos.pool.acquire_timeout(SHORT)));
    let busy = async {
        eventually("all wait", async || chaos.pool.state().waiting == 20).await;
        block(2 * SHORT);
        drop(lease);
    };
    let (outcomes, ()) = in_time("all are told", async { tokio::join!(waiting, busy) }).await;
    let told = outcomes.iter().filter(|outcome| matches!(outcome, Err(AcquireError::Timeout { .. }))).count();
    assert!(told >= 19, "one at most is given the connection, and keeps it: {told} were told");
    assert_eq!((told, chaos.pool.state().leased), (20 - chaos.pool.state().leased, 20 - told));
    drop(outcomes);
    invariants::hold(chaos).await;
}

/// Asks without any time, of which nobody makes more.
async fn without_time(chaos: &Chaos) -> Result<PostgresOwnedLease, AcquireError> {
    in_time("an end", chaos.pool.acquire_owned_timeout(Duration::ZERO)).await
}

/// Whoever has no time is served by what is idle, and by nothing else: they do not stay in the queue.
#[tokio::test]
async fn f126_an_acquire_without_any_time_does_not_wait() {
    let mut chaos = Chaos::with(1, |config| config.pool.acquire_timeout = 2 * LIMIT).await;
    chaos.fill(1).await;
    let lease = without_time(&chaos).await.expect("it is idle");
    assert_eq!(answer(&lease, 1).await.unwrap(), 2);
    for _ in 0..20 {
        let error = without_time(&chaos).await.map(drop).unwrap_err();
        assert_blames_users(&error, 1);
        assert_eq!(chaos.pool.state().waiting, 0);
        chaos.note(&error);
    }
    drop(lease);
    eventually("it is idle again", async || chaos.pool.state().idle == 1).await;
    drop(without_time(&chaos).await.expect("it is idle"));
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.opened), (20, 1), "{stats:?}");
}
