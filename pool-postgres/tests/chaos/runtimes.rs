//! F103, F104, F110 to F113: runtimes that end, and what is done outside of any. The proxy, and whoever watches the server and proves the invariants, are at home in a runtime that lives.

use std::mem::replace;
use std::thread;
use std::time::Duration;

use futures_util::{pin_mut, poll};
use pool_core::AcquireError;
use pool_postgres::{EndCause, PostgresOwnedLease, PostgresPool};
use pool_testkit::proxy::{Direction, Toxic};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::{Chaos, quiet, rows, table};
use crate::invariants;

/// Its threads go on while nobody waits for it.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A runtime that lives, and a pool that has nothing open yet.
fn stage(max_size: usize) -> (Runtime, Chaos) {
    let home = runtime();
    let chaos = home.block_on(Chaos::with(max_size, |config| config.pool.reset_timeout = LIMIT));
    (home, chaos)
}

/// The pool is another one from now on, which begins in this runtime: there it opens connections.
fn begin_in(runtime: &Runtime, chaos: &mut Chaos) {
    let _inside = runtime.enter();
    chaos.pool = PostgresPool::connect_lazy(chaos.pool.driver().config().clone()).unwrap();
}

/// Uses the pool until it is stopped, or the pool is closed.
async fn work(pool: PostgresPool) {
    while let Ok(lease) = pool.acquire().await {
        // A session fails that has ended with its runtime.
        let _ = answer(&lease, 1).await;
    }
}

/// More users than there are connections, in this runtime. When it returns, some wait, and all sorts of things are under way.
fn crowd(chaos: &Chaos, home: &Runtime, runtime: &Runtime) -> JoinSet<()> {
    let (mut users, before) = (JoinSet::new(), chaos.pool.stats().acquired);
    for _ in 0..8 {
        users.spawn_on(work(chaos.pool.clone()), runtime.handle());
    }
    let busy = || chaos.pool.stats().acquired > before + 50 && chaos.pool.state().waiting > 0;
    home.block_on(eventually("they work", async || busy()));
    users
}

#[test]
fn f103_tasks_that_are_aborted_inside_acquires_lose_nothing() {
    let (home, chaos) = stage(3);
    for _ in 0..5 {
        drop(crowd(&chaos, &home, &home));
        drop(home.block_on(chaos.working()));
    }
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 3);
}

#[test]
fn f103_a_runtime_that_ends_inside_acquires_loses_nothing() {
    let (home, chaos) = stage(3);
    home.block_on(chaos.fill(3));
    for _ in 0..5 {
        let other = runtime();
        let users = crowd(&chaos, &home, &other);
        drop(other);
        drop(users);
        drop(home.block_on(chaos.working()));
    }
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 3, "they were opened at home");
}

/// Whoever waits elsewhere is served all the same.
#[test]
fn f103_a_runtime_that_ends_inside_acquires_takes_its_sessions_with_it_alone() {
    let (home, mut chaos) = stage(3);
    for _ in 0..5 {
        home.block_on(in_time("the close ends", chaos.pool.disconnect()));
        let other = runtime();
        begin_in(&other, &mut chaos);
        let (there, here) = (crowd(&chaos, &home, &other), crowd(&chaos, &home, &home));
        drop(other);
        drop(there);
        let before = chaos.pool.stats().acquired;
        home.block_on(eventually("they go on", async || chaos.pool.stats().acquired > before + 50));
        drop(here);
    }
    home.block_on(invariants::hold(chaos));
}

