//! F105, F108: users who panic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::{FutureExt, pin_mut, poll};
use pool_postgres::PostgresOwnedLease;
use pool_postgres::retry::RetryPolicy;
use pool_postgres::tokio_postgres::Error;
use pool_postgres::tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

use crate::asking::{eventually, in_time};
use crate::common::{Chaos, quiet, rows, table};
use crate::invariants;

#[derive(Debug)]
struct Panicking;

impl ToSql for Panicking {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        panic!("on purpose");
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

/// Half a message is left in the client's buffer.
#[tokio::test]
async fn f105_a_panic_inside_of_a_request_costs_one_session_and_nobody_else_anything() {
    let chaos = Chaos::start(2).await;
    let (lease, other) = (quiet(&chaos).await, quiet(&chaos).await);
    let user = tokio::spawn(async move { lease.query_one("SELECT $1::int", &[&Panicking]).await.map(drop) });
    assert!(user.await.unwrap_err().is_panic(), "the panic is the user's own");
    other.batch_execute("SELECT 1").await.unwrap();
    drop(chaos.working().await);
    drop(other);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken, stats.errors.resets), (3, 1, 0), "nothing more was sent: {stats:?}");
}

#[tokio::test]
async fn f105_what_a_user_has_begun_who_panics_and_recovers_is_rolled_back() {
    let chaos = Chaos::start(1).await;
    let (table, lease) = (table(&chaos).await, quiet(&chaos).await);
    let work = async {
        lease.batch_execute(&format!("BEGIN; INSERT INTO {table} VALUES (1)")).await.unwrap();
        panic!("on purpose");
    };
    let panic = AssertUnwindSafe(work).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    drop(lease);
    drop(chaos.working().await);
    assert_eq!(rows(&chaos, &table).await, 0);
    assert_eq!(invariants::hold(chaos).await.opened, 1, "its session is in order");
}

#[tokio::test]
async fn f105_work_that_panics_is_not_tried_again_and_not_done() {
    let chaos = Chaos::start(1).await;
    let table = table(&chaos).await;
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let (retrier, calls) = (chaos.pool.retrying(RetryPolicy::default()).unwrap(), AtomicUsize::new(0));
    let work = async |lease: Arc<PostgresOwnedLease>| -> Result<(), Error> {
        calls.fetch_add(1, Relaxed);
        lease.batch_execute(&insert).await?;
        panic!("on purpose");
    };
    let panic = AssertUnwindSafe(retrier.transaction(work)).catch_unwind().await.map(drop).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    drop(chaos.working().await);
    assert_eq!((calls.into_inner(), rows(&chaos, &table).await), (1, 0));
    assert_eq!((retrier.stats().attempts, retrier.stats().succeeded), (1, 0));
    invariants::hold(chaos).await;
}

/// A user panics with the only session in hand, for which somebody waits. It is closed, since nobody knows how far the user had come, and another takes its place.
async fn dropped_by_a_panic(panic: impl AsyncFnOnce(PostgresOwnedLease, String)) {
    let chaos = Chaos::start(1).await;
    let (table, lease) = (table(&chaos).await, quiet(&chaos).await);
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let panicking = async {
        eventually("somebody waits", async || chaos.pool.state().waiting == 1).await;
        panic(lease, insert).await;
    };
    let next = in_time("the next is served", async { tokio::join!(chaos.working(), panicking).0 }).await;
    drop(next);
    assert_eq!(rows(&chaos, &table).await, 0);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (2, 1), "{stats:?}");
}

#[tokio::test]
async fn f108_a_lease_that_is_dropped_by_a_panic_makes_room_for_another() {
    dropped_by_a_panic(async |lease, _| {
        let user = tokio::spawn(async move {
            let _lease = lease;
            panic!("on purpose");
        });
        assert!(user.await.unwrap_err().is_panic());
    })
    .await;
}

#[tokio::test]
async fn f108_a_lease_that_is_dropped_by_a_panic_outside_of_a_runtime_makes_room_for_another() {
    dropped_by_a_panic(async |lease, _| {
        let user = std::thread::spawn(move || {
            let _lease = lease;
            panic!("on purpose");
        });
        assert!(user.join().is_err());
    })
    .await;
}

#[tokio::test]
async fn f108_a_transaction_that_is_dropped_by_a_panic_has_not_happened() {
    dropped_by_a_panic(async |lease, insert| {
        let user = tokio::spawn(async move {
            lease.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
            panic!("on purpose");
        });
        assert!(user.await.unwrap_err().is_panic());
    })
    .await;
}

#[tokio::test]
async fn f108_a_query_that_is_dropped_by_a_panic_is_cancelled() {
    dropped_by_a_panic(async |lease, insert| {
        let user = tokio::spawn(async move {
            let query = format!("{insert}; SELECT pg_sleep(600)");
            let query = lease.batch_execute(&query);
            pin_mut!(query);
            assert!(poll!(&mut query).is_pending());
            panic!("on purpose");
        });
        assert!(user.await.unwrap_err().is_panic());
    })
    .await;
}
