//! F035, F042, F043, F049, F050, F051, F059: networks that are slow, and servers that nobody gets through to.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pool_core::{AcquireError, OpenFailure};
use pool_postgres::{ConnectError, ConnectStep, Host, PostgresOwnedLease};
use pool_testkit::proxy::{Admission, End, Toxic};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::asking::{answer, in_time};
use crate::common::Chaos;
use crate::invariants;

const SECOND: Duration = Duration::from_secs(1);

/// The error of the driver in an acquire that ran out of time.
fn failure(error: &AcquireError) -> &OpenFailure {
    let AcquireError::Timeout { failure: Some(failure), .. } = error else { panic!("a timeout with a cause: {error}") };
    failure
}

#[tokio::test]
async fn f035_a_connect_that_is_refused_is_tried_again() {
    let mut chaos = Chaos::with(2, |config| config.pool.acquire_timeout = SECOND / 4).await;
    chaos.proxy.admit(Admission::Refuse).await;
    let error = chaos.told().await;
    let OpenFailure::Driver { source, .. } = failure(&error) else { panic!("the driver's: {error}") };
    assert_eq!(source.downcast_ref::<ConnectError>().unwrap().step, ConnectStep::Open);
    assert!(error.to_string().contains("refused"), "{error}");
    let waiting = chaos.pool.acquire_timeout(20 * SECOND);
    let (lease, ()) = tokio::join!(waiting, chaos.proxy.calm());
    assert_eq!(answer(&lease.unwrap(), 1).await.unwrap(), 2);
    invariants::hold(chaos).await;
}

/// One that is not there, and one that is reached in vain, come first.
#[tokio::test]
async fn f059_of_several_hosts_one_refuses() {
    let (gone, silent) = (TcpSocket::new_v4().unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    // Nobody listens there, and nobody else can take the port.
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let hosts = [gone.local_addr(), silent.local_addr()].map(|at| Host::new("127.0.0.1", at.unwrap().port()));
    let chaos = Chaos::with(4, |config| {
        config.hosts.splice(..0, hosts);
        // Half of it is for the one that says nothing, and the other half has to do on a busy machine.
        config.pool.connect_timeout = 8 * SECOND;
    })
    .await;
    chaos.fill(4).await;
    assert_eq!(chaos.pool.stats().open_failures, 0, "each attempt comes to the last one");
    assert_eq!(chaos.proxy.seen().accepted, 4);
    invariants::hold(chaos).await;
    drop((gone, silent));
}

#[tokio::test]
async fn f042_latency_and_jitter_cost_no_connection() {
    let chaos = Chaos::with(4, |config| {
        config.pool.check_after_idle = Some(Duration::from_millis(1));
        config.pool.health_check_interval = Some(SECOND / 10);
        // To log in is to go there and back again and again.
        config.pool.connect_timeout = 20 * SECOND;
    })
    .await;
    // 5 to 500 milliseconds there and back.
    let jitter = Duration::from_millis(245);
    chaos.proxy.set_both(Toxic::Delay { time: Duration::from_millis(5), jitter, seed: 42 });
    join_all((0..8).map(async |_| drop(chaos.working().await))).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.errors.pings, stats.open_failures), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.opened, 4);
}

#[tokio::test]
async fn f043_a_long_answer_over_a_thin_line_is_not_taken_for_a_dead_one() {
    let chaos = Chaos::with(2, |config| {
        config.pool.health_check_interval = Some(SECOND / 20);
        config.pool.check_after_idle = Some(Duration::from_millis(1));
    })
    .await;
    chaos.fill(2).await;
    // 64 kbit/s.
    chaos.proxy.set_both(Toxic::Bandwidth { bytes_per_second: 8_000 });
    let lease = chaos.working().await;
    let started = Instant::now();
    let row = lease.query_one("SELECT repeat('x', 8000)", &[]).await.unwrap();
    assert!(started.elapsed() > SECOND / 2, "a thin line");
    assert_eq!(row.get::<_, &str>(0).len(), 8000);
    drop(lease);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened), (0, 2), "{stats:?}");
    assert!(stats.check.count > 0, "the other one was looked after meanwhile");
}

