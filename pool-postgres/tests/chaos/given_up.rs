//! F087, F089 to F093, F102: acquires that are given up.

use std::sync::Barrier;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{FutureExt, poll};
use pool_core::AcquireError;
use pool_postgres::PostgresPool;
use pool_testkit::proxy::Toxic;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::spawn_blocking;

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, quiet, quiet_of};
use crate::invariants;
use crate::users::SHORT;

/// A caller that has begun to wait.
macro_rules! waiting {
    ($acquire:expr) => {{
        let mut waiting = Box::pin($acquire);
        assert!(poll!(&mut waiting).is_pending());
        waiting
    }};
}

/// Makes acquires of all kinds and drops them, and proves that nothing has come of it.
async fn nothing_happens(chaos: &Chaos) {
    let all = || (chaos.pool.stats(), chaos.proxy.seen().accepted);
    let (pool, before) = (&chaos.pool, all());
    for _ in 0..100 {
        drop((pool.acquire(), pool.acquire_owned()));
        drop((pool.acquire_timeout(SHORT), pool.acquire_owned_timeout(SHORT)));
        // Whatever was woken has its turn.
        tokio::task::yield_now().await;
    }
    assert_eq!(all(), before);
}

#[tokio::test]
async fn f087_an_acquire_that_is_never_polled_has_not_happened() {
    let chaos = Chaos::start(2).await;
    nothing_happens(&chaos).await;
    assert_eq!(chaos.pool.state().size, 0, "nothing is open");
    let (one, two) = (quiet(&chaos).await, quiet(&chaos).await);
    nothing_happens(&chaos).await;
    let waiter = waiting!(chaos.pool.acquire());
    nothing_happens(&chaos).await;
    drop(waiter);
    drop((one, two));
    assert_eq!(chaos.pool.state().idle, 2);
    nothing_happens(&chaos).await;
    invariants::hold(chaos).await;
}

/// The first who waits is promised the connection, and gone before it can take it.
#[tokio::test]
async fn f089_an_acquire_that_is_dropped_as_it_is_served_passes_the_connection_on() {
    let chaos = Chaos::start(1).await;
    for _ in 0..100 {
        let held = quiet(&chaos).await;
        let (first, mut second) = (waiting!(chaos.pool.acquire()), waiting!(chaos.pool.acquire()));
        drop(held);
        assert_eq!(chaos.pool.state().waiting, 1, "the first has been promised it");
        drop(first);
        let lease = in_time("the second is served", &mut second).await.unwrap();
        assert_eq!(answer(&lease, 1).await.unwrap(), 2);
    }
    let held = quiet(&chaos).await;
    let only = waiting!(chaos.pool.acquire());
    drop(held);
    drop(only);
    assert_eq!(chaos.pool.state().idle, 1, "nobody else waits");
    assert_eq!(invariants::hold(chaos).await.opened, 1);
}

