//! Messages that should not come where they do.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::TryStreamExt;
use pool_postgres::diagnosis::Fate;
use pool_postgres::retry::Outcome;
use pool_postgres::{PostgresPool, QueryError, QueryStep};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::proxy::{Direction, Frame, Proxy, Toxic, message};

use crate::common::{config, database};
use crate::setting::in_time;

/// A message that a server has no reason to send: that a portal has more rows.
fn nonsense() -> Vec<u8> {
    message(b's', b"")
}

async fn through_a_proxy() -> (TestDatabase, Proxy, PostgresPool) {
    let database = database();
    let mut config = config(database.url(), 1);
    let proxy = Proxy::postgres(("127.0.0.1", config.hosts[0].port)).await.unwrap();
    config.hosts[0].port = proxy.address().port();
    let pool = PostgresPool::connect(config).await.unwrap();
    pool.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    (database, proxy, pool)
}

/// Once a copy is completed, changes what comes with the next message of this kind, once.
fn after_the_copy(kind: u8, change: fn(&Frame) -> Vec<u8>) -> Toxic {
    let (is_copied, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
    Toxic::edit(move |frame| {
        if frame.kind() == b'C' && frame.body().starts_with(b"COPY") {
            is_copied.store(true, Ordering::Relaxed);
        }
        let is_now = frame.kind() == kind && is_copied.load(Ordering::Relaxed);
        if is_now && !is_done.swap(true, Ordering::Relaxed) { change(frame) } else { frame.bytes().to_vec() }
    })
}

fn told(error: &QueryError) -> (QueryStep, Outcome, Fate, bool) {
    (
        error.step(),
        error.outcome(),
        error.diagnosis().fate,
        error.to_string().contains("unexpected message from server"),
    )
}

/// The end of its answer is the one message that is expected after the number of rows.
#[tokio::test]
async fn nonsense_at_the_end_of_a_copy_is_told() {
    let (_database, proxy, pool) = through_a_proxy().await;
    for change in [
        // With the end of the answer behind it, in the same breath, and without.
        (|frame: &Frame| [nonsense(), frame.bytes().to_vec()].concat()) as fn(&Frame) -> Vec<u8>,
        |_| nonsense(),
    ] {
        let mut copy = in_time(pool.copy_in("COPY t FROM STDIN")).await.unwrap();
        copy.send("1\n").await.unwrap();
        proxy.set(Direction::ToClient, after_the_copy(b'Z', change));
        let error = in_time(copy.finish()).await.unwrap_err();
        assert_eq!(told(&error), (QueryStep::Copy, Outcome::Unknown, Fate::Close, true), "{error}");
        proxy.calm().await;
    }
    // Both were committed, as it is with what nobody knows. Nobody else has got their sessions.
    assert_eq!(in_time(pool.query_one("SELECT count(*) FROM t", &[])).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!((pool.stats().opened, pool.stats().broken), (3, 2));
    pool.disconnect().await;
}

#[tokio::test]
async fn a_number_of_rows_that_is_told_twice_is_no_success() {
    let (_database, proxy, pool) = through_a_proxy().await;
    let copy = pool.copy_in("COPY t FROM STDIN").await.unwrap();
    proxy.set(Direction::ToClient, after_the_copy(b'C', |frame| frame.bytes().repeat(2)));
    let error = in_time(copy.finish()).await.unwrap_err();
    assert!(error.to_string().contains("the server has told the number of rows twice"), "{error}");
    assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::Unknown));
    pool.disconnect().await;
}

/// Data has ended well only if the server says that the command is completed.
#[tokio::test]
async fn nonsense_in_the_place_of_the_end_of_a_copy_is_told() {
    let (_database, proxy, pool) = through_a_proxy().await;
    proxy.set(Direction::ToClient, after_the_copy(b'C', |_| nonsense()));
    let data = pool.copy_out("COPY (SELECT 1) TO STDOUT").await.unwrap();
    let error = in_time(data.try_for_each(async |_| Ok(()))).await.unwrap_err();
    assert_eq!(told(&error), (QueryStep::Copy, Outcome::Unknown, Fate::Close, true), "{error}");
    pool.disconnect().await;
}
