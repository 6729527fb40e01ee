//! F088, F096: futures that are dropped after every number of polls that they may get. How often one is polled depends on how the answers arrive, so each is dropped a poll later until it
//! ends before.

use pool_postgres::PostgresOwnedLease;
use pool_postgres::tokio_postgres::Error;
use pool_testkit::cancel::{Cut, for_each_cancellation};
use tokio::runtime::{Builder, Runtime};

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, quiet, table};
use crate::invariants;

/// How many connections there are.
const MOST: usize = 2;

fn stage() -> (Runtime, Chaos) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let chaos = runtime.block_on(Chaos::start(MOST));
    (runtime, chaos)
}

/// Drops what `case` cuts at every poll. Afterwards all connections can be had, each in no transaction and with an answer to its own question. It is not done with fewer than so many cases.
fn at_every_poll((runtime, chaos): &(Runtime, Chaos), least: usize, case: impl AsyncFn(Cut) -> bool) {
    let cases = for_each_cancellation(|cut| {
        runtime.block_on(async {
            let ended = case(cut).await;
            everything_is_there(chaos, cut).await;
            ended
        })
    });
    println!("{cases} cases");
    assert!(cases >= least, "it waits somewhere: {cases}");
}

fn end((runtime, chaos): (Runtime, Chaos)) {
    runtime.block_on(invariants::hold(chaos));
}

async fn everything_is_there(chaos: &Chaos, cut: Cut) {
    let leases = [chaos.working().await, chaos.working().await];
    for lease in &leases {
        assert!(lease.batch_execute("SAVEPOINT s").await.is_err(), "in a transaction after {cut:?}");
    }
    let state = chaos.pool.state();
    assert_eq!((state.leased, state.waiting), (MOST, 0), "{cut:?}");
    eventually("the server has no others", async || chaos.watch.sessions().await == MOST).await;
}

/// Drops an acquire at every poll. What is before leaves the pool as it is to be found; what it returns is dropped while the acquire waits.
fn acquire_at_every_poll<Held>(least: usize, before: impl AsyncFn(&Chaos) -> Held) {
    let stage = stage();
    let chaos = &stage.1;
    at_every_poll(&stage, least, async |cut| {
        let held = before(chaos).await;
        let acquire = async { drop(chaos.pool.acquire().await.unwrap()) };
        let release = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        in_time("it ends", async { tokio::join!(cut.apply(acquire), release).0 }).await.is_some()
    });
    end(stage);
}

async fn two_quiet(chaos: &Chaos) -> [PostgresOwnedLease; MOST] {
    [quiet(chaos).await, quiet(chaos).await]
}

#[test]
fn f088_an_acquire_of_what_is_idle_may_be_dropped_at_any_poll() {
    acquire_at_every_poll(4, async |chaos| drop(two_quiet(chaos).await));
}

#[test]
fn f088_an_acquire_of_what_is_opened_may_be_dropped_at_any_poll() {
    acquire_at_every_poll(6, async |chaos| {
        chaos.pool.retire_all();
        eventually("nothing is open", async || chaos.pool.state().size == 0).await;
    });
}

#[test]
fn f088_an_acquire_of_what_comes_back_may_be_dropped_at_any_poll() {
    acquire_at_every_poll(6, two_quiet);
}

#[test]
fn f088_an_acquire_of_what_is_put_in_order_may_be_dropped_at_any_poll() {
    acquire_at_every_poll(6, async |chaos| {
        let leases = two_quiet(chaos).await;
        for lease in &leases {
            lease.batch_execute("BEGIN").await.unwrap();
        }
        leases
    });
}

#[test]
fn f088_a_query_may_be_dropped_at_any_poll_with_its_acquire() {
    let stage = stage();
    let chaos = &stage.1;
    at_every_poll(&stage, 12, async |cut| {
        let asking = async {
            let lease = chaos.pool.acquire().await.unwrap();
            lease.batch_execute("SELECT pg_sleep(0.002)").await.unwrap();
            answer(&lease, 6).await.unwrap()
        };
        cut.apply(asking).await.map(|answer| assert_eq!(answer, 7)).is_some()
    });
    end(stage);
}

/// Drops a transaction that writes two rows at every poll.
fn transaction_at_every_poll(transfer: impl AsyncFn(PostgresOwnedLease, &str) -> Result<(), Error>) {
    let stage = stage();
    let chaos = &stage.1;
    let table = stage.0.block_on(table(chaos));
    let sums = format!("SELECT coalesce(sum(n), 0), count(*) FROM {table}");
    at_every_poll(&stage, 12, async |cut| {
        let work = async { transfer(chaos.pool.acquire_owned().await.unwrap(), &table).await.unwrap() };
        let ended = cut.apply(work).await.is_some();
        let row = chaos.working().await.query_one(&sums, &[]).await.unwrap();
        let (sum, rows): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((sum, rows % 2), (0, 0), "all of a transaction or nothing, {cut:?}");
        ended
    });
    end(stage);
}

#[test]
fn f096_a_transaction_may_be_dropped_at_any_poll() {
    transaction_at_every_poll(async |lease, table| {
        lease.batch_execute("BEGIN").await?;
        lease.batch_execute(&format!("INSERT INTO {table} VALUES (1)")).await?;
        lease.batch_execute(&format!("SELECT pg_sleep(0.002); INSERT INTO {table} VALUES (-1)")).await?;
        lease.batch_execute("COMMIT").await
    });
}

#[test]
fn f096_a_transaction_with_a_guard_may_be_dropped_at_any_poll() {
    transaction_at_every_poll(async |mut lease, table| {
        let transaction = lease.transaction().await?;
        transaction.execute(&format!("INSERT INTO {table} VALUES (1)"), &[]).await?;
        transaction.execute(&format!("INSERT INTO {table} SELECT -1 FROM pg_sleep(0.002)"), &[]).await?;
        transaction.commit().await
    });
}
