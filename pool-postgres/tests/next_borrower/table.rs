//! Table G3: what the next borrower gets, row by row, in the modes `changed`, `verified` and `clean`.

use std::time::{Duration, Instant};

use futures_util::{pin_mut, poll};
use tokio::time::timeout;

use crate::common::eventually;
use crate::leftovers::ROWS;
use crate::session::{Stage, process};

async fn every_row_is_clean(mode: &str) {
    let stage = Stage::of_mode(mode).await;
    for (name, sql) in ROWS {
        stage.leave(sql).await;
        stage.assert_clean(name).await;
        println!("{mode}: after {name}: clean");
    }
    // All at once, and inside of a transaction.
    let all: Vec<_> = ROWS[2..].iter().map(|(_, sql)| *sql).collect();
    stage.leave(&format!("BEGIN; {}", all.join("; "))).await;
    stage.assert_clean("all of it").await;
    assert_eq!(stage.pool.stats().errors.resets, 0);
    stage.end().await;
}

#[tokio::test]
async fn what_has_changed_is_undone() {
    every_row_is_clean("changed").await;
}

#[tokio::test]
async fn what_has_changed_is_undone_and_verified() {
    every_row_is_clean("verified").await;
}

#[tokio::test]
async fn everything_is_undone() {
    every_row_is_clean("clean").await;
}

/// What looks for it sees each of them: in a mode that undoes nothing.
#[tokio::test]
async fn every_row_is_found_if_nothing_is_undone() {
    let stage = Stage::of_mode("fast").await;
    // Transactions end in any mode, and the last row would have the look itself cancelled.
    for (name, sql) in ROWS[..ROWS.len() - 1].iter().filter(|(_, sql)| !sql.starts_with("BEGIN")) {
        stage.leave(sql).await;
        assert!(stage.found().await.is_some(), "{name}");
        stage.pool.acquire().await.unwrap().discard();
    }
    stage.end().await;
}

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1";

/// No name of a command tells of a lock: what sees it is the mode that undoes everything.
#[tokio::test]
async fn an_advisory_lock_is_gone_before_anybody_comes_if_everything_is_undone() {
    let stage = Stage::of_mode("clean").await;
    for sql in ["SELECT pg_advisory_lock(1)", "SELECT leave()", "SELECT nextval('s')"] {
        stage.leave(sql).await;
        let none = async || stage.watch.query_one(LOCKS, &[&stage.process]).await.unwrap().get::<_, i64>(0) == 0;
        eventually("the lock is gone while nobody has the session", none).await;
        stage.assert_clean(sql).await;
    }
    let lease = stage.pool.acquire().await.unwrap();
    lease.query_one("SELECT lastval()", &[]).await.expect_err("the sequence of another borrower");
    drop(lease);
    stage.end().await;
}

/// What is documented as unseen is unseen: whoever makes it seen has to change the documentation.
#[tokio::test]
async fn what_no_command_tells_of_stays_if_only_what_has_changed_is_undone() {
    let stage = Stage::of_mode("changed").await;
    for (sql, left) in
        [("SELECT pg_advisory_lock(1)", "locks=1"), ("SELECT set_config('app.tenant', '7', false)", "tenant=7")]
    {
        stage.leave(sql).await;
        let found = stage.found().await.unwrap();
        assert!(found.contains(left), "{found}");
    }
    stage.leave("DO 'BEGIN END'").await;
    stage.assert_clean("code that may have done anything").await;
    stage.end().await;
}

/// The pool cancels what nobody waits for, and keeps the session.
#[tokio::test]
async fn a_query_that_was_dropped_holds_nobody_up() {
    let stage = Stage::of_mode("changed").await;
    {
        let lease = stage.pool.acquire().await.unwrap();
        let query = lease.query_one("SELECT pg_sleep(600)", &[]);
        pin_mut!(query);
        assert!(timeout(Duration::from_millis(100), &mut query).await.is_err());
    }
    let began = Instant::now();
    stage.assert_clean("a query that was dropped").await;
    println!("served {:?} after the drop", began.elapsed());
    assert!(began.elapsed() < Duration::from_mins(2), "it was waited for");
    stage.end().await;
}

/// A change whose answer nobody has waited for is a change.
#[tokio::test]
async fn what_was_dropped_after_one_poll_is_undone_too() {
    let stage = Stage::of_mode("changed").await;
    for sql in ["SET app.tenant = '7'", "BEGIN; INSERT INTO t VALUES (1)", "LISTEN news", "SET ROLE pg_monitor; BEGIN"]
    {
        {
            let lease = stage.pool.acquire().await.unwrap();
            let query = lease.batch_execute(sql);
            pin_mut!(query);
            assert!(poll!(&mut query).is_pending());
        }
        stage.assert_clean(sql).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_session_that_was_ended_while_idle_is_nobodys_problem() {
    let stage = Stage::of_mode("changed").await;
    for _ in 0..5 {
        let process = process(&stage.pool.acquire().await.unwrap()).await;
        stage.watch.query_one("SELECT pg_terminate_backend($1, 20000)", &[&process]).await.unwrap();
        let next = stage.pool.acquire().await.unwrap();
        next.query_one("SELECT 1", &[]).await.expect("another session");
    }
    stage.end().await;
}

/// A copy that its user has begun by a call that knows nothing of copies: the server waits for data that will never come.
#[tokio::test]
async fn a_copy_that_cannot_be_ended_costs_the_session_at_once() {
    let stage = Stage::of_mode("changed").await;
    let began = Instant::now();
    stage.leave("COPY t FROM STDIN").await;
    assert_eq!(stage.found().await, None);
    assert!(began.elapsed() < Duration::from_secs(30), "it was found out by the reset's limit, a minute");
    assert_eq!(stage.pool.stats().opened, 2, "in another session");
    // A copy to the client ends by itself.
    stage.leave("COPY (SELECT generate_series(1, 100000)) TO STDOUT").await;
    assert_eq!(stage.found().await, None);
    assert_eq!(stage.pool.stats().opened, 2);
    stage.end().await;
}
