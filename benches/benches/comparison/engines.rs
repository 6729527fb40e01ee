//! Defects that show without a database.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::backend::Backend;
use super::managers::{Way, ours};
use super::table::Row;

/// How long anybody waits for a connection that may not be there.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) async fn all() -> Vec<Row> {
    vec![
        deadpool_shrinks().await,
        deadpool_shrinks_and_grows().await,
        bb8_hides_the_cause().await,
        bb8_panics_once().await,
        bb8_churns().await,
        mobc_shrinks().await,
        mobc_counts_who_has_gone().await,
    ]
}

/// How many of ten attempts to get one succeed, all of which are kept.
async fn handed_out<T, E, F: Future<Output = Result<T, E>>>(get: impl Fn() -> F) -> usize {
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.extend(timeout(PATIENCE, get()).await.ok().and_then(Result::ok));
    }
    kept.len()
}

fn deadpool(backend: &Arc<Backend>) -> deadpool::managed::Pool<Way> {
    deadpool::managed::Pool::builder(Way(Arc::clone(backend))).max_size(10).build().expect("a pool")
}

/// How many of ten are served here at once after a maximum of 10 has become 2.
async fn shrunk() -> usize {
    let pool = ours(&Arc::default(), |config| config.max_size = 10);
    let mut config = (*pool.config()).clone();
    config.max_size = 2;
    pool.reconfigure(config).expect("in range");
    handed_out(|| pool.acquire()).await
}

async fn deadpool_shrinks() -> Row {
    let pool = deadpool(&Arc::default());
    pool.resize(2);
    let theirs = handed_out(|| pool.get()).await;
    let ours = shrunk().await;
    Row::new("deadpool", "a maximum of 10 becomes 2 before anything is open; ten ask")
        .said(format!("{theirs} are served at once"), format!("{ours} are served at once"))
        .holds(ours == 2)
}

async fn deadpool_shrinks_and_grows() -> Row {
    let backend = Arc::default();
    let pool = deadpool(&backend);
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.push(pool.get().await.expect("one"));
    }
    pool.resize(5);
    pool.resize(10);
    handed_out(|| pool.get()).await;
    let theirs = backend.peak();

    let backend = Arc::default();
    let pool = ours(&backend, |config| config.max_size = 10);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(pool.acquire().await.expect("one"));
    }
    for max_size in [5, 10] {
        let mut config = (*pool.config()).clone();
        config.max_size = max_size;
        pool.reconfigure(config).expect("in range");
    }
    handed_out(|| pool.acquire()).await;
    let ours = backend.peak();
    Row::new("deadpool", "ten are in use, the maximum becomes 5 and 10 again; ten more ask")
        .said(format!("{theirs} connections at once"), format!("{ours} connections at once"))
        .holds(ours == 10)
}

/// What an attempt says, and whether it took all the time it had.
fn told(error: &str, took: Duration) -> String {
    let when = if took >= PATIENCE { "after all of its time" } else { "at once" };
    let short: String = error.chars().take(60).collect();
    format!("\"{short}\", {when}")
}

fn bb8(backend: &Arc<Backend>) -> bb8::Pool<Way> {
    let builder = bb8::Pool::builder().max_size(4).connection_timeout(PATIENCE).retry_connection(false);
    builder.build_unchecked(Way(Arc::clone(backend)))
}

async fn bb8_hides_the_cause() -> Row {
    let (pool, begun) = (bb8(&Backend::refusing()), Instant::now());
    let error = pool.get().await.err().map(|error| error.to_string()).unwrap_or_default();
    let theirs = told(&error, begun.elapsed());
    let backend = Backend::refusing();
    let (pool, begun) = (ours(&backend, |config| config.acquire_timeout = PATIENCE), Instant::now());
    let error = pool.acquire().await.err().map(|error| error.to_string()).unwrap_or_default();
    let (took, names_it) = (begun.elapsed(), error.contains("wrong password"));
    let ours = if names_it { told("... wrong password ...", took) } else { told(&error, took) };
    Row::new("bb8", "the password is wrong").said(theirs, ours).holds(names_it && took < PATIENCE)
}

async fn bb8_panics_once() -> Row {
    let pool = bb8::Pool::builder().max_size(1).connection_timeout(PATIENCE).build_unchecked(Way(Backend::panicking()));
    let theirs = served_of_three(|| pool.get()).await;
    let backend = Backend::panicking();
    let pool = ours(&backend, |config| config.max_size = 1);
    let ours = served_of_three(|| pool.acquire_timeout(10 * PATIENCE)).await;
    Row::new("bb8", "a connect panics once; three ask one after the other")
        .said(format!("{theirs} are served"), format!("{ours} are served"))
        .holds(ours >= 2)
}

async fn served_of_three<T, E, F: Future<Output = Result<T, E>>>(get: impl Fn() -> F) -> usize {
    let mut served = 0;
    for _ in 0..3 {
        served += usize::from(get().await.is_ok());
    }
    served
}

async fn bb8_churns() -> Row {
    let (idle, rest) = (Duration::from_millis(300), Duration::from_millis(1500));
    let backend = Arc::default();
    let builder = bb8::Pool::builder().max_size(10).min_idle(4).idle_timeout(idle).reaper_rate(idle / 3);
    let pool = builder.build(Way(Arc::clone(&backend))).await.expect("a pool");
    sleep(rest).await;
    let theirs = backend.created();
    drop(pool);
    let backend = Arc::default();
    let pool = ours(&backend, |config| {
        (config.min_size, config.lazy, config.idle_timeout) = (4, false, Some(idle));
    });
    sleep(rest).await;
    let ours = backend.created();
    drop(pool);
    Row::new("bb8", "at least 4 idle, an idle timeout of 0.3 s, nobody asks for 1.5 s")
        .said(format!("{theirs} were opened"), format!("{ours} were opened"))
        .holds(ours == 4)
}

async fn mobc_shrinks() -> Row {
    let pool = mobc::Pool::builder().max_open(10).build(Way(Arc::default()));
    pool.set_max_open_conns(2).await;
    let theirs = handed_out(|| pool.get()).await;
    let ours = shrunk().await;
    Row::new("mobc", "a maximum of 10 becomes 2; ten ask")
        .said(format!("{theirs} are served at once"), format!("{ours} are served at once"))
        .holds(ours == 2)
}

async fn mobc_counts_who_has_gone() -> Row {
    let pool = mobc::Pool::builder().max_open(1).build(Way(Arc::default()));
    let held = pool.get().await.expect("one");
    for _ in 0..5 {
        drop(timeout(PATIENCE / 10, pool.get()).await);
    }
    let theirs = pool.state().await.wait_count;
    drop(held);
    let backend = Arc::default();
    let pool = ours(&backend, |config| config.max_size = 1);
    let held = pool.acquire().await.expect("one");
    for _ in 0..5 {
        drop(timeout(PATIENCE / 10, pool.acquire()).await);
    }
    let ours = pool.state().waiting;
    drop(held);
    Row::new("mobc", "five wait and give up")
        .said(format!("{theirs} are said to wait"), format!("{ours} are said to wait"))
        .holds(ours == 0)
}
