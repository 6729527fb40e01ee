//! F095: cancellations that come late, when what they were meant for has ended by itself. They hit nobody else.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{pin_mut, poll};
use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, SslMode};
use pool_testkit::proxy::{Direction, Frame, Seen, Toxic};

use crate::asking::{eventually, in_time};
use crate::common::{Chaos, quiet, strict};
use crate::invariants;
use crate::users::{SHORT, impatient};

/// The server is ready for the next query.
const READY: u8 = b'Z';

/// A cancellation is the first thing that is sent on its connection.
fn unencrypted(config: &mut PostgresConfig) {
    config.sslmode = SslMode::Disable;
}

/// How many requests to cancel something have come to the proxy.
fn cancellations(seen: &Seen) -> u64 {
    seen.frames(Direction::ToServer, Frame::CANCEL_REQUEST)
}

/// A query in a message of its own: its type and length, the text, and a zero.
fn length(query: &str) -> u64 {
    6 + query.len() as u64
}

/// The network keeps a cancellation, and the query that it is meant for ends by itself meanwhile. No other test may have the same key.
async fn a_cancellation_is_kept(chaos: &Chaos, key: i32) {
    let (proxy, query) = (&chaos.proxy, format!("SELECT pg_advisory_xact_lock({key})"));
    chaos.watch.run(&format!("SELECT pg_advisory_lock({key})")).await;
    let lease = quiet(chaos).await;
    let before = proxy.seen();
    {
        let waiting = lease.batch_execute(&query);
        pin_mut!(waiting);
        assert!(poll!(&mut waiting).is_pending());
        eventually("the server waits", async || chaos.watch.works_on(&query).await).await;
    }
    drop(lease);
    // The reset has asked its own question when all of this has gone to the server. What comes from now on is kept.
    let all = before.bytes(Direction::ToServer) + length(&query) + length("");
    in_time("it is put in order", proxy.until(|seen| seen.bytes(Direction::ToServer) == all)).await;
    proxy.set(Direction::ToServer, Toxic::Hold);
    in_time("it is cancelled", proxy.until(|seen| cancellations(seen) == 1)).await;
    chaos.watch.run(&format!("SELECT pg_advisory_unlock({key})")).await;
    let both = before.frames(Direction::ToClient, READY) + 2;
    in_time("both are answered", proxy.until(|seen| seen.frames(Direction::ToClient, READY) == both)).await;
}

#[tokio::test]
async fn f095_nobody_has_a_session_for_which_a_cancellation_is_on_its_way() {
    let chaos = Chaos::with(1, unencrypted).await;
    a_cancellation_is_kept(&chaos, 951).await;
    let error = chaos.pool.acquire_timeout(SHORT).await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(chaos.pool.state().in_maintenance, 1);
    assert!(chaos.pool.is_connected(), "nobody can have it now, and it is there");
    chaos.proxy.clear(Direction::ToServer);
    let lease = chaos.working().await;
    lease.batch_execute("SELECT pg_sleep(0.1)").await.unwrap();
    drop(lease);
    assert_eq!(invariants::hold(chaos).await.opened, 1, "in one session");
}

#[tokio::test]
async fn f095_a_cancellation_that_does_not_arrive_costs_the_session() {
    let chaos = Chaos::with(1, |config| {
        unencrypted(config);
        impatient(config);
        // All that is done until the cancellation is kept has to be done within this.
        config.pool.reset_timeout = Duration::from_secs(4);
    })
    .await;
    a_cancellation_is_kept(&chaos, 952).await;
    eventually("it is closed, within its budget", async || chaos.pool.stats().closed == 1).await;
    assert_eq!((chaos.pool.stats().errors.resets, chaos.pool.stats().broken), (1, 1));
    chaos.proxy.clear(Direction::ToServer);
    drop(chaos.working().await);
    invariants::hold(chaos).await;
}

/// Somebody who loses interest in a query that is over soon after the pool has lost its patience, and goes on with whatever session comes next.
async fn lose_interest(chaos: &Chaos, rounds: usize) {
    for _ in 0..rounds {
        {
            let lease = chaos.pool.acquire().await.unwrap();
            let query = lease.batch_execute("SELECT pg_sleep(0.018)");
            pin_mut!(query);
            assert!(poll!(&mut query).is_pending());
        }
        let lease = chaos.pool.acquire().await.unwrap();
        lease.batch_execute("SELECT pg_sleep(0.004)").await.expect("nobody has cancelled this one");
    }
}

/// How many there are to be.
fn times() -> usize {
    let number = std::env::var("POOL_CANCELLATIONS").ok();
    number.map_or(2_000, |number| number.parse().expect("POOL_CANCELLATIONS is a number"))
}

/// What is sent takes a while, and not always the same: most queries have ended when the request to cancel them arrives, and it may arrive after what was sent later.
#[tokio::test]
async fn f095_thousands_of_cancellations_that_come_late_hit_nobody_else() {
    const USERS: usize = 25;
    let server = strict().setting("max_connections", "200").start().unwrap();
    let chaos = Chaos::on(&server, USERS, unencrypted).await;
    chaos.fill(USERS).await;
    let (time, jitter) = (Duration::from_millis(2), Duration::from_millis(4));
    chaos.proxy.set(Direction::ToServer, Toxic::Delay { time, jitter, seed: 95 });
    let (enough, mut late) = (times() as u64 / 2, 0);
    // On a busy machine queries last longer, and fewer cancellations are late: then there are more.
    for _ in 0..5 {
        join_all((0..USERS).map(|_| lose_interest(&chaos, times() / USERS))).await;
        let seen = chaos.proxy.seen();
        // One that is not late is answered by an error, and there are no others.
        late = cancellations(&seen) - seen.frames(Direction::ToClient, b'E');
        println!("{late} of {} were late", cancellations(&seen));
        if late >= enough {
            break;
        }
    }
    assert!(late >= enough, "{late} were late, as if there was no network in between");
    assert_eq!(invariants::hold(chaos).await.opened, USERS as u64, "in the same sessions");
}
