//! What becomes of those on a connection that ends: each has its own error, what was not sent is sent elsewhere, and nothing is done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use pool_postgres::retry::Outcome;
use pool_postgres::{Host, Multiplexed, PostgresPool, Query, QueryError};
use pool_testkit::books::{Balance, Told, settle};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Direction, End, Proxy, Toxic};

use crate::common::{config, eventually};
use crate::stage::{GATED, Stage, in_time, within};
use crate::timeouts::port;

const INSERT: &str = "INSERT INTO t SELECT $1::int8";

fn told(outcome: &Result<u64, QueryError>) -> Told {
    match outcome {
        Ok(_) => Told::Done,
        Err(error) if error.outcome() == Outcome::NotDone => Told::NotDone,
        Err(_) => Told::Unknown,
    }
}

async fn done(client: &tokio_postgres::Client) -> Vec<u64> {
    let rows = client.query("SELECT n FROM t", &[]).await.unwrap();
    rows.iter().map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap()).collect()
}

/// Ends all sessions of the pool, by the server.
const END_ALL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'shared' AND datname = current_database()";

/// 32 are on their way, and 8 wait for a place: those notice nothing.
#[tokio::test]
async fn each_of_many_has_its_own_error_and_whoever_waits_notices_nothing() {
    let stage = Stage::with(1, |config| {
        config.multiplexing.max_in_flight = 32;
        // On a machine that is busy anything may take long, and would then be tried by itself.
        config.multiplexing.apart_after = None;
    })
    .await;
    stage.run("CREATE TABLE t (n int8)").await;
    let gated = "INSERT INTO t SELECT $1::int8 FROM (SELECT pg_advisory_xact_lock(7)) AS gate";
    stage.multiplexed.execute(gated, &[&0_i64]).await.unwrap();
    stage.close_gate().await;
    let asking = join_all((1..=40_i64).map(async |n| stage.multiplexed.execute(gated, &[&n]).await));
    let ending = async {
        stage.wait_at_gate(1).await;
        let state = stage.pool.state();
        assert_eq!((state.users, state.waiting), (32, 8), "{state}");
        assert_eq!(stage.count(END_ALL).await, 1);
        stage.wait_at_gate(1).await;
        stage.open_gate().await;
    };
    let (outcomes, ()) = in_time("all are told", async { futures_util::join!(asking, ending) }).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) => assert!(n >= 32, "{n} cannot have been done"),
            Err(error) => {
                assert!(n < 32 && error.outcome() == Outcome::Unknown, "{n}: {error}");
                assert!(error.to_string().contains("57P01"), "the reason of the server: {error}");
                assert!(!error.diagnosis().safe_to_retry, "{n}: {error}");
            }
        }
    }
    let told = outcomes.iter().enumerate().map(|(n, outcome)| (n as u64 + 1, told(outcome)));
    let balance = settle(std::iter::once((0, Told::Done)).chain(told).collect(), done(&stage.watcher).await);
    assert_eq!((balance.wrong(), balance.done, balance.done_after_all), (0, 9, 0), "{balance:?}");
    assert_eq!(stage.pool.driver().ends().count("57P01"), 1);
    stage.end().await;
}

/// So many callers insert one number after the other until they are told to stop; what each was told.
fn insert(
    database: &Multiplexed,
    callers: u64,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<Vec<(u64, Told)>>> {
    let caller = |caller: u64| {
        let (database, stop) = (database.clone(), Arc::clone(stop));
        tokio::spawn(async move {
            let mut all = Vec::new();
            for turn in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let number = caller << 32 | turn;
                let outcome = database.execute(INSERT, &[&i64::try_from(number).unwrap()]).await;
                if let Err(error) = &outcome {
                    assert!(
                        error.is_closed() || error.acquire_error().is_some() || error.as_db_error().is_some(),
                        "{error}"
                    );
                    assert!(error.needs_session().is_none() && !error.is_timeout(), "{error}");
                }
                all.push((number, told(&outcome)));
            }
            all
        })
    };
    (0..callers).map(caller).collect()
}

