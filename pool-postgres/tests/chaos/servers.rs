//! F006, F010, F011, F012, F027: servers that come up, are full, or have handed over to another one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pool_core::{AcquireError, ErrorClass};
use pool_postgres::PostgresConfig;
use pool_postgres::diagnosis::{Advice, Diagnosis};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;
use tokio::task::spawn_blocking;
use tokio_postgres::error::SqlState;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::{Chaos, server, signal_postmaster, strict};
use crate::invariants;
use crate::refusals::{as_role, cause};
use crate::users::{PASSWORD, SHORT};

/// One that opens soon.
fn with_a_breaker(config: &mut PostgresConfig) {
    (config.pool.breaker_failures, config.pool.breaker_after) = (Some(3), Duration::from_millis(50));
}

/// The pool knows that it has lost everything.
async fn all_is_lost(chaos: &Chaos) {
    eventually("all is lost", async || chaos.pool.state().size == chaos.pool.state().opening).await;
}

/// Callers who wait while the server is away, and are all served when it is back.
pub(crate) async fn waiters(chaos: &Chaos, number: usize) {
    let all = join_all((0..number).map(async |_| drop(chaos.working().await)));
    in_time("all are served", all).await;
}

/// With the pauses between attempts that a pool has unless it is told otherwise: the longest is two seconds.
#[tokio::test]
async fn f006_whoever_waits_is_served_when_a_killed_server_is_back() {
    const SIZE: usize = 8;
    let mut server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, SIZE, |config| {
        let default = pool_core::Config::default();
        let pool = &mut config.pool;
        (pool.min_size, pool.backoff_initial, pool.backoff_max) = (SIZE, default.backoff_initial, default.backoff_max);
    })
    .await;
    eventually("the pool is full", async || chaos.pool.state().idle == SIZE).await;
    chaos.watch.end().await;
    server.kill9().unwrap();
    all_is_lost(&chaos).await;
    let away = async {
        eventually("all wait", async || chaos.pool.state().waiting == 100).await;
        eventually("it is tried", async || chaos.pool.stats().open_failures >= 5).await;
        let server = spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap();
        (server, Instant::now())
    };
    let crowd = async {
        waiters(&chaos, 100).await;
        Instant::now()
    };
    let ((server, back), last) = tokio::join!(away, crowd);
    eventually("the pool is full", async || chaos.pool.state().idle == SIZE).await;
    assert_eq!(chaos.pool.state().waiting, 0);
    let (crowd, full) = (last.saturating_duration_since(back), back.elapsed());
    eprintln!(
        "measured: after a killed server was back, 100 waiters were served in {crowd:?}, and the pool was full in {full:?}"
    );
    chaos.watch_on(&server).await;
    invariants::hold(chaos).await;
}

/// What is in use fails, whoever wants in is told why not, and no place is lost.
#[tokio::test]
async fn f006_a_killed_server_costs_no_place_in_the_pool() {
    let mut server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 4, |config| {
        (config.pool.min_size, config.pool.acquire_timeout) = (2, 4 * SHORT);
    })
    .await;
    let held = chaos.pool.acquire_timeout(LIMIT).await.unwrap();
    chaos.watch.end().await;
    server.kill9().unwrap();
    let error = answer(&held, 1).await.unwrap_err();
    drop(held);
    all_is_lost(&chaos).await;
    chaos.note(&error);
    let error = chaos.told().await;
    assert!(matches!(&error, AcquireError::Timeout { failure: Some(_), .. }), "{error}");
    assert!(!chaos.pool.is_connected() && chaos.pool.health().await.is_err());
    chaos.hurry(LIMIT, LIMIT);
    let server = spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap();
    eventually("the pool is healthy again", async || chaos.pool.health().await.is_ok()).await;
    chaos.watch_on(&server).await;
    invariants::hold(chaos).await;
}

