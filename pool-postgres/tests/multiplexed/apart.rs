//! What takes long holds nobody up.

use std::time::Duration;

use futures_util::FutureExt;
use pool_postgres::Queries;

use crate::stage::{FAST, GATED, Stage, in_time};

/// What takes less than this is quick, on a machine that is busy.
const QUICK: Duration = Duration::from_millis(100);

/// What is answered at once is prepared on each connection, and takes one step: whoever is between two of them for
/// long finds what is slow in front of the second one.
async fn stage(max_conns: usize) -> Stage {
    let stage = Stage::with(max_conns, |config| config.multiplexing.apart_after = Some(QUICK)).await;
    let mut leases = Vec::new();
    for _ in 0..max_conns {
        let lease = stage.pool.acquire().await.unwrap();
        Queries::query_one(&*lease, FAST, &[&1_i32]).await.unwrap();
        leases.push(lease);
    }
    drop(leases);
    stage
}

const OTHER: &str = "SELECT pg_advisory_xact_lock(7), 1";

/// Whoever is sent before it is known that it takes long waits for it; nobody else does, and from then on nobody at all.
#[tokio::test]
async fn a_statement_that_is_known_to_take_long_is_waited_for_by_nobody() {
    let stage = stage(2).await;
    stage.teach(GATED).await;
    for _ in 0..5 {
        stage.close_gate().await;
        let slow = stage.spawn(GATED);
        // At once, and again once it is under way.
        stage.fast(100).await;
        stage.wait_at_gate(1).await;
        stage.fast(100).await;
        assert_eq!(stage.at_gate().await, 1, "all this time");
        // Or it would be found to be quick.
        stage.run("SELECT pg_sleep(0.3)").await;
        stage.open_gate().await;
        in_time("it ends", slow).await.unwrap().unwrap();
    }
    assert_eq!(stage.multiplexed.kept_apart(), [GATED]);
    let stats = stage.pool.stats();
    assert_eq!((stats.closed, stats.broken), (0, 0), "{stats:?}");
    stage.end().await;
}

#[tokio::test]
async fn nothing_new_is_sent_behind_what_has_been_under_way_for_long() {
    let stage = stage(2).await;
    stage.fast(4).await;
    stage.close_gate().await;
    let slow = stage.spawn(GATED);
    stage.wait_at_gate(1).await;
    stage.run("SELECT pg_sleep(0.4)").await;
    assert!(stage.multiplexed.kept_apart().is_empty(), "nobody knows of it yet");
    stage.fast(200).await;
    assert_eq!(stage.at_gate().await, 1, "all this time");
    stage.open_gate().await;
    in_time("it ends", slow).await.unwrap().unwrap();
    stage.end().await;
}

/// More of them than connections: half of those are for others.
#[tokio::test]
async fn slow_ones_never_have_all_connections() {
    let stage = stage(4).await;
    stage.teach(GATED).await;
    stage.close_gate().await;
    let slow: Vec<_> = (0..6).map(|_| stage.spawn(GATED)).collect();
    stage.wait_at_gate(2).await;
    for _ in 0..5 {
        stage.fast(100).await;
    }
    assert_eq!(stage.at_gate().await, 2, "the others wait for their turn");
    stage.run("SELECT pg_sleep(0.3)").await;
    stage.open_gate().await;
    for slow in slow {
        in_time("they end", slow).await.unwrap().unwrap();
    }
    stage.end().await;
}

/// Since when the last one waits at the gate, in microseconds.
const WAITS_LAST: &str = "SELECT coalesce(max(extract(epoch FROM waitstart) * 1000000), 0)::int8 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// One that is dropped while it waits for its turn, or is under way, makes room for the next one.
#[tokio::test]
async fn a_slow_one_that_is_dropped_makes_room() {
    let stage = stage(2).await;
    stage.teach(GATED).await;
    stage.close_gate().await;
    let first = stage.spawn(GATED);
    stage.wait_at_gate(1).await;
    let (second, third) = (stage.spawn(GATED), stage.spawn(GATED));
    stage.fast(10).await;
    assert_eq!(stage.at_gate().await, 1);
    let began = stage.count(WAITS_LAST).await;
    second.abort();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    crate::common::eventually("it is cancelled, and the next one comes", async || {
        stage.at_gate().await == 1 && stage.count(WAITS_LAST).await > began
    })
    .await;
    stage.open_gate().await;
    in_time("it ends", third).await.unwrap().unwrap();
    stage.end().await;
}

/// It was quick so often that it is one of many again; and what was only beside it never was kept apart.
#[tokio::test]
async fn what_is_quick_again_is_sent_among_others() {
    let stage = stage(2).await;
    stage.teach(OTHER).await;
    for _ in 0..20 {
        stage.multiplexed.execute(OTHER, &[]).await.unwrap();
        stage.fast(5).await;
    }
    assert!(stage.multiplexed.kept_apart().is_empty());
    stage.end().await;
}

/// Both kinds for a while: whatever is quick never waits for the gate, whenever it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_ones_go_on_however_often_slow_ones_come() {
    let stage = stage(2).await;
    stage.teach(GATED).await;
    stage.close_gate().await;
    let slow: Vec<_> = (0..10).map(|_| stage.spawn(GATED)).collect();
    for _ in 0..30 {
        stage.fast(30).await;
    }
    stage.wait_at_gate(1).await;
    stage.open_gate().await;
    for slow in slow {
        in_time("they end", slow).await.unwrap().unwrap();
    }
    stage.end().await;
}

/// Whoever has another step to go does not find it in front of that.
#[tokio::test]
async fn a_slow_one_waits_until_the_others_have_left_its_connection() {
    let stage = stage(1).await;
    stage.teach(GATED).await;
    stage.close_gate().await;
    let mut two_steps = Box::pin(stage.multiplexed.query("SELECT 'two', 'steps'", &[]));
    assert!(two_steps.as_mut().now_or_never().is_none());
    // It waits for a quarter of a second at most, and so the other one does not have to wait for the server any more.
    let first_step = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shared' AND datname = current_database() AND state = 'idle' AND wait_event = 'ClientRead' AND query = 'SELECT ''two'', ''steps'''";
    crate::common::eventually("the first step is answered", async || stage.count(first_step).await == 1).await;
    let slow = stage.spawn(GATED);
    while stage.pool.state().users < 2 {
        tokio::task::yield_now().await;
    }
    // It has had more than one turn.
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    in_time("it is answered", two_steps).await.unwrap();
    stage.wait_at_gate(1).await;
    stage.open_gate().await;
    in_time("it ends", slow).await.unwrap().unwrap();
    stage.end().await;
}