async fn settled(callers: Vec<tokio::task::JoinHandle<Vec<(u64, Told)>>>, client: &tokio_postgres::Client) -> Balance {
    let all = in_time("they stop", join_all(callers)).await;
    let balance = settle(all.into_iter().flat_map(Result::unwrap).collect(), done(client).await);
    assert_eq!(balance.wrong(), 0, "{balance:?}");
    assert!(balance.done > 0);
    balance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_ended_again_and_again_cost_no_row_and_double_none() {
    let stage = Stage::start(2).await;
    stage.run("CREATE TABLE t (n int8)").await;
    let stop = Arc::default();
    let callers = insert(&stage.multiplexed, 64, &stop);
    for _ in 0..30 {
        let before = stage.count("SELECT count(*) FROM t").await;
        eventually("they go on", async || stage.count("SELECT count(*) FROM t").await > before + 50).await;
        stage.run(END_ALL).await;
    }
    stop.store(true, Ordering::Relaxed);
    settled(callers, &stage.watcher).await;
    assert!(stage.pool.driver().ends().count("57P01") >= 30);
    // The last that has ended may not be known yet.
    stage.pool.retire_all();
    stage.fast(64).await;
    stage.end().await;
}

/// The whole server goes and comes back, in an orderly way and by a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_all_go_on() {
    let mut server = EphemeralPostgres::start().unwrap();
    let mut config = config(&server.url(), 4);
    config.pool.breaker_failures = None;
    (config.pool.backoff_initial, config.pool.backoff_max) = (Duration::from_millis(1), Duration::from_millis(20));
    let pool = PostgresPool::connect(config).await.unwrap();
    let connect = async |server: &EphemeralPostgres| {
        let other = PostgresPool::connect(crate::common::config(&server.url(), 1)).await.unwrap();
        other.acquire_owned().await.unwrap()
    };
    connect(&server).await.batch_execute("CREATE TABLE t (n int8)").await.unwrap();
    let stop = Arc::default();
    let callers = insert(&pool.multiplexed(), 64, &stop);
    for crash in [true, false] {
        let served = pool.stats().acquired;
        eventually("they are served", async || pool.stats().acquired > served + 500).await;
        if crash {
            server.kill9().unwrap();
        } else {
            server.stop().unwrap();
        }
        server.restart().unwrap();
    }
    let served = pool.stats().acquired;
    eventually("they are served again", async || pool.stats().acquired > served + 500).await;
    stop.store(true, Ordering::Relaxed);
    let watcher = connect(&server).await;
    // What was lost in the crash was written without waiting for the disk, so a crash of this server loses what was told to be there.
    let all = in_time("they stop", join_all(callers)).await;
    let balance = settle(all.into_iter().flat_map(Result::unwrap).collect(), done(&watcher).await);
    assert!(balance.repeated.is_empty() && balance.denied.is_empty() && balance.untold.is_empty(), "{balance:?}");
    in_time("all is closed", pool.disconnect()).await;
}

/// A pool of one connection on the same database, behind a proxy. Nothing is kept apart: on a machine that is busy
/// anything may take long.
async fn behind(stage: &Stage, change: impl FnOnce(&mut pool_postgres::PostgresConfig)) -> (Proxy, PostgresPool) {
    let proxy = Proxy::postgres(("127.0.0.1", port(stage))).await.unwrap();
    let mut config = config(stage.database.url(), 1);
    config.hosts = vec![Host::new("127.0.0.1", proxy.address().port())];
    (config.limits.cancel_timeout, config.pool.close_timeout) =
        (Duration::from_millis(200), Duration::from_millis(200));
    config.multiplexing.apart_after = None;
    change(&mut config);
    (proxy, PostgresPool::connect(config).await.unwrap())
}