/// With a breaker nobody waits for a server that is away, and everybody is served again when it is back.
#[tokio::test]
async fn f006_with_a_breaker_nobody_waits_for_a_killed_server() {
    let mut server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 4, with_a_breaker).await;
    chaos.fill(4).await;
    chaos.watch.end().await;
    server.kill9().unwrap();
    all_is_lost(&chaos).await;
    let error = in_time("the breaker opens", chaos.pool.acquire()).await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::BreakerOpen { .. }), "{error}");
    chaos.note(&error);
    let mut breaker = chaos.pool.breaker();
    let back = spawn_blocking(move || server.restart().map(|()| server));
    in_time("it closes", breaker.wait_for(|state| !state.is_open())).await.unwrap();
    waiters(&chaos, 40).await;
    let server = back.await.unwrap().unwrap();
    chaos.watch_on(&server).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.breaker_openings, 1, "{stats:?}");
}

/// Starts again as a standby that lets nobody in until it is promoted.
fn start_halfway(server: &mut EphemeralPostgres) {
    server.stop().unwrap();
    std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
    let refusal = server.restart().expect_err("it lets nobody in").to_string();
    assert!(refusal.contains("57P03"), "{refusal}");
}

fn promote(server: &EphemeralPostgres) {
    std::fs::write(server.data_dir().join("promote"), "").unwrap();
    signal_postmaster(server, "USR1");
}

#[tokio::test]
async fn f010_a_server_that_is_starting_is_tried_until_it_lets_in() {
    let settings = strict().setting("wal_level", "replica").setting("hot_standby", "off");
    let mut server = settings.start().unwrap();
    let mut chaos = Chaos::on(&server, 4, |config| {
        config.pool.backoff_initial = Duration::from_millis(20);
        config.pool.backoff_max = Duration::from_millis(100);
    })
    .await;
    chaos.fill(2).await;
    chaos.watch.end().await;
    start_halfway(&mut server);
    all_is_lost(&chaos).await;
    let error = chaos.told_within(Duration::from_millis(100)).await;
    assert!(error.to_string().contains("FATAL: the database system is"), "{error}");
    let failed = chaos.pool.stats().open_failures;
    let back = async {
        eventually("it is tried", async || chaos.pool.stats().open_failures >= failed + 5).await;
        promote(&server);
    };
    tokio::join!(waiters(&chaos, 50), back);
    chaos.watch_on(&server).await;
    invariants::hold(chaos).await;
}

/// Takes what can be had, and what is said then: that there may be room later.
async fn take_all(chaos: &Chaos) -> (usize, AcquireError) {
    let mut held = Vec::new();
    eventually("all is idle that there is", async || chaos.pool.state().in_maintenance == 0).await;
    loop {
        match chaos.pool.acquire_timeout(Duration::from_millis(500)).await {
            Ok(lease) => held.push(lease),
            // On a busy machine no attempt has failed yet.
            Err(AcquireError::Timeout { failure: None, .. }) => {}
            Err(error) => {
                let cause = cause(&error);
                assert_eq!(
                    (cause.sqlstate(), cause.class()),
                    (Some(&SqlState::TOO_MANY_CONNECTIONS), ErrorClass::Full)
                );
                assert_eq!(Diagnosis::of_acquire(&error).advice, Advice::RetryLater);
                return (held.len(), error);
            }
        }
    }
}

/// The server has room for fewer sessions than the pool wants, until it gives what it keeps for superusers.
#[tokio::test]
async fn f011_a_full_server_serves_everybody_by_what_it_has_given() {
    let settings = strict().setting("max_connections", "8").setting("superuser_reserved_connections", "3");
    let server = settings.start().unwrap();
    let mut chaos = Chaos::on(&server, 7, |config| {
        config.pool.backoff_initial = Duration::from_millis(20);
        config.pool.backoff_max = Duration::from_millis(100);
        with_a_breaker(config);
    })
    .await;
    let started = Instant::now();
    for _ in 0..4 {
        waiters(&chaos, 40).await;
    }
    let (attempts, took) = (chaos.proxy.seen().accepted, started.elapsed());
    // At the start as many as may be at once; then one after the other, with a tenth of the longest pause between them at least.
    let most = u64::try_from(took.as_millis() / 10).unwrap() + 7;
    assert!(attempts <= most, "{attempts} attempts in {took:?}");
    let (had, said) = in_time("there is no more", take_all(&chaos)).await;
    assert!((1..=5).contains(&had), "{had} sessions of 8, with one that watches, and three that are kept");
    let text = said.to_string();
    assert!(text.contains("connection slots are reserved") || text.contains("too many clients"), "{text}");
    chaos.note(&said);
    chaos.watch.run("ALTER ROLE chaos SUPERUSER").await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened, stats.breaker_openings), (0, 7, 0), "nothing is broken: {stats:?}");
}