/// It stands still in the network when its runtime ends.
#[test]
fn f104_a_reset_that_ends_with_its_runtime_costs_the_session() {
    let (home, mut chaos) = stage(1);
    let other = runtime();
    begin_in(&other, &mut chaos);
    let table = home.block_on(table(&chaos));
    let lease = other.block_on(quiet(&chaos));
    other.block_on(lease.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)"))).unwrap();
    let asked = chaos.proxy.seen().frames(Direction::ToServer, b'Q');
    chaos.proxy.set(Direction::ToClient, Toxic::Hold);
    drop(lease);
    let begun = chaos.proxy.until(|seen| seen.frames(Direction::ToServer, b'Q') > asked);
    home.block_on(in_time("it is put in order", begun));
    drop(other);
    assert_eq!(chaos.pool.state().idle, 0, "it goes to nobody");
    chaos.proxy.clear(Direction::ToClient);
    drop(home.block_on(chaos.working()));
    assert_eq!(home.block_on(rows(&chaos, &table)), 0);
    let stats = home.block_on(invariants::hold(chaos));
    assert_eq!((stats.opened, stats.broken), (2, 1), "{stats:?}");
}

/// Does something on a thread without a runtime.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).expect("it panics for nobody")
}

#[test]
fn f110_leases_that_come_back_outside_of_a_runtime_are_put_in_order() {
    let (home, chaos) = stage(3);
    let table = home.block_on(table(&chaos));
    let [clean, open, busy] = home.block_on(async { [quiet(&chaos).await, quiet(&chaos).await, quiet(&chaos).await] });
    let id = clean.connection_id();
    outside(|| {
        drop(clean);
        let again = chaos.pool.try_acquire().expect("it is idle at once");
        assert_eq!(again.connection_id(), id);
    });
    home.block_on(open.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)"))).unwrap();
    outside(|| drop(open));
    home.block_on(async {
        let sleep = busy.batch_execute("SELECT pg_sleep(600)");
        pin_mut!(sleep);
        assert!(poll!(&mut sleep).is_pending());
    });
    outside(|| drop(busy));
    let stats = home.block_on(invariants::hold(chaos));
    assert_eq!((stats.opened, stats.broken), (3, 0), "in the same sessions: {stats:?}");
}

/// What a user gets who waits for a connection.
async fn ask(pool: PostgresPool) -> i32 {
    answer(&pool.acquire().await.unwrap(), 1).await.unwrap()
}

#[test]
fn f110_whoever_waits_is_served_from_outside_of_a_runtime() {
    let (home, chaos) = stage(1);
    for _ in 0..20 {
        let lease = home.block_on(quiet(&chaos));
        let waiter = home.spawn(ask(chaos.pool.clone()));
        home.block_on(eventually("somebody waits", async || chaos.pool.state().waiting == 1));
        outside(|| drop(lease));
        assert_eq!(home.block_on(in_time("it is served", waiter)).unwrap(), 2);
    }
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 1);
}

#[test]
fn f111_a_pool_whose_runtime_has_ended_goes_on_in_another() {
    let (home, mut chaos) = stage(2);
    let first = runtime();
    begin_in(&first, &mut chaos);
    first.block_on(chaos.fill(2));
    drop(first);
    let error = outside(|| chaos.pool.try_acquire().map(drop)).unwrap_err();
    assert!(matches!(error, AcquireError::Unavailable { .. }), "sessions end with their runtime: {error}");
    drop(home.block_on(chaos.working()));
    let stats = home.block_on(invariants::hold(chaos));
    assert_eq!((stats.opened, stats.broken), (4, 2), "{stats:?}");
}

#[test]
fn f111_whoever_waits_in_another_runtime_is_served_there() {
    let (home, mut chaos) = stage(1);
    let first = runtime();
    begin_in(&first, &mut chaos);
    let lease = first.block_on(quiet(&chaos));
    let waiter = home.spawn(ask(chaos.pool.clone()));
    home.block_on(eventually("somebody waits", async || chaos.pool.state().waiting == 1));
    drop(first);
    drop(lease);
    assert_eq!(home.block_on(in_time("it is served", waiter)).unwrap(), 2);
    let stats = home.block_on(invariants::hold(chaos));
    assert_eq!((stats.opened, stats.broken), (2, 1), "{stats:?}");
}