/// In the middle of what comes back: whoever was answered before has his answer.
#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_an_answer() {
    let stage = Stage::start(1).await;
    stage.run("CREATE TABLE t (n int8)").await;
    let (proxy, pool) = behind(&stage, |_| {}).await;
    let database = pool.multiplexed();
    database.execute(INSERT, &[&0_i64]).await.unwrap();
    let (mut all, mut next) = (vec![(0, Told::Done)], 1);
    for bytes in (1..400).step_by(13) {
        proxy.set(Direction::ToClient, Toxic::CutAfter { bytes, end: End::Reset });
        let outcomes = join_all((next..next + 24).map(|n: u64| {
            let database = database.clone();
            async move { database.execute(INSERT, &[&i64::try_from(n).unwrap()]).await }
        }));
        let outcomes = in_time("all are told", async {
            let lift = async {
                // The one that is cut, or a later one that is opened under it, is the last.
                eventually("it is cut", async || pool.driver().ends().total() > 0 || proxy.connections() == 0).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                proxy.clear(Direction::ToClient);
            };
            futures_util::join!(outcomes, lift).0
        })
        .await;
        all.extend(outcomes.iter().zip(next..).map(|(outcome, n)| (n, told(outcome))));
        next += 24;
        proxy.calm().await;
        in_time("it goes on", database.execute("SELECT 1", &[])).await.unwrap();
    }
    let balance = settle(all, done(&stage.watcher).await);
    assert_eq!(balance.wrong(), 0, "{balance:?}");
    in_time("it is closed", pool.disconnect()).await;
    stage.end().await;
}

/// Nothing comes back, and nobody says so: each comes to his limit, and then the session is given up.
#[tokio::test]
async fn whoever_has_a_limit_is_told_though_nothing_comes_back() {
    let stage = Stage::start(1).await;
    let (proxy, pool) = behind(&stage, |config| {
        config.limits.query_timeout = Some(Duration::from_millis(300));
        config.multiplexing.max_in_flight = 32;
    })
    .await;
    let database = pool.multiplexed();
    // It comes back, and may take its time.
    database.execute(Query::new("SELECT 1").no_timeout(), &[]).await.unwrap();
    for direction in Direction::BOTH {
        proxy.set(direction, Toxic::Drop);
        let outcomes =
            in_time("all are told", join_all((0..24).map(async |_| database.execute("SELECT 1", &[]).await))).await;
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.is_timeout() || error.is_closed(), "{error}");
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        }
        proxy.calm().await;
        in_time("it goes on", async { while database.execute("SELECT 1", &[]).await.is_err() {} }).await;
    }
    in_time("it is closed", pool.disconnect()).await;
    stage.end().await;
}

/// The server's side is closed in the middle of things, and ours is not.
#[tokio::test]
async fn a_connection_that_is_half_open_is_left_by_all() {
    let stage = Stage::start(1).await;
    let (proxy, pool) = behind(&stage, |config| config.multiplexing.max_in_flight = 32).await;
    let database = pool.multiplexed();
    database.execute(GATED, &[]).await.unwrap();
    stage.close_gate().await;
    let asking = join_all((0..24).map(async |_| database.execute(GATED, &[]).await));
    let closing = async {
        stage.wait_at_gate(1).await;
        proxy.set(Direction::ToClient, Toxic::HalfClose);
    };
    let (outcomes, ()) = in_time("all are told", async { futures_util::join!(asking, closing) }).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(QueryError::is_closed)), "{outcomes:?}");
    stage.open_gate().await;
    proxy.calm().await;
    in_time("it goes on", database.execute(within("SELECT 1", 10_000), &[])).await.unwrap();
    in_time("it is closed", pool.disconnect()).await;
    stage.end().await;
}

/// It has been prepared when the session ends, and is not executed yet: that is not sent, and is done on another one.
#[tokio::test]
async fn what_was_not_sent_is_sent_elsewhere_and_nobody_notices() {
    let stage = Stage::start(1).await;
    for round in 1..=10 {
        let sql = format!("SELECT {round}");
        let mut asking = Box::pin(stage.multiplexed.query_one(&sql, &[]));
        assert!(asking.as_mut().now_or_never().is_none());
        let prepared = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shared' AND datname = current_database() AND state = 'idle' AND query = '{sql}'"
        );
        eventually("it is prepared", async || stage.count(&prepared).await == 1).await;
        stage.run(END_ALL).await;
        eventually("the client knows", async || stage.pool.driver().ends().total() == round).await;
        let row = in_time("it is answered", asking).await.unwrap();
        assert_eq!(u64::try_from(row.get::<_, i32>(0)).unwrap(), round);
    }
    stage.end().await;
}
