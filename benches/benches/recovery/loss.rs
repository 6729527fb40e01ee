//! The server loses all sessions while all connections are in use and a hundred callers wait, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::part::{Crowd, Part, count, soon};
use super::server::{LIMIT, NAME, restart, start, until};
use crate::claim::{at_least, at_most, reported};
use crate::database::{client, sessions, settings};

const WAITERS: usize = 100;

/// How it loses them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// By `kill -9` of all its processes. It stays away for one to three seconds.
    Killed,
    /// It is stopped in an orderly way and started at once.
    Restarted,
    /// An administrator ends all sessions.
    Terminated,
}

/// What came of one.
#[derive(Clone, Copy, Debug, Serialize)]
struct Recovery {
    /// For how long it did not answer.
    away_s: f64,
    served: usize,
    /// From its first answer until the last one was served, and until the pool was full and nobody waited.
    served_s: f64,
    full_s: f64,
    /// How often a caller got a connection that was lost already.
    handed_out_dead: usize,
    failed_attempts: u64,
    /// On the server, when the pool was full.
    sessions: usize,
}

pub(crate) async fn lose(name: &str, loss: Loss, rounds: usize, quick: bool) -> Part {
    let mut all = Vec::new();
    for round in 0..rounds {
        let away = Duration::from_secs(if quick { 1 } else { 1 + round as u64 % 3 });
        let recovery = once(loss, away).await;
        eprintln!("{name}: round {} of {rounds}: {recovery:?}", round + 1);
        all.push(recovery);
    }
    let most = |figure: fn(&Recovery) -> f64| all.iter().map(figure).fold(0.0, f64::max);
    let least = |figure: fn(&Recovery) -> usize| count(all.iter().map(figure).min().unwrap_or(0));
    let size = count(pool_core::Config::default().max_size);
    let claims = vec![
        at_least(count(WAITERS), &format!("{name}, served of those who waited"), least(|one| one.served)),
        at_most(soon(), &format!("{name}, s until the last of them was served"), most(|one| one.served_s)),
        at_most(soon(), &format!("{name}, s until the pool was full and nobody waited"), most(|one| one.full_s)),
        at_least(size, &format!("{name}, sessions on the server then"), least(|one| one.sessions)),
        at_most(size, &format!("{name}, sessions on the server then"), most(|one| count(one.sessions))),
        reported(&format!("{name}, lost connections that were handed out"), most(|one| count(one.handed_out_dead))),
    ];
    Part::new(&all, claims)
}

async fn once(loss: Loss, away: Duration) -> Recovery {
    let server = start(EphemeralPostgres::builder()).await;
    let (pool, users) = in_use(server.port()).await;
    let dead = Arc::new(AtomicUsize::new(0));
    let crowd = Crowd::of(WAITERS, || served(pool.clone(), Arc::clone(&dead)));
    until("all wait", async || pool.state().waiting == WAITERS).await;
    let begun = Instant::now();
    let (server, back) = come_back(server, loss, away).await;
    let (number, seconds) = crowd.all_served(back).await;
    until("the pool is full", async || is_full(&pool)).await;
    let full_s = back.elapsed().as_secs_f64();
    users.join_all().await;
    let recovery = Recovery {
        away_s: (back - begun).as_secs_f64(),
        served: number,
        served_s: seconds,
        full_s,
        handed_out_dead: dead.load(Ordering::Relaxed),
        failed_attempts: pool.stats().open_failures,
        sessions: on_the_server(&server).await,
    };
    pool.disconnect().await;
    recovery
}

async fn on_the_server(server: &EphemeralPostgres) -> usize {
    sessions(&client(&server.url()).await.expect("a session"), NAME).await
}

/// A pool whose connections are all in use, and those who use them.
async fn in_use(port: u16) -> (PostgresPool, JoinSet<()>) {
    let mut config = settings(port, NAME);
    config.pool.min_size = config.pool.max_size;
    let pool = PostgresPool::connect_lazy(config).expect("settings that work");
    let size = pool.config().max_size;
    pool.ready(LIMIT).await.expect("all of them open");
    let users = (0..size).map(|_| uses(pool.clone())).collect();
    until("all are in use", async || pool.state().leased == size).await;
    (pool, users)
}

fn is_full(pool: &PostgresPool) -> bool {
    let state = pool.state();
    state.idle == state.max_size && state.waiting == 0
}

/// Loses all sessions. When the server answered again.
async fn come_back(mut server: EphemeralPostgres, loss: Loss, away: Duration) -> (EphemeralPostgres, Instant) {
    match loss {
        Loss::Killed => {
            server.kill9().expect("it is killed");
            sleep(away).await;
        }
        Loss::Restarted => server.stop().expect("it stops"),
        Loss::Terminated => {
            let own = client(&server.url()).await.expect("a session");
            let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
            own.query(all, &[&NAME]).await.expect("they are ended");
            return (server, Instant::now());
        }
    }
    restart(server).await
}

/// Uses a connection until it is lost.
async fn uses(pool: PostgresPool) {
    let lease = pool.acquire().await.expect("a connection");
    let lost = lease.batch_execute("SELECT pg_sleep(600)").await;
    assert!(lost.is_err(), "it is lost");
}

/// When somebody was served who waits for a connection and asks again if it was lost.
async fn served(pool: PostgresPool, dead: Arc<AtomicUsize>) -> Option<Instant> {
    loop {
        let lease = pool.acquire().await.ok()?;
        if lease.batch_execute("SELECT 1").await.is_ok() {
            return Some(Instant::now());
        }
        dead.fetch_add(1, Ordering::Relaxed);
    }
}