/// The role may have fewer sessions than the pool wants, until it may have more.
#[tokio::test]
async fn f012_a_role_that_may_have_no_more_sessions_serves_everybody_by_those_it_has() {
    let mut chaos = as_role(server(), "f012", 4).await;
    chaos.reconfigure(|config| (config.breaker_failures, config.breaker_after) = (Some(3), Duration::from_millis(50)));
    chaos.watch.run(&format!("CREATE ROLE f012 LOGIN PASSWORD {} CONNECTION LIMIT 2", literal(PASSWORD))).await;
    for _ in 0..4 {
        waiters(&chaos, 40).await;
    }
    let (had, said) = in_time("there is no more", take_all(&chaos)).await;
    assert_eq!(had, 2);
    assert!(said.to_string().contains("too many connections for role"), "{said}");
    chaos.note(&said);
    chaos.watch.run("ALTER ROLE f012 CONNECTION LIMIT -1").await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.opened, stats.breaker_openings), (0, 4, 0), "nothing is broken: {stats:?}");
}

/// Writes until the other server has it; says how often it was refused by the one that only reads.
async fn write(chaos: &Chaos) -> usize {
    let mut refused = 0;
    loop {
        let lease = chaos.acquire().await.expect("a connection, in time");
        match lease.batch_execute("INSERT INTO written SELECT inet_server_port()").await {
            Ok(()) => return refused,
            Err(error) => assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{error:?}"),
        }
        refused += 1;
    }
}

async fn prepare(chaos: &Chaos) {
    chaos.watch.run("CREATE TABLE written (port int); GRANT ALL ON written TO chaos").await;
}

/// Old sessions go on to work on a primary that takes no more writes; whoever writes on one finds out, and the pool gives it to nobody else.
#[tokio::test]
async fn f027_a_pool_leaves_a_primary_that_has_handed_over() {
    const SIZE: usize = 4;
    let (old, new) = (strict().start().unwrap(), strict().start().unwrap());
    let mut chaos = Chaos::on(&new, SIZE, |_| {}).await;
    prepare(&chaos).await;
    chaos.watch.end().await;
    chaos.watch_on(&old).await;
    prepare(&chaos).await;
    chaos.proxy.redirect(([127, 0, 0, 1], old.port()).into());
    chaos.fill(SIZE).await;
    chaos.watch.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    chaos.watch.run("SELECT pg_reload_conf()").await;
    let read_only = async || {
        let lease = chaos.working().await;
        lease.query_one("SHOW transaction_read_only", &[]).await.unwrap().get::<_, &str>(0) == "on"
    };
    eventually("it only reads", read_only).await;
    chaos.watch.end().await;
    chaos.proxy.redirect(([127, 0, 0, 1], new.port()).into());
    let refused = in_time("all have written", join_all((0..16).map(|_| write(&chaos)))).await;
    let refused: usize = refused.into_iter().sum();
    assert!((1..=SIZE).contains(&refused), "{refused} were refused, by {SIZE} old sessions");
    chaos.watch_on(&new).await;
    let stats = chaos.pool.stats();
    assert_eq!(stats.broken, refused as u64, "{stats:?}");
    chaos.pool.retire_all();
    invariants::hold(chaos).await;
}