/// Does all of this at once, each on a thread of its own, none of which has a runtime.
fn at_once<const N: usize>(all: [Box<dyn FnOnce() + Send + '_>; N]) {
    let barrier = &Barrier::new(N);
    thread::scope(|scope| {
        for one in all {
            scope.spawn(move || {
                barrier.wait();
                one();
            });
        }
    });
}

fn resize(pool: &PostgresPool, max_size: usize) {
    let mut config = (*pool.config()).clone();
    config.max_size = max_size;
    pool.reconfigure(config).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f090_an_acquire_that_is_dropped_as_it_is_served_together_with_another() {
    let chaos = Chaos::start(1).await;
    for _ in 0..300 {
        let held = quiet(&chaos).await;
        let (first, second) = (waiting!(chaos.pool.acquire()), waiting!(chaos.pool.acquire()));
        let mut third = waiting!(chaos.pool.acquire());
        at_once([Box::new(|| drop(held)), Box::new(|| drop(first)), Box::new(|| drop(second))]);
        drop(in_time("whoever is left is served", &mut third).await.unwrap());
    }
    assert_eq!(invariants::hold(chaos).await.opened, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f090_an_acquire_that_is_dropped_as_it_is_served_together_with_a_resize() {
    let chaos = Chaos::start(2).await;
    for round in 0..100 {
        let (held, kept) = (quiet(&chaos).await, quiet(&chaos).await);
        let (first, mut second) = (waiting!(chaos.pool.acquire()), waiting!(chaos.pool.acquire()));
        // The connection that comes back is one too many, or the one that is kept will be.
        let size = 1 + round % 2;
        at_once([Box::new(|| drop(held)), Box::new(|| drop(first)), Box::new(|| resize(&chaos.pool, size))]);
        drop(kept);
        drop(in_time("whoever is left is served", &mut second).await.unwrap());
        drop(second);
        eventually("the maximum is kept", async || chaos.pool.state().size <= size).await;
        resize(&chaos.pool, 2);
    }
    invariants::hold(chaos).await;
}

/// Each time it is another pool, of the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f090_an_acquire_that_is_dropped_as_it_is_served_together_with_a_close() {
    let chaos = Chaos::start(1).await;
    for _ in 0..30 {
        let pool = PostgresPool::connect_lazy(chaos.pool.driver().config().clone()).unwrap();
        let held = quiet_of(&pool).await;
        let (first, mut second) = (waiting!(pool.acquire()), waiting!(pool.acquire()));
        let close = || assert!(pool.close().now_or_never().is_none(), "the server takes longer");
        at_once([Box::new(|| drop(held)), Box::new(|| drop(first)), Box::new(close)]);
        match in_time("whoever is left is told", &mut second).await {
            Ok(lease) => assert_eq!(answer(&lease, 1).await.unwrap(), 2),
            Err(error) => assert!(matches!(error, AcquireError::Closed), "{error}"),
        }
        drop(second);
        in_time("the close ends", pool.close()).await;
        assert_eq!((pool.stats().opened, pool.stats().closed), (1, 1));
    }
    invariants::hold(chaos).await;
}

/// So long do those wait here whose time is to be over.
const MOMENT: Duration = Duration::from_millis(2);

/// Nobody has a turn when it happens: whoever waits finds that its time is over, and that a connection has come.
#[tokio::test]
async fn f091_an_acquire_that_looks_when_its_time_is_over_and_it_was_served() {
    let chaos = Chaos::start(1).await;
    for round in 0..60 {
        let (held, in_time) = (quiet(&chaos).await, round % 2 == 0);
        let waiter = waiting!(chaos.pool.acquire_timeout(MOMENT));
        if in_time {
            drop(held);
            thread::sleep(2 * MOMENT);
        } else {
            thread::sleep(2 * MOMENT);
            drop(held);
        }
        match waiter.await {
            Ok(lease) => assert_eq!(answer(&lease, 1).await.unwrap(), 2),
            Err(error) => assert!(!in_time && matches!(error, AcquireError::Timeout { .. }), "{error}"),
        }
        drop(quiet(&chaos).await);
        assert_eq!(chaos.pool.state().idle, 1, "it is lost to nobody");
    }
    assert_eq!(invariants::hold(chaos).await.opened, 1);
}

/// A caller, and a connection that comes back after so long. Whether it was in time.
async fn meet(pool: PostgresPool, comes: Duration) -> bool {
    let held = quiet_of(&pool).await;
    let started = Instant::now();
    let coming = spawn_blocking(move || {
        while started.elapsed() < comes {
            std::hint::spin_loop();
        }
        drop(held);
    });
    let outcome = pool.acquire_timeout(MOMENT).await;
    coming.await.unwrap();
    match outcome {
        Ok(lease) => {
            assert_eq!(answer(&lease, 1).await.unwrap(), 2);
            true
        }
        Err(error) => {
            assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
            false
        }
    }
}

/// Looks for the very moment: whenever the connection was in time it comes a little later, and a little sooner when it was not. Callers wait in this runtime.
fn look_for_the_moment(home: &Runtime, chaos: &Chaos, callers: &Handle) {
    const STEP: Duration = Duration::from_micros(20);
    let (mut comes, mut outcomes) = (MOMENT, [0; 2]);
    while outcomes[0].min(outcomes[1]) < 40 {
        let meeting = callers.spawn(meet(chaos.pool.clone(), comes));
        let was_in_time = home.block_on(in_time("they meet", meeting)).unwrap();
        comes = if was_in_time { comes + STEP } else { comes.saturating_sub(STEP) };
        outcomes[usize::from(was_in_time)] += 1;
        assert!(outcomes[0] + outcomes[1] < 10_000, "one of the two never happens: {outcomes:?}");
        drop(home.block_on(chaos.working()));
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn f091_an_acquire_whose_time_is_over_at_the_moment_it_is_served() {
    let home = runtime();
    let chaos = home.block_on(Chaos::start(1));
    look_for_the_moment(&home, &chaos, home.handle());
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 1);
}

/// Whoever waits there has a clock of its own.
#[test]
fn f091_an_acquire_in_another_runtime_whose_time_is_over_at_the_moment_it_is_served() {
    let (home, other) = (runtime(), runtime());
    let chaos = home.block_on(Chaos::start(1));
    look_for_the_moment(&home, &chaos, other.handle());
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 1);
}

#[tokio::test]
async fn f092_a_connection_passes_by_ten_thousand_who_have_given_up() {
    const EACH: usize = 5_000;
    let chaos = Chaos::start(1).await;
    let held = quiet(&chaos).await;
    let late = waiting!(join_all((0..EACH).map(async |_| chaos.pool.acquire_timeout(SHORT).await.map(drop))));
    let gone = waiting!(join_all((0..EACH).map(|_| chaos.pool.acquire())));
    let mut live = waiting!(chaos.pool.acquire());
    assert_eq!(chaos.pool.state().waiting, 2 * EACH + 1);
    drop(gone);
    let outcomes = in_time("their time is over", late).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(AcquireError::Timeout { .. }))));
    drop(held);
    let Poll::Ready(Ok(lease)) = poll!(&mut live) else { panic!("it goes to the one who is left, at once") };
    assert_eq!(answer(&lease, 1).await.unwrap(), 2);
    drop(lease);
    drop(live);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.timeouts, stats.cancelled), (1, EACH as u64, EACH as u64));
}

