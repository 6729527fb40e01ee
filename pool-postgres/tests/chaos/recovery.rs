//! F004, F030, F031, F081: servers whose processes end or stand still, and what comes back all at once.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use pool_core::{AcquireError, OpenFailure};
use pool_postgres::{PostgresConfig, PostgresOwnedLease};
use pool_testkit::proxy::{Admission, Toxic};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::{Chaos, impatient, process, signal, signal_postmaster, strict};
use crate::invariants;
use crate::users::{self, SHORT};

/// Works until it is told to stop, and notes what has succeeded, and failed.
async fn work(chaos: &Chaos, successes: &watch::Sender<[usize; 16]>, failures: &Cell<usize>, user: usize) {
    loop {
        let lease = chaos.acquire().await.expect("a connection, in time");
        match answer(&lease, 1).await {
            Ok(_) => successes.send_modify(|successes| successes[user] += 1),
            Err(_) => failures.set(failures.get() + 1),
        }
    }
}

/// Everybody has succeeded since this moment.
async fn all_succeed(successes: &watch::Sender<[usize; 16]>) {
    let before = *successes.borrow();
    let mut all = successes.subscribe();
    let served = all.wait_for(|now| now.iter().zip(before).all(|(now, before)| *now > before));
    in_time("everybody is served", served).await.unwrap();
}

#[tokio::test]
async fn f004_sessions_that_all_end_at_once_are_replaced_without_a_storm() {
    const SIZE: usize = 8;
    const OPENERS: usize = 2;
    let chaos = Chaos::with(SIZE, |config| config.pool.max_openers = OPENERS).await;
    chaos.fill(SIZE).await;
    let (successes, failures) = (watch::Sender::new([0; 16]), Cell::new(0));
    let users = join_all((0..16).map(|user| work(&chaos, &successes, &failures, user)));
    let ending = async {
        let mut ended = 0;
        for _ in 0..4 {
            ended += chaos.watch.terminate().await;
            all_succeed(&successes).await;
        }
        (ended, chaos.proxy.seen().most_opening)
    };
    let (ended, at_once) = tokio::select! {
        outcome = ending => outcome,
        _ = users => panic!("nobody stops"),
    };
    assert!(ended >= SIZE, "{ended}");
    assert!(
        failures.get() <= ended,
        "{} failures: one that had ended was handed out twice, of {ended}",
        failures.get()
    );
    assert!((1..=OPENERS).contains(&at_once), "{at_once} attempts at a time");
    let stats = invariants::hold(chaos).await;
    assert!(stats.opened <= (SIZE + ended) as u64, "{ended} had ended: {stats:?}");
}

/// A process that stands still until this is dropped.
struct Stopped(i32);

impl Stopped {
    async fn one(lease: &PostgresOwnedLease) -> Self {
        let process = process(lease).await;
        assert!(signal(process, "STOP"));
        Self(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

/// The deadline is the user's. The place is free again though the process still stands there.
#[tokio::test]
async fn f030_a_process_that_stands_still_costs_its_user_a_query_and_nobody_else_anything() {
    let chaos = impatient(3).await;
    chaos.fill(3).await;
    let (lease, other) = (chaos.pool.acquire_owned().await.unwrap(), chaos.working().await);
    let stopped = Stopped::one(&lease).await;
    assert!(timeout(SHORT, answer(&lease, 1)).await.is_err());
    assert_eq!(answer(&other, 1).await.unwrap(), 2);
    assert!(!lease.is_closed(), "nobody can know");
    drop(lease);
    eventually("it is closed, within its budget", async || chaos.pool.stats().closed == 1).await;
    assert_eq!((chaos.pool.stats().errors.resets, chaos.pool.stats().broken), (1, 1));
    let (second, third) = (chaos.working().await, chaos.working().await);
    drop((other, second, third));
    drop(stopped);
    assert_eq!(invariants::hold(chaos).await.broken, 1);
}

#[tokio::test]
async fn f030_a_process_that_stands_still_while_nobody_asks_is_found_by_a_ping() {
    let chaos = impatient(2).await;
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    let stopped = Stopped::one(&lease).await;
    drop(lease);
    let mut config = (*chaos.pool.config()).clone();
    config.health_check_interval = Some(SHORT);
    chaos.pool.reconfigure(config).unwrap();
    // On a busy machine the other one may be late, too.
    eventually("it is closed", async || chaos.pool.stats().closed >= 1).await;
    assert!(chaos.pool.stats().errors.pings >= 1);
    drop(chaos.working().await);
    drop(stopped);
    invariants::hold(chaos).await;
}

const CONNECT: Duration = Duration::from_millis(300);

/// Attempts and waits that are given up soon.
fn hasty(config: &mut PostgresConfig) {
    (config.pool.connect_timeout, config.pool.acquire_timeout) = (CONNECT, 3 * CONNECT);
}

/// Nobody is let in, as long as an attempt may last.
async fn nobody_gets_in(chaos: &mut Chaos) {
    let error = chaos.told().await;
    let AcquireError::Timeout { failure: Some(failure), .. } = &error else {
        panic!("a timeout with a cause: {error}")
    };
    assert!(matches!(**failure, OpenFailure::TimedOut { after: CONNECT, .. }), "{error}");
    assert!(error.to_string().contains("connect took longer than 300ms"), "{error}");
    assert!(chaos.pool.stats().errors.open_timeouts > 0);
}

#[tokio::test]
async fn f031_a_stopped_postmaster_ends_attempts_and_no_session() {
    let server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 2, hasty).await;
    let lease = chaos.pool.acquire_owned_timeout(LIMIT).await.unwrap();
    signal_postmaster(&server, "STOP");
    nobody_gets_in(&mut chaos).await;
    assert_eq!(answer(&lease, 1).await.expect("whoever has a session goes on"), 2);
    signal_postmaster(&server, "CONT");
    chaos.hurry(LIMIT, LIMIT);
    drop((chaos.working().await, lease));
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken), (2, 0), "{stats:?}");
}