/// Its user learns why, and gives it back outside of a runtime.
fn ended_with_its_runtime(home: &Runtime, lease: PostgresOwnedLease) {
    assert!(lease.is_closed());
    assert!(home.block_on(lease.batch_execute("SELECT 1")).unwrap_err().is_closed());
    assert_eq!(lease.ended().unwrap().cause, EndCause::Runtime);
    outside(|| drop(lease));
}

#[test]
fn f112_sessions_that_are_leased_end_with_their_runtime() {
    let (home, mut chaos) = stage(3);
    let first = runtime();
    begin_in(&first, &mut chaos);
    let table = home.block_on(table(&chaos));
    let [idle, open, busy] = first.block_on(async { [quiet(&chaos).await, quiet(&chaos).await, quiet(&chaos).await] });
    first.block_on(open.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)"))).unwrap();
    // Its task goes with the runtime. The server finishes the query, but not before that has been seen. No other test
    // may have the same key.
    home.block_on(chaos.watch.run("SELECT pg_advisory_lock(112)"));
    first.spawn(async move { busy.batch_execute("SELECT pg_advisory_xact_lock(112)").await });
    let is_at_it = async || chaos.watch.works_on("SELECT pg_advisory_xact_lock(112)").await;
    home.block_on(eventually("the server is at it", is_at_it));
    drop(first);
    ended_with_its_runtime(&home, idle);
    ended_with_its_runtime(&home, open);
    home.block_on(chaos.watch.run("SELECT pg_advisory_unlock(112)"));
    home.block_on(eventually("the server has let go", async || chaos.watch.sessions().await == 0));
    assert_eq!(home.block_on(rows(&chaos, &table)), 0);
    let stats = home.block_on(invariants::hold(chaos));
    assert_eq!((stats.opened, stats.broken), (6, 3), "{stats:?}");
}

/// What would cut its session off has outlived it.
#[test]
fn f112_a_close_is_not_held_up_by_a_lease_whose_runtime_has_ended() {
    let (home, mut chaos) = stage(2);
    let first = runtime();
    begin_in(&first, &mut chaos);
    let lease = first.block_on(quiet(&chaos));
    drop(first);
    let closing = async { in_time("the close ends", chaos.pool.close_within(Duration::ZERO)).await };
    assert_eq!(home.block_on(closing), 1, "it is still out");
    ended_with_its_runtime(&home, lease);
    home.block_on(invariants::close(chaos));
}

/// Drops a pool outside of a runtime, and after it what is leased. The server has nothing of it, and the next pool all that it wants.
fn dropped_outside(first_ends: bool) {
    let (home, mut chaos) = stage(3);
    let mut first = Some(runtime());
    begin_in(first.as_ref().unwrap(), &mut chaos);
    let table = home.block_on(table(&chaos));
    let leases = async { [quiet(&chaos).await, quiet(&chaos).await, quiet(&chaos).await] };
    let [idle, kept, open] = first.as_ref().unwrap().block_on(leases);
    home.block_on(open.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)"))).unwrap();
    drop(idle);
    if first_ends {
        first = None;
    }
    let next = {
        let _inside = home.enter();
        PostgresPool::connect_lazy(chaos.pool.driver().config().clone()).unwrap()
    };
    let last = replace(&mut chaos.pool, next);
    outside(|| drop(last));
    outside(|| drop((kept, open)));
    home.block_on(eventually("the server has let go", async || chaos.watch.sessions().await == 0));
    assert_eq!(home.block_on(rows(&chaos, &table)), 0);
    assert_eq!(home.block_on(invariants::hold(chaos)).opened, 3);
    drop(first);
}

#[test]
fn f113_a_pool_that_is_dropped_outside_of_a_runtime_closes_its_sessions() {
    dropped_outside(false);
}

#[test]
fn f113_a_pool_that_is_dropped_after_its_runtime_leaves_no_session() {
    dropped_outside(true);
}