/// The connection stays in the network until the first who wanted it has gone.
async fn nobody_wants_it(chaos: &Chaos) {
    chaos.proxy.set_both(Toxic::Hold);
    let waiter = waiting!(chaos.pool.acquire());
    in_time("it is being opened", chaos.proxy.reached(1)).await;
    drop(waiter);
    assert_eq!((chaos.pool.state().opening, chaos.pool.state().waiting), (1, 0));
}

#[tokio::test]
async fn f093_what_is_opened_for_one_who_gives_up_is_opened_for_the_pool() {
    let chaos = Chaos::start(1).await;
    nobody_wants_it(&chaos).await;
    chaos.proxy.calm().await;
    eventually("it is there", async || chaos.pool.state().idle == 1).await;
    drop(chaos.working().await);
    assert_eq!(chaos.proxy.seen().accepted, 1, "one attempt");
    assert_eq!(invariants::hold(chaos).await.opened, 1);
}

#[tokio::test]
async fn f093_what_is_opened_for_one_who_gives_up_goes_to_the_next() {
    let chaos = Chaos::start(1).await;
    nobody_wants_it(&chaos).await;
    let next = waiting!(chaos.pool.acquire());
    chaos.proxy.calm().await;
    let lease = in_time("it is there", next).await.unwrap();
    assert_eq!(answer(&lease, 1).await.unwrap(), 2);
    drop(lease);
    assert_eq!(chaos.proxy.seen().accepted, 1, "one attempt");
    assert_eq!(invariants::hold(chaos).await.opened, 1);
}

/// Something else is always ready first. Now and then the connection comes back in that very moment.
#[tokio::test]
async fn f102_an_acquire_that_loses_a_hundred_thousand_times_leaves_nothing_behind() {
    const TIMES: u64 = 100_000;
    let chaos = Chaos::start(1).await;
    let mut held = Some(quiet(&chaos).await);
    for round in 1..=TIMES {
        let comes = round % 1_000 == 0;
        tokio::select! {
            biased;
            _ = chaos.pool.acquire() => panic!("somebody has it"),
            () = std::future::ready(()) => if comes { held = None },
        }
        assert_eq!(chaos.pool.state().waiting, 0);
        if comes {
            held = Some(quiet(&chaos).await);
        }
    }
    drop(held);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.cancelled), (1, TIMES));
}