/// A server that takes connections and says nothing. Whoever has a connection is not concerned.
async fn deaf(admission: Admission) {
    const CONNECT: Duration = Duration::from_millis(100);
    let mut chaos = Chaos::start(2).await;
    chaos.fill(1).await;
    chaos.hurry(CONNECT, 4 * CONNECT);
    chaos.proxy.admit(admission).await;
    let held = chaos.pool.acquire_owned().await.unwrap();
    let error = chaos.told().await;
    assert!(matches!(failure(&error), OpenFailure::TimedOut { after: CONNECT, .. }), "{error}");
    chaos.hurry(5 * SECOND, 20 * SECOND);
    not_concerned(&chaos, held).await;
    invariants::hold(chaos).await;
}

async fn not_concerned(chaos: &Chaos, held: PostgresOwnedLease) {
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    drop(held);
    drop(chaos.working().await);
}

#[tokio::test]
async fn f049_a_server_that_accepts_and_says_nothing() {
    deaf(Admission::Silence).await;
}

#[tokio::test]
async fn f049_a_server_that_does_not_even_accept() {
    deaf(Admission::Ignore).await;
}

#[tokio::test]
async fn f050_a_server_that_refuses_is_not_stormed() {
    let chaos = Chaos::with(8, |config| {
        config.pool.backoff_initial = Duration::from_millis(20);
        config.pool.backoff_max = Duration::from_millis(100);
    })
    .await;
    chaos.proxy.admit(Admission::Reset).await;
    let started = Instant::now();
    // So long that there are attempts enough though the machine may stand still.
    let outcomes = join_all((0..32).map(async |_| chaos.pool.acquire_timeout(4 * SECOND).await.map(drop))).await;
    let (attempts, tenths) = (chaos.proxy.seen().accepted, started.elapsed().as_millis() / 10);
    assert!(outcomes.iter().all(Result::is_err));
    // At the start as many as may be at once; then one after the other, with a tenth of the longest pause between them at least.
    let most = u64::try_from(tenths).unwrap() + 8;
    assert!((5..=most).contains(&attempts), "{attempts} attempts in {:?}", started.elapsed());
    assert_eq!(chaos.pool.state().waiting, 0);
    let waiting = join_all((0..32).map(async |_| drop(chaos.working().await)));
    let healing = async {
        chaos.proxy.reached(attempts + 3).await;
        chaos.proxy.calm().await;
    };
    tokio::join!(waiting, healing);
    invariants::hold(chaos).await;
}

/// Works until it is told to stop, and notes whenever that has succeeded.
async fn work(chaos: &Chaos, successes: &watch::Sender<[usize; 8]>, user: usize) {
    while let Ok(lease) = chaos.acquire().await {
        if answer(&lease, 1).await.is_ok() {
            successes.send_modify(|successes| successes[user] += 1);
        }
    }
}

#[tokio::test]
async fn f051_a_server_that_comes_and_goes_starves_nobody() {
    const TIMES: u64 = 6;
    let chaos = Chaos::start(4).await;
    let successes = watch::Sender::new([0; 8]);
    let users = join_all((0..8).map(|user| work(&chaos, &successes, user)));
    let flapping = async {
        for _ in 0..TIMES {
            chaos.proxy.admit(Admission::Refuse).await;
            chaos.proxy.cut_all(End::Reset).await;
            sleep(SECOND / 10).await;
            chaos.proxy.calm().await;
            // Just long enough for everybody to have had a turn.
            let before = *successes.borrow();
            let mut all = successes.subscribe();
            let served = all.wait_for(|now| now.iter().zip(before).all(|(now, before)| *now > before));
            in_time("everybody is served", served).await.unwrap();
        }
    };
    tokio::select! {
        () = flapping => {}
        _ = users => panic!("an acquire failed"),
    }
    let accepted = chaos.proxy.seen().accepted;
    assert!(accepted <= 4 * TIMES + 4, "{accepted} connections, for {TIMES} times four");
    invariants::hold(chaos).await;
}