/// All processes of the server stand still. Users have deadlines of their own, and what is idle is given up after a ping.
#[tokio::test]
async fn f031_a_server_that_stands_still_does_not_stop_the_pool() {
    let mut server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 2, |config| {
        users::impatient(config);
        hasty(config);
        config.pool.health_check_interval = Some(SHORT);
    })
    .await;
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned_timeout(LIMIT).await.unwrap();
    server.pause().unwrap();
    assert!(timeout(SHORT, answer(&lease, 1)).await.is_err());
    drop(lease);
    // On a busy machine a ping may have failed before.
    let all_are_closed = || chaos.pool.stats().closed == chaos.pool.stats().opened;
    eventually("nothing is left", async || all_are_closed()).await;
    nobody_gets_in(&mut chaos).await;
    assert!(chaos.pool.health().await.is_err(), "and whoever asks is told so");
    let mut patient = (*chaos.pool.config()).clone();
    patient.health_check_interval = None;
    chaos.pool.reconfigure(patient).unwrap();
    chaos.hurry(LIMIT, LIMIT);
    let waiting = join_all((0..20).map(async |_| drop(chaos.working().await)));
    let back = async {
        eventually("all wait", async || chaos.pool.state().waiting == 20).await;
        server.resume().unwrap();
    };
    in_time("all are served", async { tokio::join!(waiting, back) }).await;
    invariants::hold(chaos).await;
}

const HERD: usize = 1_000;
const OPENERS: usize = 4;

/// How the pool is that the herd waits for. Nobody gives up while the server is away.
fn herded(config: &mut PostgresConfig) {
    let pool = &mut config.pool;
    (pool.max_openers, pool.connect_timeout, pool.acquire_timeout) = (OPENERS, 2 * SHORT, 2 * LIMIT);
    (pool.backoff_initial, pool.backoff_max) = (Duration::from_millis(20), Duration::from_millis(100));
}

/// The server is away: it resets whoever comes, then it is not heard of, then it is back.
async fn outage(chaos: &Chaos) {
    eventually("all wait", async || chaos.pool.state().waiting == HERD).await;
    let failed = chaos.pool.stats().open_failures;
    eventually("it is tried", async || chaos.pool.stats().open_failures >= failed + 20).await;
    chaos.proxy.set_both(Toxic::Hold);
    chaos.proxy.admit(Admission::Forward).await;
    eventually("somebody tries", async || chaos.proxy.seen().open() > 0).await;
    let failed = chaos.pool.stats().open_failures;
    eventually("it is tried", async || chaos.pool.stats().open_failures >= failed + 4).await;
    chaos.hurry(LIMIT, 2 * LIMIT);
    chaos.proxy.calm().await;
}

#[tokio::test]
async fn f081_a_thousand_who_wait_for_a_server_that_comes_back_do_not_storm_it() {
    let chaos = Chaos::with(20, herded).await;
    chaos.proxy.admit(Admission::Reset).await;
    let herd = join_all((0..HERD).map(async |_| drop(chaos.working().await)));
    in_time("all are served", async { tokio::join!(herd, outage(&chaos)) }).await;
    let seen = chaos.proxy.seen();
    assert!((1..=OPENERS).contains(&seen.most_opening), "{} attempts at a time", seen.most_opening);
    invariants::hold(chaos).await;
}
