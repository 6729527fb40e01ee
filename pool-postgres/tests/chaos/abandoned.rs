//! F094, F096, F099, F100, F101: requests that nobody waits for any more. What they leave in the session does not reach the next user.

use std::mem;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt, join, pin_mut, poll};
use pool_testkit::proxy::Direction;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, quiet, rows, table};
use crate::invariants;
use crate::users::SHORT;

/// Nobody lives to see the end of it.
const SLEEP: &str = "SELECT pg_sleep(600)";

/// Sleeps on the server until nobody waits any more, which is when the server is at it.
async fn abandon(chaos: &Chaos) {
    let lease = quiet(chaos).await;
    let sleep = lease.batch_execute(SLEEP);
    pin_mut!(sleep);
    assert!(poll!(&mut sleep).is_pending());
    eventually("the server sleeps", async || chaos.watch.works_on(SLEEP).await).await;
}

#[tokio::test]
async fn f094_a_query_that_nobody_waits_for_is_cancelled() {
    let chaos = Chaos::start(1).await;
    for _ in 0..5 {
        abandon(&chaos).await;
        drop(in_time("the next is served", chaos.working()).await);
        assert!(!chaos.watch.works_on(SLEEP).await, "it has stopped");
    }
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

#[tokio::test]
async fn f094_a_query_is_cancelled_that_runs_into_its_users_limit_of_time() {
    let chaos = Chaos::start(1).await;
    let lease = quiet(&chaos).await;
    assert!(timeout(SHORT, lease.batch_execute(SLEEP)).await.is_err());
    drop(lease);
    drop(in_time("the next is served", chaos.working()).await);
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

#[tokio::test]
async fn f094_a_query_is_cancelled_whose_task_is_aborted() {
    let chaos = Chaos::start(1).await;
    let lease = quiet(&chaos).await;
    let task = tokio::spawn(async move { lease.batch_execute(SLEEP).await });
    eventually("the server sleeps", async || chaos.watch.works_on(SLEEP).await).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    drop(in_time("the next is served", chaos.working()).await);
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

/// Polls a request once, so that it is in the client's queue, and drops it and the lease. False if the session's task, on another thread, was so fast that the request was done by then.
async fn begin_and_leave(chaos: &Chaos) -> bool {
    let lease = chaos.pool.acquire().await.unwrap();
    let request = lease.batch_execute("BEGIN; SET LOCAL statement_timeout = '77s'");
    pin_mut!(request);
    poll!(request).is_pending()
}

/// Inserts a row, and returns the timeout in force.
async fn insert(chaos: &Chaos, table: &str) -> String {
    let lease = chaos.pool.acquire().await.unwrap();
    lease.batch_execute(&format!("INSERT INTO {table} VALUES (1)")).await.unwrap();
    lease.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0)
}

const TIMES: i64 = 100;

/// Has users begin and leave, each followed by one who inserts a row. Returns how many were still at it when they left.
async fn begin_leave_and_insert(chaos: &Chaos, table: &str) -> i64 {
    let mut under_way = 0;
    for _ in 0..TIMES {
        under_way += i64::from(begin_and_leave(chaos).await);
        assert_eq!(insert(chaos, table).await, "0", "inside the transaction of somebody else");
    }
    under_way
}

async fn nothing_leaks() -> i64 {
    let chaos = Chaos::start(1).await;
    let table = table(&chaos).await;
    let under_way = begin_leave_and_insert(&chaos, &table).await;
    assert_eq!(rows(&chaos, &table).await, TIMES, "what was acknowledged is there");
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
    under_way
}

#[tokio::test]
async fn f096_a_begin_that_was_never_sent_does_not_leak() {
    assert_eq!(nothing_leaks().await, TIMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn f096_a_begin_that_was_never_sent_does_not_leak_between_threads() {
    assert!(nothing_leaks().await > 0);
}

#[tokio::test]
async fn f100_a_copy_to_the_server_that_is_dropped_halfway_has_not_happened() {
    let chaos = Chaos::start(1).await;
    let table = table(&chaos).await;
    let copy = format!("COPY {table} FROM STDIN");
    for sent in [0, 1, 10_000] {
        {
            let lease = quiet(&chaos).await;
            let sink = Client::copy_in::<_, &[u8]>(&lease, &copy).await.unwrap();
            pin_mut!(sink);
            for _ in 0..sent {
                sink.feed(b"1\n").await.unwrap();
            }
            sink.flush().await.unwrap();
        }
        drop(in_time("the next is served", chaos.working()).await);
        assert_eq!(rows(&chaos, &table).await, 0);
    }
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

#[tokio::test]
async fn f099_a_stream_of_rows_that_is_forgotten_costs_a_connection_and_no_more() {
    let chaos = Chaos::with(1, |config| config.pool.reset_timeout = SHORT).await;
    let lease = quiet(&chaos).await;
    let many = "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)";
    let mut rows = lease.stream(many, &[]).await.unwrap();
    rows.next().await.unwrap().unwrap();
    mem::forget(rows);
    drop(lease);
    // The short limit is for this one.
    let given_up = async {
        eventually("it is given up", async || chaos.pool.stats().broken == 1).await;
        chaos.patient();
    };
    let (next, ()) = join!(in_time("the next is served", chaos.working()), given_up);
    drop(next);
    assert_eq!(invariants::hold(chaos).await.opened, 2, "by another session");
}

/// The server would send a gigabyte.
#[tokio::test]
async fn f100_a_copy_from_the_server_that_is_dropped_halfway_is_cancelled() {
    let chaos = Chaos::start(1).await;
    let copy = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT";
    for taken in [0, 1, 100] {
        {
            let lease = quiet(&chaos).await;
            let rows = Client::copy_out(&lease, copy).await.unwrap();
            pin_mut!(rows);
            for _ in 0..taken {
                rows.next().await.unwrap().unwrap();
            }
        }
        drop(in_time("the next is served", chaos.working()).await);
    }
    let came = chaos.proxy.seen().bytes(Direction::ToClient);
    assert!(came < 1_000_000_000, "{came} bytes came, as if all of it was wanted once");
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

#[tokio::test]
async fn f101_all_requests_in_a_row_that_nobody_waits_for_are_cancelled() {
    let chaos = Chaos::start(1).await;
    let lease = quiet(&chaos).await;
    {
        let row = join_all((0..3).map(|_| lease.batch_execute(SLEEP)));
        pin_mut!(row);
        assert!(poll!(&mut row).is_pending());
    }
    drop(lease);
    drop(in_time("the next is served", chaos.working()).await);
    assert!(!chaos.watch.works_on(SLEEP).await, "they have stopped");
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

/// The answers to some of them have come, others are on their way, and others have not been asked yet.
#[tokio::test]
async fn f101_nobody_gets_the_answer_to_one_of_several_requests_that_were_dropped() {
    let chaos = Chaos::start(1).await;
    for round in 0..60 {
        let lease = chaos.pool.acquire().await.unwrap();
        {
            let row = join_all((0..8).map(|number| answer(&lease, 1_000 + number)));
            pin_mut!(row);
            for _ in 0..round % 20 {
                if poll!(&mut row).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(answer(&lease, round).await.unwrap(), round + 1, "the next one of the same user");
        drop(lease);
        drop(chaos.working().await);
    }
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}
